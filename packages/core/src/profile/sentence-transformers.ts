import * as z from "zod/mini";
import type { Head, HeadModule, Pooling } from "../contract/model-profile.js";
import type { ModelReader } from "../files/model-reader.js";
import { isLate, type LateFacts, type LateSettings, lateFactsOf, lateSettingsShape } from "./late-facts.js";
import { positionCount, tokenId } from "./ranges.js";

/** An entry of modules.json. */
interface ModuleEntry {
  /** The last part of its class path, e.g. `"Pooling"`. */
  readonly kind: string;
  /** Its folder, `""` for the model's own. */
  readonly path: string;
  /** Its whole class path. */
  readonly type: string;
}

/** What sentence-transformers' own files say about a model. */
export interface SentenceTransformersFacts {
  /** `classifier`: the head is inside the Transformer, and config.json tells the rest. */
  readonly family: "classifier" | "cross-encoder" | "causal-lm" | "bi-encoder" | "late-interaction";
  readonly head: Head | undefined;
  readonly headSource: string;
  /** Of a late-interaction model. */
  readonly late: LateFacts | undefined;
  readonly maxLength: number | undefined;
  readonly lowerCase: boolean;
  /** How pairs reach a chat template; undefined when they are tokenised as two texts. */
  readonly chat:
    | { readonly format: "flat" | "structured"; readonly arguments: Readonly<Record<string, unknown>> }
    | undefined;
  readonly activation: string | undefined;
  readonly prompts: Readonly<Record<string, string>>;
  readonly defaultPrompt: string | undefined;
}

const modulesSchema = z.array(z.object({ type: z.string(), path: z.string() })).check(z.maxLength(100));

const transformerSchema = z.object({
  max_seq_length: z.nullish(z.union([positionCount, z.number().check(z.gte(1e9))])),
  do_lower_case: z.nullish(z.boolean()),
  modality_config: z.nullish(
    z.record(z.string(), z.looseObject({ format: z.nullish(z.enum(["flat", "structured"])) })),
  ),
  processing_kwargs: z.nullish(
    z.looseObject({ chat_template: z.nullish(z.record(z.string(), z.unknown())) }),
  ),
});

interface Settings extends LateSettings {
  activation_fn?: string | null | undefined;
  prompts?: Record<string, string | null | undefined> | null | undefined;
  default_prompt_name?: string | null | undefined;
}

const settingsSchema: z.ZodMiniType<Settings> = z.object({
  activation_fn: z.nullish(z.string()),
  prompts: z.nullish(z.record(z.string(), z.nullish(z.string()))),
  default_prompt_name: z.nullish(z.string()),
  ...lateSettingsShape,
});

/** Reads modules.json and what it refers to; undefined without it. */
export async function readSentenceTransformers(
  reader: ModelReader,
): Promise<SentenceTransformersFacts | undefined> {
  const entries = await reader.optional("modules.json", modulesSchema);
  if (entries === undefined) return undefined;
  const modules = entries.map(
    ({ type, path }): ModuleEntry => ({ kind: type.slice(type.lastIndexOf(".") + 1), path, type }),
  );
  const transformer = modules[0];
  if (transformer?.kind !== "Transformer" || transformer.path !== "") {
    throw unknownChain(reader, modules);
  }
  const own = (await reader.optional("sentence_bert_config.json", transformerSchema)) ?? {};
  const settings: Settings =
    (await reader.optional("config_sentence_transformers.json", settingsSchema)) ?? {};
  const late = isLate(
    modules.map(({ type }) => type),
    settings,
  );
  const message = own.modality_config?.["message"];
  const prompts = Object.entries(settings.prompts ?? {}).flatMap(([name, prompt]) =>
    typeof prompt === "string" ? [[name, prompt] as const] : [],
  );
  return {
    ...(late ? await readLateHead(reader, modules) : await readHead(reader, modules)),
    late: late ? lateFactsOf(settings) : undefined,
    maxLength: own.max_seq_length ?? undefined,
    lowerCase: own.do_lower_case === true,
    chat: message && {
      format: message.format ?? "structured",
      // `restore_suffix` is sentence-transformers' own switch and no argument of the template.
      arguments: Object.fromEntries(
        Object.entries(own.processing_kwargs?.chat_template ?? {}).filter(
          ([name]) => name !== "restore_suffix",
        ),
      ),
    },
    activation: settings.activation_fn ?? undefined,
    prompts: Object.fromEntries(prompts),
    defaultPrompt: settings.default_prompt_name ?? undefined,
  };
}

async function readHead(
  reader: ModelReader,
  modules: readonly ModuleEntry[],
): Promise<Pick<SentenceTransformersFacts, "family" | "head" | "headSource">> {
  const [, second, ...rest] = modules;
  if (second === undefined) return { family: "classifier", head: undefined, headSource: "config.json" };
  if (second.kind === "LogitScore" && rest.length === 0) {
    const file = `${second.path}/config.json`;
    const { true_token_id, false_token_id } = await reader.required(
      file,
      z.object({ true_token_id: tokenId, false_token_id: z.nullish(tokenId) }),
      "Download the model again",
    );
    return {
      family: "causal-lm",
      head: {
        kind: "answer-tokens",
        positive: true_token_id,
        ...(typeof false_token_id === "number" ? { negative: false_token_id } : {}),
      },
      headSource: `${file} of modules.json's LogitScore`,
    };
  }
  if (second.kind !== "Pooling") throw unknownChain(reader, modules);
  const pooling = await readPooling(reader, second.path);
  const chain: HeadModule[] = [];
  let givesScores = false;
  for (const module of rest) {
    const { step, output } = await readModule(reader, module, modules);
    chain.push(step);
    givesScores = output === "scores";
  }
  const names = modules.map(({ kind }) => kind).join(" → ");
  if (givesScores) {
    return {
      family: "cross-encoder",
      head: { kind: "pooled-chain", pooling, modules: chain },
      headSource: `modules.json ${names}`,
    };
  }
  // The cosine normalises by itself.
  if (chain.at(-1)?.kind === "normalize") chain.pop();
  return {
    family: "bi-encoder",
    head: { kind: "cosine", pooling, ...(chain.length === 0 ? {} : { modules: chain }) },
    headSource: chain.length === 0 ? "modules.json Pooling" : `modules.json ${names}`,
  };
}

/** PyLate: dense layers over every token's vector. */
async function readLateHead(
  reader: ModelReader,
  modules: readonly ModuleEntry[],
): Promise<Pick<SentenceTransformersFacts, "family" | "head" | "headSource">> {
  const [, ...rest] = modules;
  if (rest.length === 0 || rest.some(({ kind }) => kind !== "Dense")) throw unknownChain(reader, modules);
  const chain: HeadModule[] = [];
  for (const module of rest) chain.push(await readTokenDense(reader, module));
  return {
    family: "late-interaction",
    head: { kind: "max-sim", modules: chain },
    headSource: `modules.json ${modules.map(({ kind }) => kind).join(" → ")}`,
  };
}

/** Of PyLate's class, and of sentence-transformers', which PyLate turns into its own. */
async function readTokenDense(reader: ModelReader, { path }: ModuleEntry): Promise<HeadModule> {
  const config = `${path}/config.json`;
  const dense = await reader.required(
    config,
    z.object({
      in_features: positionCount,
      out_features: positionCount,
      bias: z._default(z.boolean(), true),
      activation_function: z.string(),
      use_residual: z._default(z.boolean(), false),
    }),
    "Download the model again",
  );
  const { in_features: inputs, out_features: outputs, use_residual: residual } = dense;
  return {
    kind: "dense",
    file: `${path}/model.safetensors`,
    weight: "linear.weight",
    ...(dense.bias ? { bias: "linear.bias" } : {}),
    activation: activationOf(reader, config, dense.activation_function),
    ...(residual ? { residual } : {}),
    ...(residual && inputs !== outputs ? { residualWeight: "residual.weight" } : {}),
  };
}

const poolings: Readonly<Record<string, Pooling>> = {
  cls: "cls",
  cls_token: "cls",
  mean: "mean",
  mean_tokens: "mean",
  lasttoken: "last-token",
};

/** Both forms: one boolean a mode (before 5.2), and `pooling_mode` by name. */
async function readPooling(reader: ModelReader, path: string): Promise<Pooling> {
  const file = `${path}/config.json`;
  const entries = await reader.required(file, z.looseObject({}), "Download the model again");
  const modes = [
    ...Object.entries(entries)
      .filter(([name, value]) => name.startsWith("pooling_mode_") && value === true)
      .map(([name]) => name.slice("pooling_mode_".length)),
    ...[entries["pooling_mode"]].flat().filter((mode) => typeof mode === "string"),
  ];
  const [mode = ""] = modes;
  const pooling = Object.hasOwn(poolings, mode) ? poolings[mode] : undefined;
  if (modes.length !== 1 || pooling === undefined) {
    throw reader.problem(
      file,
      `pooling ${modes.join(" + ") || "(none)"} is not supported`,
      "Supported: cls, mean, lasttoken",
    );
  }
  if (entries["include_prompt"] === false && pooling === "mean") {
    throw reader.problem(
      file,
      "include_prompt false leaves the prompt's tokens out of the mean, which is not supported",
      "Choose a model that pools over all tokens",
    );
  }
  return pooling;
}

const activations: Readonly<Record<string, Extract<HeadModule, { kind: "dense" }>["activation"]>> = {
  Identity: "identity",
  Tanh: "tanh",
  ReLU: "relu",
  GELU: "gelu",
  SiLU: "silu",
  Sigmoid: "sigmoid",
};

/** @throws {ModelProfileError} for a class that is not known. */
function activationOf(
  reader: ModelReader,
  config: string,
  named: string,
): Extract<HeadModule, { kind: "dense" }>["activation"] {
  const short = named.slice(named.lastIndexOf(".") + 1);
  const activation = Object.hasOwn(activations, short) ? activations[short] : undefined;
  if (activation !== undefined) return activation;
  throw reader.problem(
    config,
    `activation ${named} is not supported`,
    `Supported: ${Object.keys(activations).join(", ")}`,
  );
}

async function readModule(
  reader: ModelReader,
  { kind, path }: ModuleEntry,
  modules: readonly ModuleEntry[],
): Promise<{ readonly step: HeadModule; readonly output: string }> {
  const vector = "sentence_embedding";
  const config = `${path}/config.json`;
  const weights = `${path}/model.safetensors`;
  const download = "Download the model again";
  switch (kind) {
    case "Normalize":
      return { step: { kind: "normalize" }, output: vector };
    case "LayerNorm": {
      await reader.required(config, z.looseObject({}), download);
      return {
        // torch.nn.LayerNorm's default epsilon; the module has no other.
        step: { kind: "layer-norm", file: weights, weight: "norm.weight", bias: "norm.bias", epsilon: 1e-5 },
        output: vector,
      };
    }
    case "Dense": {
      const dense = await reader.required(
        config,
        z.object({
          bias: z.nullish(z.boolean()),
          activation_function: z.nullish(z.string()),
          module_input_name: z.nullish(z.string()),
          module_output_name: z.nullish(z.string()),
          use_residual: z.nullish(z.boolean()),
        }),
        download,
      );
      const input = dense.module_input_name ?? vector;
      // Without an entry sentence-transformers' Dense has Tanh.
      const named = dense.activation_function ?? "torch.nn.modules.activation.Tanh";
      if (input !== vector) {
        throw reader.problem(config, `input ${input} is not supported`, `Supported: ${vector}`);
      }
      const activation = activationOf(reader, config, named);
      return {
        step: {
          kind: "dense",
          file: weights,
          weight: "linear.weight",
          ...(dense.bias === false ? {} : { bias: "linear.bias" }),
          activation,
          ...(dense.use_residual ? { residual: true } : {}),
        },
        output: dense.module_output_name ?? input,
      };
    }
    default:
      throw unknownChain(reader, modules);
  }
}

function unknownChain(reader: ModelReader, modules: readonly ModuleEntry[]): Error {
  return reader.problem(
    "modules.json",
    `the chain ${modules.map(({ kind }) => kind).join(" → ")} is not one that this version of crossrank computes`,
    "Supported: Transformer alone, Transformer → LogitScore, and Transformer → Pooling followed by any of Dense, LayerNorm, Normalize; of a late-interaction model Transformer → Dense and further Dense",
  );
}

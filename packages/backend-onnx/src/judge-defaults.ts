import type { Problem } from "@crossrank/backend-kit";
import { type LoadRequest, type ModelFiles, ModelLoadError } from "@crossrank/core";
import {
  type AttributedNode,
  type FloatTable,
  type GraphNodes,
  readGraph,
  readNodes,
  withLocalFile,
} from "@crossrank/formats/onnx/read";
import { judgeTable } from "./judge-table.js";

/** Operators that normalise, with what stands for an epsilon that a node leaves out (ONNX's and ONNX Runtime's schemas). */
const epsilons: Readonly<Record<string, number>> = {
  LayerNormalization: 1e-5,
  RMSNormalization: 1e-5,
  SimplifiedLayerNormalization: 1e-5,
  "com.microsoft.LayerNormalization": 1e-5,
  "com.microsoft.SimplifiedLayerNormalization": 1e-5,
  "com.microsoft.SkipLayerNormalization": 1e-12,
  "com.microsoft.SkipSimplifiedLayerNormalization": 1e-12,
  "com.microsoft.EmbedLayerNormalization": 1e-12,
};

const epsilonNames = ["layer_norm_eps", "norm_eps", "rms_norm_eps", "layer_norm_epsilon"];

/** Smaller ones than this change nothing: a variance is larger. */
const negligible = 1e-6;

const tanhApproximations = ["gelu_new", "gelu_fast", "gelu_accurate", "gelu_pytorch_tanh"];

const products = [
  "MatMul",
  "Gemm",
  "MatMulInteger",
  "com.microsoft.MatMulIntegerToFloat",
  "com.microsoft.FusedMatMul",
];
const passing = [
  "Dropout",
  "Cast",
  "Identity",
  "Where",
  "Mul",
  "Transpose",
  "Reshape",
  "DynamicQuantizeLinear",
];
const mostSteps = 64;

/**
 * Reads the nodes of a graph and judges them.
 *
 * @param modelPath the .onnx on this machine, `file` its name within the model.
 * @returns the nodes; undefined where they cannot be read.
 * @throws {ModelLoadError} when ONNX Runtime would take another value than the model's for what a node leaves out.
 */
export async function requireDefaults(
  modelPath: string,
  file: string,
  { files, signal }: Pick<LoadRequest, "files" | "signal">,
): Promise<GraphNodes | undefined> {
  const nodes = await withLocalFile(modelPath, readNodes);
  const problem =
    (await defaultsProblem(nodes, { files, signal })) ??
    (await tableProblem(modelPath, nodes, { files, signal }));
  if (problem !== undefined) {
    throw new ModelLoadError({ model: files.id, backend: "onnx", file, ...problem });
  }
  return nodes;
}

/** {@link judgeTable} of nodes that were read, with the model's own config.json. */
async function tableProblem(
  modelPath: string,
  nodes: GraphNodes | undefined,
  { files, signal }: Pick<LoadRequest, "files" | "signal">,
): Promise<Problem | undefined> {
  const summary = nodes === undefined ? undefined : await withLocalFile(modelPath, readGraph);
  if (nodes === undefined || summary === undefined) return undefined;
  return judgeTable(nodes, summary, await readConfig(files, signal));
}

/** {@link judgeDefaults} of nodes that were read, with the model's own config.json. */
export async function defaultsProblem(
  nodes: GraphNodes | undefined,
  { files, signal }: Pick<LoadRequest, "files" | "signal">,
): Promise<Problem | undefined> {
  return nodes === undefined ? undefined : judgeDefaults(nodes, await readConfig(files, signal));
}

/** config.json, parsed; undefined where there is none, or none that can be read: core refuses it where it needs it. */
export async function readConfig(files: ModelFiles, signal: AbortSignal | undefined): Promise<unknown> {
  const listed = await files.list({ signal });
  if (!listed.some(({ path }) => path === "config.json")) return undefined;
  const text = await files.readText("config.json", { signal });
  try {
    return JSON.parse(text.replace(/^\ufeff/, ""));
  } catch {
    return undefined;
  }
}

/**
 * Holds what the operators of a graph take for an attribute that a node leaves out against the model's config.json, and
 * the rotary base that an exporter wrote into the graph as numbers.
 *
 * @param config the parsed config.json; undefined where there is none.
 * @returns what is wrong; undefined where nothing is.
 */
export function judgeDefaults(
  { nodes, opset, tables }: Pick<GraphNodes, "nodes" | "opset" | "tables">,
  config: unknown,
): Problem | undefined {
  for (const node of nodes) {
    const problem =
      epsilonProblem(node, config) ?? activationProblem(node, config) ?? attentionProblem(node, config);
    if (problem !== undefined) return problem;
  }
  return softmaxProblem(nodes, opset) ?? rotationProblem(tables, config);
}

const bases = ["rope_theta", "global_rope_theta", "local_rope_theta", "rope_local_base_freq"];

/** Frequencies that fall by one factor from 1 on are those of rotary positions; the factor tells their base. */
function rotationProblem(tables: readonly FloatTable[], config: unknown): Problem | undefined {
  const wanted = basesIn(config);
  if (wanted.length === 0) return undefined;
  for (const { name, numbers } of tables) {
    const found = baseOf(numbers);
    if (found === undefined || wanted.some((base) => Math.abs(found - base) <= 1e-3 * base)) continue;
    return {
      problem:
        `its table ${JSON.stringify(printable(name))} turns positions by the rotary base ${Number(found.toPrecision(5))}, and ` +
        `config.json has ${wanted.join(" and ")}`,
      fix: "Put the graph beside the model that it was exported from, or convert its weights with `crossrank convert --to onnx`",
    };
  }
  return undefined;
}

function baseOf(numbers: readonly number[]): number | undefined {
  const [first, second = 0] = numbers;
  if (first !== 1 || !(second > 0 && second < 1)) return undefined;
  const isGeometric = numbers.every((number, index) => {
    const expected = second ** index;
    return Math.abs(number - expected) <= 1e-4 * expected;
  });
  // A base below this is no model's, and a table of powers may be something else.
  const base = (numbers.at(-1) as number) ** (-numbers.length / (numbers.length - 1));
  return isGeometric && base >= 1000 ? base : undefined;
}

function basesIn(config: unknown): readonly number[] {
  const nested = ["rope_parameters", "full_attention", "sliding_attention"];
  const found: number[] = [];
  const open: unknown[] = [config];
  for (let depth = 0; depth < 4; depth += 1) {
    for (const part of open.splice(0)) {
      found.push(
        ...(valuesIn(part, bases).filter((value) => typeof value === "number" && value > 0) as number[]),
      );
      open.push(...valuesIn(part, nested));
    }
  }
  return [...new Set(found)];
}

function epsilonProblem(node: AttributedNode, config: unknown): Problem | undefined {
  const assumed = Object.hasOwn(epsilons, node.operator) ? epsilons[node.operator] : undefined;
  if (assumed === undefined || node.attributes.has("epsilon")) return undefined;
  const wanted = numberIn(config, epsilonNames);
  if (wanted === undefined || isSame(assumed, wanted)) return undefined;
  if (assumed < negligible && wanted < negligible) return undefined;
  return left(node, "epsilon", assumed, `config.json has ${wanted}`);
}

function activationProblem(node: AttributedNode, config: unknown): Problem | undefined {
  if (node.operator !== "Gelu" || node.attributes.has("approximate")) return undefined;
  const activation = textIn(config, ["hidden_activation", "hidden_act"]);
  // Gemma's classes take the approximation whatever its name.
  const isApproximate =
    tanhApproximations.includes(activation ?? "") ||
    (activation === "gelu" && (textIn(config, ["model_type"]) ?? "").startsWith("gemma"));
  return isApproximate ? left(node, "approximate", '"none"', `config.json has ${activation}`) : undefined;
}

function attentionProblem(node: AttributedNode, config: unknown): Problem | undefined {
  const { operator, attributes, inputs } = node;
  if (!/^(?:com\.microsoft\.)?(?:\w*Attention)$/.test(operator)) return undefined;
  const scalar = numberIn(config, ["query_pre_attn_scalar"]);
  const size = numberIn(config, ["head_dim"]);
  if (scalar !== undefined && size !== undefined && !isSame(scalar, size) && !attributes.has("scale")) {
    return left(node, "scale", `1/√${size}`, `config.json has query_pre_attn_scalar ${scalar}`);
  }
  const cap = numberIn(config, ["attn_logit_softcapping"]);
  if (cap !== undefined && cap !== 0 && !attributes.has("softcap")) {
    return left(node, "softcap", 0, `config.json has attn_logit_softcapping ${cap}`);
  }
  // A mask that is added (the fifth input of one, the fourth of the other) may hold what comes later.
  const rule = {
    "com.microsoft.Attention": { name: "unidirectional", mask: 5 },
    Attention: { name: "is_causal", mask: 3 },
  }[operator];
  if (rule === undefined || (inputs[rule.mask] ?? "") !== "" || attributes.has(rule.name)) return undefined;
  return isCausal(config)
    ? left(node, rule.name, 0, "the model is a language model, whose tokens see those before them alone")
    : undefined;
}

function isCausal(config: unknown): boolean {
  if (typeof config !== "object" || config === null) return false;
  const classes: unknown = Reflect.get(config, "architectures");
  const [named] = Array.isArray(classes) ? classes : [];
  return typeof named === "string" && named.endsWith("ForCausalLM");
}

/**
 * Until operator set 13 a Softmax without an axis is one over all axes behind the first together: of attention, over all
 * heads and queries at once.
 */
function softmaxProblem(nodes: readonly AttributedNode[], opset: number | undefined): Problem | undefined {
  if (opset === undefined || opset >= 13) return undefined;
  const bare = nodes.filter(({ operator, attributes }) => operator === "Softmax" && !attributes.has("axis"));
  if (bare.length === 0) return undefined;
  const readers = new Map<string, AttributedNode[]>();
  for (const node of nodes) {
    for (const input of node.inputs) readers.set(input, [...(readers.get(input) ?? []), node]);
  }
  for (const node of bare) {
    const seen = new Set<string>();
    const open = [...node.outputs];
    for (let steps = 0; open.length > 0 && steps < mostSteps; steps += 1) {
      const value = open.pop() as string;
      if (seen.has(value)) continue;
      seen.add(value);
      for (const reader of readers.get(value) ?? []) {
        if (products.includes(reader.operator)) {
          return left(
            node,
            "axis",
            1,
            `attention is over the last one, in operator set ${opset} not the same`,
          );
        }
        if (passing.includes(reader.operator)) open.push(...reader.outputs);
      }
    }
  }
  return undefined;
}

function left(node: AttributedNode, attribute: string, assumed: number | string, wanted: string): Problem {
  return {
    problem: `its ${node.operator} that makes ${JSON.stringify(printable(node.outputs[0] ?? ""))} has no ${attribute}, for which ONNX Runtime takes ${assumed}, and ${wanted}`,
    fix: "Export the model again with an exporter that writes the attribute, or convert its weights with `crossrank convert --to onnx`",
  };
}

/** A name of a stranger's file, fit for a message. */
function printable(name: string): string {
  return name.replace(/[^\x20-\x7e]/g, "?").slice(0, 80);
}

function isSame(a: number, b: number): boolean {
  return Math.abs(a - b) <= 1e-6 * Math.max(Math.abs(a), Math.abs(b));
}

function numberIn(config: unknown, names: readonly string[]): number | undefined {
  return valuesIn(config, names).find((value) => typeof value === "number");
}

function textIn(config: unknown, names: readonly string[]): string | undefined {
  return valuesIn(config, names).find((value) => typeof value === "string");
}

/** A model of texts and pictures has its own in text_config. */
function valuesIn(config: unknown, names: readonly string[]): unknown[] {
  if (typeof config !== "object" || config === null) return [];
  const inner: unknown = Reflect.get(config, "text_config");
  return [config, ...(typeof inner === "object" && inner !== null ? [inner] : [])].flatMap((part) =>
    names.map((name): unknown => Reflect.get(part, name)),
  );
}

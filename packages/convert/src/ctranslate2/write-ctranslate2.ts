import { mkdir, writeFile } from "node:fs/promises";
import { join } from "node:path";
import {
  type CTranslate2Weight,
  listVocabulary,
  VariableWriteError,
  writeCTranslate2File,
} from "@crossrank/formats/ctranslate2";
import type { ArtifactWriter, WriteRequest } from "../artifact-writer.js";
import { readTokenizerFile, type TokenizerFile } from "../gguf/tokenizer-file.js";
import type { Linear } from "../source/description.js";
import { type CTranslate2Plan, type PlannedWeight, planCTranslate2, refusal } from "./plan.js";

const dtypes = ["fp32", "fp16", "int8"] as const;
type Dtype = (typeof dtypes)[number];

/**
 * Folders as CTranslate2 loads them, in the bytes of its own converter for the same weights: model.bin, config.json,
 * vocabulary.json. Beside them lies classifier.safetensors: CTranslate2's encoder ends in the pooler's vector.
 * `docs/guides/ctranslate2.md` has the layout.
 */
export const ctranslate2Writer: ArtifactWriter = {
  format: "ctranslate2",
  dtypes,
  path: (dtype) => `ctranslate2/model${dtype === "fp32" ? "" : `_${dtype}`}.ctranslate2`,
  check: (description, profile) => void planCTranslate2(description, profile),
  write: writeFolder,
};

async function writeFolder(request: WriteRequest): Promise<readonly string[]> {
  const { description, profile, files, path, signal, onProgress, onTensor } = request;
  signal?.throwIfAborted();
  const dtype = dtypes.find((name) => name === request.dtype);
  if (dtype === undefined) {
    throw refusal(description, `there is no precision ${request.dtype}`, `Use ${dtypes.join(", ")}`);
  }
  const plan = planCTranslate2(description, profile);
  const variables = plan.weights.map((weight) => variableOf(weight, dtype));
  for (const { name, type, weight } of variables) {
    onTensor?.({
      name,
      shape: weight.shape,
      dtype: type === "float32" ? "fp32" : type === "float16" ? "fp16" : type,
    });
  }
  await mkdir(path);
  const beside = (name: string): string => join(path, name);
  try {
    await writeCTranslate2File(
      beside("model.bin"),
      {
        spec: "TransformerEncoderSpec",
        revision: 1,
        variables: [...plan.scalars, ...variables],
        aliases: plan.aliases,
      },
      { signal, onProgress },
    );
  } catch (error) {
    if (!(error instanceof VariableWriteError)) throw error;
    throw refusal(description, error.message, "Take dtype fp32");
  }
  const tokenizer = await readTokenizerFile(files, { signal });
  const tokens = listVocabulary(tokenizer, description.vocabularySize);
  await writeFile(beside("config.json"), configText(plan, unknownOf(tokenizer)));
  await writeFile(
    beside("vocabulary.json"),
    `[\n${tokens.map((token) => `  ${ascii(token)}`).join(",\n")}\n]`,
  );
  const paths = [beside("model.bin"), beside("config.json"), beside("vocabulary.json")];
  if (plan.classifier === undefined) return paths;
  await writeFile(beside("classifier.safetensors"), await classifierBytes(plan.classifier));
  return [...paths, beside("classifier.safetensors")];
}

function variableOf({ name, role, weight }: PlannedWeight, dtype: Dtype): CTranslate2Weight {
  if (dtype === "int8") return { name, type: role === "table" ? "int8" : "float32", weight };
  return { name, type: dtype === "fp16" ? "float16" : "float32", weight };
}

/** As CTranslate2's converter writes it: sorted, two spaces. */
function configText({ epsilon }: CTranslate2Plan, unknown: string): string {
  const facts = {
    bos_token: "<s>",
    eos_token: "</s>",
    layer_norm_epsilon: epsilon,
    multi_query_attention: false,
    unk_token: unknown,
  };
  const lines = Object.entries(facts).map(([name, value]) => `  "${name}": ${pythonJson(value)}`);
  return `{\n${lines.join(",\n")}\n}\n`;
}

/** Python writes 1e-5 as 1e-05. */
function pythonJson(value: unknown): string {
  if (typeof value === "string") return ascii(value);
  return JSON.stringify(value).replace(/e-(\d)$/, "e-0$1");
}

/** JSON with letters that are not ASCII escaped, as Python writes it. */
function ascii(text: string): string {
  return JSON.stringify(text).replace(
    /[\u007f-\uffff]/g,
    (letter) => `\\u${letter.charCodeAt(0).toString(16).padStart(4, "0")}`,
  );
}

function unknownOf({ model, added_tokens: added }: TokenizerFile): string {
  if (model.type !== "Unigram") return model.unk_token ?? "<unk>";
  const id = model.unk_id ?? -1;
  return added.findLast((token) => token.id === id)?.content ?? model.vocab[id]?.[0] ?? "<unk>";
}

/** The last layer in float32, by the names of BERT's. */
async function classifierBytes({ weight, bias }: Linear): Promise<Uint8Array> {
  const header: Record<string, unknown> = {};
  const data: Uint8Array[] = [];
  let offset = 0;
  for (const [name, tensor] of [
    ["classifier.weight", weight],
    ["classifier.bias", bias],
  ] as const) {
    if (tensor === undefined) continue;
    const { buffer, byteOffset, byteLength } = await tensor.rows(0, tensor.shape[0] ?? 1);
    header[name] = { dtype: "F32", shape: tensor.shape, data_offsets: [offset, offset + byteLength] };
    offset += byteLength;
    data.push(new Uint8Array(buffer, byteOffset, byteLength));
  }
  const text = JSON.stringify(header);
  // The tensors begin at a multiple of eight.
  const head = new TextEncoder().encode(text.padEnd(Math.ceil(text.length / 8) * 8));
  const length = new Uint8Array(8);
  new DataView(length.buffer).setUint32(0, head.length, true);
  return Buffer.concat([length, head, ...data]);
}

import type { ArtifactDescription } from "@crossrank/backend-kit";
import type { FileRequestOptions, ModelFiles } from "@crossrank/core";
import { type GgufHeader, readGgufHeader } from "@crossrank/formats/gguf";
import { dtypeOfHeader } from "./dtype.js";
import { partsOf } from "./split.js";

/** `enum llama_pooling_type` of llama.cpp. */
const poolings = ["none", "mean", "cls", "last", "rank"];

/**
 * What a GGUF's header says it is, for `crossrank inspect`. Of one in parts, the part that is asked for.
 *
 * @throws {GgufFormatError} when it is no sound GGUF.
 */
export async function describe(
  files: ModelFiles,
  path: string,
  options: FileRequestOptions = {},
): Promise<ArtifactDescription> {
  const listed = await files.list(options);
  const file = listed.find((one) => one.path === path);
  // The head alone, where the file lies elsewhere. What is not there says so itself.
  const header = await readGgufHeader(
    file === undefined
      ? await files.localPath(path, options)
      : { size: file.size, read: (start, end) => files.readBytes(path, { start, end }, options) },
  );
  const paths = listed.map((one) => one.path);
  return {
    dtype: dtypeOfHeader(header),
    quantisation: undefined,
    processor: undefined,
    inputs: [],
    outputs: [],
    facts: factsOf(header),
    files: partsOf(path, paths).filter((part) => part !== path),
    notes: [],
  };
}

function factsOf({ metadata, tensors }: GgufHeader): Record<string, string> {
  const text = (key: string): string | undefined => {
    const value = metadata.get(key);
    return typeof value === "string" ? value.slice(0, 100) : undefined;
  };
  const architecture = text("general.architecture");
  const pooling = metadata.get(`${architecture}.pooling_type`);
  const context = metadata.get(`${architecture}.context_length`);
  const counts = new Map<string, number>();
  for (const { type } of tensors.values()) counts.set(type.name, (counts.get(type.name) ?? 0) + 1);
  const held = [...counts].sort(([, a], [, b]) => b - a).map(([type, count]) => `${count} × ${type}`);
  const facts: Record<string, string | undefined> = {
    architecture,
    tokenizer: text("tokenizer.ggml.model"),
    pooling: typeof pooling === "number" ? (poolings[pooling] ?? String(pooling)) : undefined,
    "context length": typeof context === "number" ? String(context) : undefined,
    tensors: held.join(", "),
  };
  return Object.fromEntries(
    Object.entries(facts).filter((fact): fact is [string, string] => fact[1] !== undefined && fact[1] !== ""),
  );
}

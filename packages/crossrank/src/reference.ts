import { stat } from "node:fs/promises";
import { basename, dirname, extname } from "node:path";
import { InvalidInputError, type ModelFiles } from "@crossrank/core";
import { precisionsAmong } from "./registry.js";

/** A model as somebody writes it, taken apart. */
export interface ModelReference {
  /** A folder, or a repository id. */
  readonly source: string;
  /** A branch, tag or commit that the address names. */
  readonly revision: string | undefined;
  /** The artifact to run: a file by its name, or a precision (`owner/name:Q8_0`). */
  readonly artifact: { readonly file: string } | { readonly dtype: string } | undefined;
}

/** Files that are an artifact by themselves. */
const artifactEndings = new Set([".gguf", ".onnx", ".mnn"]);

/**
 * Takes apart: a file that is an artifact, whose folder is the model; `owner/name:QUANT`; and an address on the hub,
 * as a browser shows it. Everything else is left as it is.
 */
export async function parseReference(model: string): Promise<ModelReference> {
  const status = await stat(model).catch(() => undefined);
  if (status?.isFile() && artifactEndings.has(extname(model).toLowerCase())) {
    return { source: dirname(model), revision: undefined, artifact: { file: basename(model) } };
  }
  if (status !== undefined) return { source: model, revision: undefined, artifact: undefined };
  const address =
    /^(?:https?:\/\/)?(?:huggingface\.co|hf\.co)\/([^/?#]+\/[^/?#:]+)(?:\/(?:tree|blob)\/([^/?#]+))?\/?(:[\w.-]+)?$/.exec(
      model,
    );
  const plain = address === null ? model : `${address[1]}${address[3] ?? ""}`;
  const [, repository = plain, dtype] = /^([\w.-]+\/[\w.-]+):([\w.-]+)$/.exec(plain) ?? [];
  return {
    source: repository,
    revision: address?.[2],
    artifact: dtype === undefined ? undefined : { dtype },
  };
}

/**
 * The same model with one artifact of all, so that nothing else is chosen.
 *
 * @throws {InvalidInputError} when the model has none of the precision.
 */
export async function withOneArtifact(
  files: ModelFiles,
  artifact: NonNullable<ModelReference["artifact"]>,
  signal: AbortSignal | undefined,
): Promise<ModelFiles> {
  const listed = await files.list({ signal });
  const paths = listed.map(({ path }) => path);
  const precisions = await precisionsAmong(paths);
  const chosen =
    "file" in artifact
      ? artifact.file
      : precisions.find((one) => plainName(one.dtype) === plainName(artifact.dtype))?.path;
  if (chosen === undefined) {
    const there = [...new Set(precisions.map(({ dtype }) => dtype))].filter((dtype) => dtype !== "?");
    throw new InvalidInputError(
      "model",
      `asks for ${"dtype" in artifact ? artifact.dtype : ""}, and ${files.id} has ${there.length === 0 ? "no artifact whose name says its precision" : there.join(", ")}`,
    );
  }
  const others = new Set(precisions.map(({ path }) => path).filter((path) => path !== chosen));
  const isOther = (path: string): boolean =>
    path !== chosen &&
    (others.has(path) ||
      artifactEndings.has(extname(path).toLowerCase()) ||
      [...others].some((other) => path.startsWith(`${other}/`)));
  return {
    id: files.id,
    revision: files.revision,
    list: async (options) => (await files.list(options)).filter(({ path }) => !isOther(path)),
    readText: (path, options) => files.readText(path, options),
    readBytes: (path, range, options) => files.readBytes(path, range, options),
    localPath: (path, options) => files.localPath(path, options),
  };
}

/** Publishers write FP16 for GGUF's F16 and f16 for ONNX's fp16. */
function plainName(dtype: string): string {
  return dtype.toLowerCase().replace(/^fp(?=\d)/, "f");
}

/** The GGUF that would run, whose metadata stand for the files that a repository of GGUF alone leaves out. */
export async function ggufAmong(paths: readonly string[]): Promise<string | undefined> {
  const found = (await precisionsAmong(paths)).filter(({ path }) => extname(path).toLowerCase() === ".gguf");
  return found[0]?.path;
}

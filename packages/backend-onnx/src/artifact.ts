import {
  type ArtifactFormat,
  type ArtifactWish,
  chooseArtifact,
  hashFiles,
  knownDtype,
  requireContent,
} from "@crossrank/backend-kit";
import {
  type ArtifactInfo,
  type LoadRequest,
  type ModelFile,
  ModelFileNotFoundError,
  type ModelFiles,
  ModelLoadError,
} from "@crossrank/core";
import { type GraphSummary, precisionOf, readGraph, withLocalFile } from "@crossrank/formats/onnx/read";
import { dtypeToTell, graphOf } from "./describe.js";
import { artifactPaths, dtypes } from "./dtype.js";
import { isDetached, weightFiles } from "./external-data.js";
import { artifactsAmong, onnxPaths, type Processor } from "./published-names.js";

/** An artifact on this machine. */
export interface LocalArtifact {
  /** Files of the model, the .onnx first, then its external data. */
  readonly files: readonly ModelFile[];
  readonly modelPath: string;
  /** Absolute paths of all files, `modelPath` first. */
  readonly paths: readonly string[];
  /** External data that ONNX Runtime would not find or refuse, by the name that the graph uses. */
  readonly detachedData: readonly { readonly name: string; readonly path: string }[];
  /** Bytes of all files together. */
  readonly bytes: number;
  /** What the .onnx says; undefined where it cannot be followed. */
  readonly graph: GraphSummary | undefined;
}

const fixes = {
  named: "Name one of these in the option `file`.",
  none: "Where the model has safetensors, write it from them with `crossrank convert --to onnx`; else choose the backend of the format that it comes in.",
};

/** Precisions by their content that are as good as the one asked for, the best first. */
const alike: Readonly<Record<string, readonly string[]>> = {
  int8: ["int8", "uint8", "q8"],
  q8: ["int8", "uint8", "q8"],
};

/** Files whose names say nothing are read, where names do not decide: of no more than this many. */
const mostRead = 16;

/**
 * The .onnx to run, by the rule of all backends; where names do not decide, by what the graphs are.
 *
 * @param options.processor the one that computes, as far as files are made for it.
 * @param options.onGpu whether something else than the processor computes.
 * @throws {ModelFileNotFoundError} when it is not there, or several are alike.
 * @throws {InvalidInputError} when `dtype` is no precision.
 */
export async function chooseFile(
  files: ModelFiles,
  wish: ArtifactWish,
  {
    processor,
    onGpu,
    signal,
  }: {
    readonly processor: Processor;
    readonly onGpu: boolean;
    readonly signal: AbortSignal | undefined;
  },
): Promise<ModelFile> {
  const byPath = new Map((await files.list({ signal })).map((file) => [file.path, file]));
  const paths = [...byPath.keys()];
  const all = artifactsAmong(paths, processor, onGpu);
  const format: ArtifactFormat = {
    dtypes,
    artifacts: () => all.filter(({ dtype }) => dtype !== "?"),
    candidates: onnxPaths,
    expected: artifactPaths,
    // ONNX Runtime has a format of its own besides, with other endings.
    accepts: () => true,
    fixes,
  };
  const fileOf = (path: string): ModelFile => byPath.get(path) as ModelFile;
  const [only, ...others] = onnxPaths(paths);
  if (wish.file === undefined && wish.dtype === undefined && only !== undefined && others.length === 0) {
    return fileOf(only);
  }
  try {
    return fileOf(chooseArtifact(files.id, paths, wish, format).paths[0]);
  } catch (error) {
    if (!ModelFileNotFoundError.isInstance(error) || wish.file !== undefined) throw error;
    const asked = knownDtype(wish.dtype ?? "", dtypes);
    const wanted = asked === undefined ? undefined : (alike[asked] ?? [asked]);
    const unknown = all.filter(
      ({ dtype, onlyByName }) =>
        onlyByName === undefined && (dtype === "?" || (wanted?.length ?? 0) > 1 || dtype === "int8"),
    );
    const chosen = await byContent(
      files,
      unknown.slice(0, mostRead).map(({ path }) => fileOf(path)),
      wanted,
      signal,
    );
    if (chosen === undefined) throw error;
    return chosen;
  }
}

/**
 * The file of the precision that is wanted, else of the most precise, by what the graphs are.
 *
 * @throws {ModelFileNotFoundError} where several are alike.
 */
async function byContent(
  files: ModelFiles,
  candidates: readonly ModelFile[],
  wanted: readonly string[] = [...dtypes, "bf16", "fp64", "fp8"],
  signal: AbortSignal | undefined,
): Promise<ModelFile | undefined> {
  const found: { readonly file: ModelFile; readonly dtype: string }[] = [];
  for (const file of candidates) {
    const graph = await graphOf(files, file, { signal });
    // A repository may hold a tokenizer, or a part of another model, as a graph of its own.
    if (graph === undefined || !graph.inputs.some(({ name }) => name === "input_ids")) continue;
    found.push({ file, dtype: precisionOf(graph).dtype });
  }
  for (const dtype of wanted) {
    const [first, ...others] = found.filter((one) => one.dtype === dtype);
    if (first !== undefined && others.length === 0) return first.file;
    if (first !== undefined) {
      throw new ModelFileNotFoundError({
        model: files.id,
        expected: artifactPaths(dtype),
        found: [first, ...others].map(({ file }) => file.path),
        fix: `Each of these computes in ${dtype}, and nothing says which one is meant. ${fixes.named}`,
      });
    }
  }
  return undefined;
}

/** A file of an artifact, where a backend has it: a path, or the bytes themselves. */
export interface ArtifactPart<Place> {
  readonly file: ModelFile;
  readonly place: Place;
  readonly bytes: number;
  /** Names by which the graph reads weights from it; of the .onnx none. */
  readonly locations: readonly string[];
}

/**
 * Fetches the .onnx, and then the files that it reads its weights from, one after the other.
 *
 * @param access.fetch gets a file of the model. It refuses what is empty or no content.
 * @param access.read what the .onnx says.
 * @returns the parts, the .onnx first.
 * @throws {ModelLoadError} when one is missing, too short, or outside of the model's folder.
 */
export async function collectParts<Place>(
  {
    files,
    file,
    backend,
  }: { readonly files: ModelFiles; readonly file: ModelFile; readonly backend: string },
  access: {
    readonly fetch: (path: string) => Promise<{ readonly place: Place; readonly bytes: number }>;
    readonly read: (place: Place) => Promise<GraphSummary | undefined>;
  },
  signal: AbortSignal | undefined,
): Promise<{
  readonly parts: readonly [ArtifactPart<Place>, ...ArtifactPart<Place>[]];
  readonly graph: GraphSummary | undefined;
}> {
  const fetched = async (path: string): Promise<{ readonly place: Place; readonly bytes: number }> => {
    const found = await access.fetch(path);
    signal?.throwIfAborted();
    return found;
  };
  const main: ArtifactPart<Place> = { file, ...(await fetched(file.path)), locations: [] };
  const graph = await access.read(main.place);
  const facts = { model: files.id, backend, file: file.path };
  const weights = weightFiles(file.path, graph?.external ?? []);
  if ("problem" in weights) throw new ModelLoadError({ ...facts, ...weights });
  const listed = weights.length === 0 ? [] : await files.list({ signal });
  const others = new Map<string, ArtifactPart<Place>>();
  for (const weight of weights) {
    const found = listed.find(({ path }) => path === weight.path);
    if (found === undefined) {
      throw new ModelLoadError({
        ...facts,
        problem: `External data ${weight.path} is not there`,
        fix: "Put the weight files that the .onnx names beside it, under those names",
      });
    }
    const known = found.path === file.path ? main : others.get(found.path);
    const part = known ?? { file: found, ...(await fetched(weight.path)), locations: [] };
    if (part.bytes < weight.bytes) {
      throw new ModelLoadError({
        ...facts,
        problem: `${weight.path} has ${part.bytes} bytes, and the graph reads ${weight.bytes} of it`,
        fix: "Download both again: they are of two exports, or one is cut",
      });
    }
    if (part !== main) {
      others.set(found.path, { ...part, locations: [...part.locations, weight.location] });
    }
  }
  return { parts: [main, ...others.values()], graph };
}

/**
 * The parts of an artifact on this machine.
 *
 * @throws {ModelLoadError} when one is missing, empty, a Git LFS pointer, too short, or outside of the model's folder.
 */
export async function fetchArtifact(
  files: ModelFiles,
  file: ModelFile,
  options: Pick<LoadRequest, "signal" | "onProgress">,
): Promise<LocalArtifact> {
  const fetch = async (path: string): Promise<{ place: string; bytes: number }> => {
    const place = await files.localPath(path, options);
    options.signal?.throwIfAborted();
    return { place, bytes: await requireContent({ model: files.id, backend: "onnx", file: path }, place) };
  };
  const { parts, graph } = await collectParts(
    { files, file, backend: "onnx" },
    { fetch, read: (path) => withLocalFile(path, readGraph) },
    options.signal,
  );
  const [{ place: modelPath }] = parts;
  const detachedData: { name: string; path: string }[] = [];
  for (const { place, locations } of parts) {
    for (const name of locations) {
      if (await isDetached(modelPath, place, name)) detachedData.push({ name, path: place });
    }
  }
  return {
    files: parts.map((part) => part.file),
    modelPath,
    paths: parts.map(({ place }) => place),
    detachedData,
    bytes: parts.reduce((sum, part) => sum + part.bytes, 0),
    graph,
  };
}

/**
 * What was loaded, with the source's hashes, or the files' own where the source has none.
 *
 * @param hash the sha256 of the .onnx on this machine, where it is known already.
 */
export async function describeArtifact(
  files: ModelFiles,
  local: LocalArtifact,
  signal: AbortSignal | undefined,
  hash?: string,
): Promise<ArtifactInfo> {
  const [main, ...others] = local.files;
  const content = local.graph === undefined ? undefined : precisionOf(local.graph).dtype;
  return {
    format: "onnx",
    dtype: dtypeToTell(main?.path ?? "", content),
    files: await hashFiles(
      files,
      main === undefined ? [] : [{ ...main, sha256: main.sha256 ?? hash }, ...others],
      signal,
    ),
  };
}

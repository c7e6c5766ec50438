import { mkdir, realpath, stat } from "node:fs/promises";
import { basename, dirname, join, resolve } from "node:path";
import {
  type Backend,
  type CrossrankJson,
  type FileProgress,
  InvalidInputError,
  type LoadedModel,
  loadModel,
  type ModelFiles,
  type ModelProfile,
  readProfile,
  type ScoringProgress,
} from "@crossrank/core";
import { type Goldens, readGoldens, type Verification, verifyLoaded } from "@crossrank/core/verify";
import { hashFile } from "@crossrank/disk";
import type { WriteProgress } from "@crossrank/formats";
import type { ArtifactWriter, StoredTensorFacts } from "./artifact-writer.js";
import { type BatchUse, batchesOfUse } from "./batch-use.js";
import { ConversionNotFaithfulError, SourceChangedError } from "./errors.js";
import type { MlpackageWriterOptions } from "./mlpackage/write-mlpackage.js";
import type { MnnWriterOptions } from "./mnn/write-mnn.js";
import { copyModel, openStaged, recordReads, writeGoldens } from "./model-folder.js";
import type { OnnxWriterOptions } from "./onnx/write-onnx.js";
import { OutputFolder } from "./output-folder.js";
import {
  type ArtifactProvenance,
  type HashedFile,
  packageVersions,
  type VerificationRecord,
  withArtifact,
} from "./provenance.js";
import { countCases, goldensOfAnyLength, goldensWithin } from "./reference/shorter-goldens.js";
import { sourceGoldens } from "./reference/source-goldens.js";
import { describeModel } from "./source/describe-model.js";
import type { ModelDescription } from "./source/description.js";
import { weightsFile } from "./source/open-weights.js";
import { createWriter, writers } from "./writers.js";

/** What can be set about the formats of this package, each about its own alone. */
export interface FormatOptions
  extends Pick<OnnxWriterOptions, "target" | "activations">,
    MnnWriterOptions,
    MlpackageWriterOptions {}

export interface ConvertOptions extends FormatOptions {
  /** Hugging Face files with safetensors weights. */
  readonly model: ModelFiles;
  /** A format of this package ({@link writers}), or a writer, made with its options. */
  readonly to: string | ArtifactWriter;
  /** Precision, one of the writer's, in any case. Default: the most precise; of mlpackage fp16. */
  readonly dtype?: string | undefined;
  /**
   * Folder to put the artifact into; it need not exist. It becomes a complete model folder (the model's small files,
   * the artifact, provenance.json), unless it is the source's own, which gets the artifact and provenance.json.
   */
  readonly output: string;
  /** Replace an artifact of that name. Default false. */
  readonly force?: boolean | undefined;
  /**
   * Runs the artifact for verification: one that loads this format, or several of which each has to agree. Not needed
   * without verification.
   */
  readonly backend?: Backend | readonly Backend[] | undefined;
  /** Default true. False keeps whatever was written, and provenance.json says that nobody looked. */
  readonly verify?: boolean | undefined;
  /** Largest |Δ logit| allowed. Default: core's bound for the precision. */
  readonly tolerance?: number | undefined;
  /**
   * What the source gives, from an earlier conversion of the same model: {@link Conversion.goldens}. Cases with more
   * tokens than the artifact takes are left out. Default: computed.
   */
  readonly goldens?: Goldens | undefined;
  /** Facts about the model that override its files. A separate output folder keeps them in its crossrank.json. */
  readonly profile?: CrossrankJson | undefined;
  readonly signal?: AbortSignal | undefined;
  readonly onProgress?: ((progress: ConversionProgress) => void) | undefined;
}

export type ConversionProgress =
  /** The source's files, where they are not on this machine. */
  | ({ readonly step: "downloading" } & FileProgress)
  | { readonly step: "reading" }
  /** Bytes of a file. */
  | { readonly step: "hashing"; readonly path: string; readonly read: number; readonly total: number }
  /** The source is being computed, to have something to hold the artifact against. */
  | ({ readonly step: "reference" } & Partial<ScoringProgress>)
  | ({ readonly step: "writing" } & Partial<WriteProgress>)
  | ({ readonly step: "verifying" } & Partial<ScoringProgress>);

export interface Conversion {
  /** Absolute path of the output folder. */
  readonly folder: string;
  /** As provenance.json has it. */
  readonly provenance: ArtifactProvenance;
  /** Empty where none was asked for. */
  readonly verifications: readonly {
    readonly against: VerificationRecord["against"];
    /** Undefined where the backend chose. */
    readonly batches?: BatchUse | undefined;
    /** As {@link VerificationRecord.leftOut}. */
    readonly leftOut?: number | undefined;
    readonly verification: Verification;
  }[];
  /**
   * What the source gives, at the artifact's length; undefined where nothing was verified. For the next conversion of
   * the same model to the same lengths.
   */
  readonly goldens: Goldens | undefined;
}

/**
 * Writes a model's weights in another format, holds the artifact against its source, and puts it into its folder only
 * if it agrees. Until then everything is in a folder beside the output; on failure and on abort that is removed, and
 * nothing else was touched.
 *
 * @throws {InvalidInputError} an option is wrong: `to`, `dtype`, `tolerance`, `backend`, `goldens`, `profile`, or one of
 *   the format's own.
 * @throws {UnsupportedConversionError} the model cannot be written in this format, and why.
 * @throws {ExternalConverterError} a program that the format is written with is not there, or failed.
 * @throws {ConversionNotFaithfulError} the artifact does not give what its source gives.
 * @throws {OutputFolderError} the artifact is there already, the folder holds another model, or it cannot be written.
 * @throws {SourceChangedError} somebody wrote to the source's weights meanwhile.
 * @throws {ModelFileNotFoundError} {ModelProfileError} the source cannot be read.
 * @throws what `verify` throws when the backend cannot load or run the artifact.
 * @throws the signal's reason, once aborted.
 */
export async function convert(options: ConvertOptions): Promise<Conversion> {
  const { model, signal, onProgress, force = false } = options;
  signal?.throwIfAborted();
  const { writer, dtype } = await chooseWriter(options);
  const main = writer.path(dtype);
  const output = await OutputFolder.open(options.output);
  await output.check(main, force);

  onProgress?.({ step: "reading" });
  const download = { signal, onProgress: downloading(onProgress) };
  const { files, read } = recordReads(model);
  const { profile, catalogue } = await readProfile(files, options.profile, signal);
  const description = await describeModel(model, profile, download);
  writer.check(description, profile, dtype);
  const settings = writer.settings?.(description, dtype) ?? {};
  const taken = Math.min(profile.maxLength, settings.lengths?.at(-1) ?? Number.POSITIVE_INFINITY);
  const tools = await writer.prepare?.(signal);
  const weights = await fetchWeights(model, download);

  const staging = await output.stage();
  try {
    const companions = [
      ...(await copyModel(
        {
          files: model,
          profile,
          read,
          weights: weights.map(({ path }) => path),
          catalogued: catalogue?.facts,
          overrides: options.profile,
          signal,
        },
        staging.path,
      )),
    ];
    const inPlace = await isSource(model, output.path);
    if (!inPlace) await output.missing(staging, companions);

    const source = await hashWeights(weights, options);
    const own = await readGoldens(model, { signal });
    const goldens =
      options.verify === false ? undefined : await computeGoldens(options, { ...profile, maxLength: taken });
    if (own === undefined && goldens !== undefined) {
      // Other artifacts of the folder may take longer sequences.
      const kept = taken < profile.maxLength ? goldensOfAnyLength(goldens, taken) : goldens;
      if (kept !== undefined) companions.push(await writeGoldens(kept, staging.path));
    }

    const tensors: StoredTensorFacts[] = [];
    const onTensor = (tensor: StoredTensorFacts): void => void tensors.push(tensor);
    const folder = staging.path;
    const paths = await write(options, { writer, dtype, description, profile, source, folder, onTensor });
    const artifact = await hashFiles(staging.path, paths, options);
    const id = inPlace ? model.id : options.output;
    const within = async (all: Goldens | undefined): Promise<Goldens | undefined> =>
      all === undefined || taken === profile.maxLength ? all : goldensWithin(all, taken, files, profile);
    const expected: Expected[] = [
      { against: "source", all: goldens, within: await within(goldens) },
      { against: "golden.json", all: own, within: await within(own) },
    ];
    // Those that were computed here are of that length.
    if (goldens !== undefined && expected[0]?.within === undefined)
      throw new InvalidInputError("goldens", `hold no case of at most ${taken} tokens`);
    const verifications = await verifyAgainst(options, { folder: staging.path, id, writer, dtype, expected });
    await requireUnchanged(weights, model.id);

    const provenance: ArtifactProvenance = {
      format: writer.format,
      dtype,
      files: artifact,
      source: { id: publicId(model), revision: model.revision ?? null, files: source },
      converter: {
        packages: packageVersions(),
        ...(tools === undefined ? {} : { tools }),
        node: process.versions.node,
        date: new Date().toISOString(),
      },
      options: {
        ...settings,
        ...(options.tolerance === undefined ? {} : { tolerance: options.tolerance }),
        ...(options.profile === undefined ? {} : { profile: options.profile }),
      },
      ...precisionsOf(tensors, dtype),
      verified: verifications.length > 0,
      verifications: verifications.map(({ against, batches, leftOut, verification }) => ({
        against,
        ...(batches === undefined ? {} : { batches }),
        ...(leftOut === undefined ? {} : { leftOut }),
        reference: verification.reference,
        backend: verification.backend,
        bound: verification.bound,
        summary: verification.summary,
      })),
    };
    signal?.throwIfAborted();
    await output.deliver(staging, {
      companions: inPlace ? [] : companions,
      artifact: artifact.map(({ path }) => path),
      provenance: (before) => withArtifact(before, provenance),
      force,
    });
    return { folder: output.path, provenance, verifications, goldens };
  } catch (error) {
    // Node's own readers reject with an AbortError in place of the reason.
    signal?.throwIfAborted();
    throw output.translate(error);
  } finally {
    await staging.remove();
  }
}

async function chooseWriter(
  options: ConvertOptions,
): Promise<{ readonly writer: ArtifactWriter; readonly dtype: string }> {
  const { dtype, tolerance } = options;
  if (tolerance !== undefined && !(tolerance > 0)) {
    throw new InvalidInputError("tolerance", `must be a number above 0, not ${tolerance}`);
  }
  const writer = await writerOf(options);
  if (options.verify !== false && backendsOf(options).length === 0) {
    throw new InvalidInputError(
      "backend",
      `is needed to verify the artifact: one that loads ${writer.format}, or verify: false`,
    );
  }
  const asked = dtype ?? writer.defaultDtype ?? writer.dtypes[0];
  const chosen = writer.dtypes.find((name) => name.toLowerCase() === asked?.toLowerCase());
  if (chosen === undefined) {
    throw new InvalidInputError(
      "dtype",
      `must be one of ${writer.dtypes.join(", ")} for ${writer.format}, not ${JSON.stringify(dtype)}`,
    );
  }
  return { writer, dtype: chosen };
}

async function writerOf(options: ConvertOptions): Promise<ArtifactWriter> {
  const { to } = options;
  const names = new Set(writers.flatMap((writer) => Object.keys(writer.options ?? {})));
  const set = Object.entries(options).filter(([name, value]) => names.has(name) && value !== undefined);
  if (typeof to === "string") return createWriter(to, Object.fromEntries(set));
  const [name] = set[0] ?? [];
  if (name === undefined) return to;
  throw new InvalidInputError(name, `is set where the writer of ${to.format} is made. Leave it out`);
}

function backendsOf({ backend = [] }: Pick<ConvertOptions, "backend">): readonly Backend[] {
  return "load" in backend ? [backend] : backend;
}

/** A file of the source on this machine. */
interface LocalWeights {
  readonly path: string;
  readonly local: string;
  readonly sha256: string | undefined;
  /** Whether it is still the same file: size and time of its last change. */
  readonly state: string;
}

/** The file that holds all weights, or the parts that an index names. */
async function fetchWeights(
  model: ModelFiles,
  download: {
    readonly signal: AbortSignal | undefined;
    readonly onProgress: (progress: FileProgress) => void;
  },
): Promise<readonly LocalWeights[]> {
  const listed = await model.list(download);
  const index = "model.safetensors.index.json";
  const whole = weightsFile(listed.map(({ path }) => path));
  const parts =
    whole !== undefined
      ? [whole]
      : [
          ...new Set(
            Object.values(
              (JSON.parse(await model.readText(index, download)) as { weight_map: Record<string, string> })
                .weight_map,
            ),
          ),
        ].sort();
  const weights: LocalWeights[] = [];
  for (const path of parts) {
    const local = await model.localPath(path, download);
    const sha256 = listed.find((file) => file.path === path)?.sha256;
    weights.push({ path, local, sha256, state: await stateOf(local) });
  }
  return weights;
}

async function hashWeights(
  weights: readonly LocalWeights[],
  options: Pick<ConvertOptions, "signal" | "onProgress">,
): Promise<HashedFile[]> {
  const hashed: HashedFile[] = [];
  for (const { path, local, sha256 } of weights) {
    const { size } = await stat(local);
    hashed.push({ path, size, sha256: sha256 ?? (await hashWithProgress(local, path, size, options)) });
  }
  return hashed;
}

async function hashFiles(
  folder: string,
  absolute: readonly string[],
  options: Pick<ConvertOptions, "signal" | "onProgress">,
): Promise<HashedFile[]> {
  const hashed: HashedFile[] = [];
  for (const local of absolute) {
    const path = local.slice(folder.length + 1).replaceAll("\\", "/");
    const { size } = await stat(local);
    hashed.push({ path, size, sha256: await hashWithProgress(local, path, size, options) });
  }
  return hashed;
}

async function hashWithProgress(
  local: string,
  path: string,
  total: number,
  { signal, onProgress }: Pick<ConvertOptions, "signal" | "onProgress">,
): Promise<string> {
  return hashFile(local, { signal, onRead: (read) => onProgress?.({ step: "hashing", path, read, total }) });
}

/** Hashes were taken before the weights were read: that they are of what was read is worth a look. */
async function requireUnchanged(weights: readonly LocalWeights[], model: string): Promise<void> {
  for (const { path, local, state } of weights) {
    if (state === (await stateOf(local))) continue;
    throw new SourceChangedError({ model, path });
  }
}

async function stateOf(local: string): Promise<string> {
  const { size, mtimeMs, ino } = await stat(local);
  return `${size} ${mtimeMs} ${ino}`;
}

async function computeGoldens(options: ConvertOptions, profile: ModelProfile): Promise<Goldens> {
  const { model, signal, onProgress, goldens } = options;
  if (goldens !== undefined) return goldens;
  onProgress?.({ step: "reference" });
  return sourceGoldens(model, profile, undefined, {
    signal,
    onProgress: (progress) => onProgress?.({ step: "reference", ...progress }),
  });
}

async function write(
  options: ConvertOptions,
  parts: {
    readonly writer: ArtifactWriter;
    readonly dtype: string;
    readonly description: ModelDescription;
    readonly profile: ModelProfile;
    readonly source: readonly HashedFile[];
    readonly folder: string;
    readonly onTensor: (tensor: StoredTensorFacts) => void;
  },
): Promise<readonly string[]> {
  const { model, signal, onProgress } = options;
  const { writer, dtype, description, profile, source, folder, onTensor } = parts;
  const path = join(folder, ...writer.path(dtype).split("/"));
  onProgress?.({ step: "writing" });
  await mkdir(dirname(path), { recursive: true });
  return writer.write({
    files: model,
    description,
    profile,
    dtype,
    path,
    metadata: {
      source: publicId(model),
      ...(model.revision === undefined ? {} : { revision: model.revision }),
      sha256: source
        .map((file) => (source.length === 1 ? file.sha256 : `${file.path}=${file.sha256}`))
        .join(" "),
      converter: Object.entries(packageVersions())
        .map((version) => version.join(" "))
        .join(", "),
    },
    onTensor,
    signal,
    onProgress: (progress) => onProgress?.({ step: "writing", ...progress }),
  });
}

function precisionsOf(
  tensors: readonly StoredTensorFacts[],
  dtype: string,
): Pick<ArtifactProvenance, "tensors" | "otherPrecision"> {
  const counts: Record<string, number> = {};
  const other: Record<string, string> = {};
  for (const tensor of tensors) {
    counts[tensor.dtype] = (counts[tensor.dtype] ?? 0) + 1;
    if (tensor.shape.length > 1 && tensor.dtype !== dtype) other[tensor.name] = tensor.dtype;
  }
  return { tensors: counts, otherPrecision: other };
}

/** Goldens to hold an artifact against. */
interface Expected {
  readonly against: VerificationRecord["against"];
  readonly all: Goldens | undefined;
  /** Those of them that the artifact can take. */
  readonly within: Goldens | undefined;
}

async function verifyAgainst(
  options: ConvertOptions,
  staged: {
    readonly folder: string;
    readonly id: string;
    readonly writer: ArtifactWriter;
    readonly dtype: string;
    readonly expected: readonly Expected[];
  },
): Promise<Conversion["verifications"]> {
  if (options.verify === false) return [];
  options.onProgress?.({ step: "verifying" });
  const verifications: Conversion["verifications"][number][] = [];
  if (staged.expected.every(({ within }) => within === undefined)) return verifications;
  const { folder, id, dtype } = staged;
  for (const backend of backendsOf(options)) {
    const loaded = await loadModel({
      model: openStaged(folder, id),
      backend,
      dtype,
      signal: options.signal,
    });
    try {
      verifications.push(...(await verifyOn(loaded, options, staged)));
    } finally {
      await loaded.dispose();
    }
  }
  return verifications;
}

async function verifyOn(
  loaded: LoadedModel,
  options: ConvertOptions,
  { writer, dtype, expected }: Parameters<typeof verifyAgainst>[1],
): Promise<Conversion["verifications"]> {
  const { model, tolerance, signal, onProgress } = options;
  const verifications: Conversion["verifications"][number][] = [];
  for (const { against, all, within } of expected) {
    if (all === undefined || within === undefined) continue;
    const leftOut = countCases(all) - countCases(within);
    for (const batches of writer.batches ?? [undefined]) {
      const verification = await verifyLoaded(loaded, {
        goldens: within,
        tolerance,
        batches: batches && batchesOfUse[batches],
        signal,
        onScored: (progress) => onProgress?.({ step: "verifying", ...progress }),
      });
      if (!verification.passed) {
        const isOneOfSeveral = backendsOf(options).length > 1;
        const facts = {
          model: model.id,
          format: writer.format,
          dtype,
          against,
          batches,
          isOneOfSeveral,
          verification,
        };
        throw new ConversionNotFaithfulError(facts);
      }
      verifications.push({ against, batches, ...(leftOut === 0 ? {} : { leftOut }), verification });
    }
  }
  return verifications;
}

/** Whether the model is a plain folder, and the output is that folder. */
async function isSource(model: ModelFiles, output: string): Promise<boolean> {
  if (model.revision !== undefined) return false;
  const [tokenizer, folder] = await Promise.all(
    [dirname(await model.localPath("tokenizer.json")), output].map((path) =>
      realpath(path).catch(() => undefined),
    ),
  );
  return folder !== undefined && tokenizer === folder;
}

/** A path tells about somebody's machine, and nothing about the model. */
function publicId({ id, revision }: ModelFiles): string {
  return revision === undefined ? basename(resolve(id)) : id;
}

function downloading(onProgress: ConvertOptions["onProgress"]): (progress: FileProgress) => void {
  return (progress) => onProgress?.({ step: "downloading", ...progress });
}

import { artifactWish, type Problem, rememberFiles, settingsOf } from "@crossrank/backend-kit";
import {
  type Backend,
  type BackendSession,
  type Head,
  IncompatibleModelError,
  type LoadRequest,
  type ModelFiles,
  ModelLoadError,
  untilAborted,
} from "@crossrank/core";
import { type ByteSource, CTranslate2FormatError } from "@crossrank/formats/ctranslate2";
import {
  type ArtifactChoice,
  chooseModel,
  classifierFile,
  configFile,
  describeArtifact,
  fetchArtifact,
} from "./artifact.js";
import { type Classifier, judgeWeights, readClassifier } from "./classifier.js";
import { openHost } from "./client.js";
import { chooseBatchPreference, choosePlacement } from "./defaults.js";
import { diagnose } from "./diagnose.js";
import { type EncoderFacts, readEncoder } from "./encoder.js";
import { requireFinite } from "./finite.js";
import { type Config, epsilonOf, judgeConfig } from "./judge-config.js";
import { modelLoadError } from "./load-error.js";
import { type CTranslate2Options, checkOptions } from "./options.js";
import { CTranslate2Session } from "./session.js";
import { judgeVocabulary } from "./vocabulary.js";

/**
 * CTranslate2 on this machine, through an addon of this package, in a child process. Runs folders of encoders that
 * `crossrank convert --to ctranslate2` or CTranslate2's own converter wrote.
 *
 * @throws {InvalidInputError} when an option is out of range.
 */
export function ctranslate2(options: CTranslate2Options = {}): Backend {
  checkOptions(options);
  return {
    specificationVersion: "v1",
    name: "ctranslate2",
    families: ["cross-encoder", "bi-encoder"],
    load: (request) => load(options, request),
    diagnose,
  };
}

async function load(options: CTranslate2Options, request: LoadRequest): Promise<BackendSession> {
  const { files, signal } = request;
  signal?.throwIfAborted();
  const choice = chooseModel(files.id, await files.list({ signal }), artifactWish(options.file, request));
  const { path } = choice.file;
  const refuse = (problem: Problem, cause?: unknown): ModelLoadError =>
    new ModelLoadError({ model: files.id, backend: "ctranslate2", file: path, ...problem }, { cause });
  const local = await fetchArtifact(files, choice, request);
  // Before it is read: what is judged is what is loaded.
  const checkUnchanged = await rememberFiles([local.modelPath]);
  const source = sourceOf(files, path, local.bytes, signal);
  const refuseFormat = (error: unknown): never => {
    if (!(error instanceof CTranslate2FormatError)) throw error;
    const fix = "Check where the file comes from, and download or convert it again";
    throw refuse({ problem: error.message, fix }, error);
  };
  const encoder = await readEncoder(source).catch(refuseFormat);
  const configs = await readConfigs(request, choice);
  const problem = configs.model === undefined ? undefined : judgeConfig(encoder, configs.model);
  if (problem !== undefined) throw refuse(problem);
  const vocabularyProblem = await judgeVocabulary(request, choice, encoder);
  if (vocabularyProblem !== undefined) throw refuse(vocabularyProblem);
  const epsilon = epsilonOf(configs.own, configs.model);
  if (typeof epsilon !== "number") throw refuse(epsilon);
  const classifier = await chooseOutput(request, { choice, encoder, source, refuse });
  if (classifier === undefined || choice.beside.has(classifierFile)) {
    const weightsProblem = await judgeWeights(request, choice, encoder, source);
    if (weightsProblem !== undefined) throw refuse(weightsProblem);
  }
  await requireFinite(source, signal).catch(refuseFormat);

  const placement = choosePlacement(options);
  const { isolation = "process", deadlines } = options;
  await checkUnchanged();
  const client = openHost({ isolation, deadlines, checkUnchanged });
  try {
    const loading = client
      .call("load", {
        modelPath: local.modelPath,
        sessions: placement.sessions,
        options: { threads: placement.threads, epsilon, integers: encoder.dtype === "int8" },
      })
      .catch((failure: unknown) => {
        throw modelLoadError(files.id, path, failure);
      });
    const others = classifier === undefined ? [] : [classifier.file];
    const [{ version }, artifact] = await untilAborted(
      Promise.all([loading, describeArtifact(files, choice, { dtype: encoder.dtype, others }, signal)]),
      signal,
    );
    return new CTranslate2Session({
      info: { name: "ctranslate2", runtime: { name: "CTranslate2", version } },
      artifact,
      capabilities: {
        output: classifier === undefined ? "hidden-states" : "class-logits",
        maxSequenceLength: encoder.longest,
        sequenceLengths: "any",
        batchSize: { max: Number.MAX_SAFE_INTEGER },
        batchPreference: chooseBatchPreference(options.batch),
        // A table of one row is a constant.
        segmentIds: encoder.second?.by === "segments" && encoder.second.rows > 1,
        // Activations are quantised token by token, and padding is left out.
        rowsAffectScores: false,
        // The second keeps a session busy while the first one's answer travels.
        concurrentRuns: 2 * placement.sessions,
        cancelsWithinBatch: false,
      },
      settings: settingsOf({}),
      client,
      encoder,
      classifier,
    });
  } catch (error) {
    await (signal?.aborted === true ? client.abandon() : client.close());
    throw error;
  }
}

/** The classifier, where class logits are asked for and there is one; undefined for hidden states. */
async function chooseOutput(
  request: LoadRequest,
  {
    choice,
    encoder,
    source,
    refuse,
  }: {
    readonly choice: ArtifactChoice;
    readonly encoder: EncoderFacts;
    readonly source: ByteSource;
    readonly refuse: (problem: Problem) => ModelLoadError;
  },
): Promise<Classifier | undefined> {
  const { files, output, profile } = request;
  const kind = output.kinds.find((one) => one === "class-logits" || one === "hidden-states");
  if (kind === "hidden-states") return undefined;
  if (kind === undefined) {
    throw new IncompatibleModelError({
      model: files.id,
      backend: "ctranslate2",
      capability: `an output of ${choice.file.path}`,
      wanted: output.kinds.join('" or "'),
      supported: ["class-logits", "hidden-states"],
    });
  }
  const classifier = await readClassifier(request, choice, encoder, source);
  if ("problem" in classifier) throw refuse(classifier);
  const wanted = classesOf(profile.head);
  if (wanted !== undefined && classifier.classes !== wanted) {
    throw refuse({
      problem: `its classifier (${classifier.file.path}) gives ${classifier.classes} classes, and the model's head reads ${wanted}`,
      fix: "Correct the head (crossrank.json, or the option `profile`), or take the artifact that belongs to this model",
    });
  }
  return classifier;
}

function classesOf(head: Head): number | undefined {
  if (head.kind === "class") return head.classes;
  return head.kind === "logit" ? 1 : head.kind === "two-class" ? 2 : undefined;
}

/** The artifact's own config.json, and the model's. Where they are one file, what it holds says whose it is. */
async function readConfigs(
  { files, signal }: Pick<LoadRequest, "files" | "signal">,
  { beside }: ArtifactChoice,
): Promise<{ readonly own: Config | undefined; readonly model: Config | undefined }> {
  const own = beside.get(configFile);
  const listed = await files.list({ signal });
  const model = listed.find(({ path }) => path === configFile);
  return {
    own: own === undefined ? undefined : await readJson(files, own.path, signal),
    model: model === undefined ? undefined : await readJson(files, model.path, signal),
  };
}

/** Undefined where it is none that can be read: core refuses it where it needs it. */
async function readJson(
  files: ModelFiles,
  path: string,
  signal: AbortSignal | undefined,
): Promise<Config | undefined> {
  const text = await files.readText(path, { signal });
  try {
    const value: unknown = JSON.parse(text.replace(/^\ufeff/, ""));
    return typeof value === "object" && value !== null ? (value as Config) : undefined;
  } catch {
    return undefined;
  }
}

/** The artifact, read in parts. */
export function sourceOf(
  files: ModelFiles,
  path: string,
  size: number,
  signal: AbortSignal | undefined,
): ByteSource {
  return { size, read: (start, end) => files.readBytes(path, { start, end }, { signal }) };
}

import {
  artifactWish,
  hashFiles,
  rememberFiles,
  requireContent,
  requireTokens,
  settingsOf,
} from "@crossrank/backend-kit";
import {
  type ArtifactInfo,
  type Backend,
  type BackendSession,
  type BatchPreference,
  type LoadRequest,
  type ModelFiles,
  ModelProfileError,
  untilAborted,
} from "@crossrank/core";
import type { Adapter } from "./adapter/open-adapter.js";
import { type Choice, chooseWeights } from "./artifact.js";
import { openHost } from "./client.js";
import { diagnose } from "./diagnose.js";
import { boundsOf } from "./dtype.js";
import { fileLoadError, modelLoadError } from "./load-error.js";
import { checkOptions, type MlxOptions } from "./options.js";
import { MlxSession } from "./session.js";

const families = ["cross-encoder", "bi-encoder", "causal-lm", "listwise", "late-interaction"] as const;

/**
 * MLX on this machine, through an addon of this package, in a child process. Runs a model's own safetensors, in the
 * precision of their numbers or a lower one that is made when they are loaded, and folders that mlx-lm has quantised.
 * Made for Apple Silicon; on Linux it computes on the processor, slowly.
 *
 * @throws {InvalidInputError} when an option is out of range.
 */
export function mlx(options: MlxOptions = {}): Backend {
  checkOptions(options);
  return {
    specificationVersion: "v1",
    name: "mlx",
    families,
    load: (request) => load(options, request),
    diagnose,
  };
}

async function load(options: MlxOptions, request: LoadRequest): Promise<BackendSession> {
  const { files, signal } = request;
  signal?.throwIfAborted();
  requireTokens(request.output);
  const choice = await choose(options, request);
  // Reading a description is for those who load a model.
  const { prepareModel } = await import("./prepare.js");
  const adapter = options.adapter === undefined ? undefined : await readAdapter(options.adapter, files.id);
  const { plan, paths, facts } = await prepareModel(choice, request, async (description) =>
    adapter === undefined ? {} : adapter.changesOf(description, choice.files, { signal }),
  );
  const local: string[] = [];
  for (const path of paths) {
    const found = await files.localPath(path, { signal, onProgress: request.onProgress });
    await requireContent({ model: files.id, backend: "mlx", file: path }, found);
    local.push(found);
  }
  signal?.throwIfAborted();
  const { isolation = "process", deadlines, threads } = options;
  const checkUnchanged = await rememberFiles(local);
  const client = openHost({ isolation, deadlines, threads, checkUnchanged });
  try {
    const loading = client.call("load", { ...facts, files: local }).catch((failure: unknown) => {
      throw modelLoadError(files.id, choice.path, failure);
    });
    const [loaded, artifact] = await untilAborted(
      Promise.all([loading, describeArtifact(choice, files, paths, signal)]),
      signal,
    );
    const { quantisation } = choice;
    return new MlxSession({
      info: { name: "mlx", runtime: { name: "MLX", version: loaded.version } },
      artifact,
      capabilities: {
        output: plan.output,
        maxSequenceLength: plan.longest,
        sequenceLengths: "any",
        batchSize: { max: Number.MAX_SAFE_INTEGER },
        batchPreference: batchPreference(options.batch),
        segmentIds: plan.segments > 1,
        unattendedStates: plan.output === "hidden-states",
        rowsAffectScores: false,
        // The second keeps MLX busy while the first one's answer travels.
        concurrentRuns: 2,
        cancelsWithinBatch: false,
      },
      settings: settingsOf({
        compute: choice.compute,
        device: loaded.onGpu ? "gpu" : "cpu",
        group: quantisation === undefined ? undefined : String(quantisation.group),
        adapter: adapter?.sha256,
      }),
      bounds: boundsOf(choice.compute),
      client,
      plan,
    });
  } catch (error) {
    await (signal?.aborted === true ? client.abandon() : client.close());
    throw error;
  }
}

async function readAdapter(folder: string, model: string): Promise<Adapter> {
  const { openAdapter } = await import("./adapter/open-adapter.js");
  return openAdapter(folder, model);
}

function choose(options: MlxOptions, request: LoadRequest): Promise<Choice> {
  const { files, signal } = request;
  const { compute, group, file } = options;
  return chooseWeights(files, artifactWish(file, request), { compute, group, signal }).catch(
    (cause: unknown) => {
      signal?.throwIfAborted();
      if (!ModelProfileError.isInstance(cause)) throw cause;
      throw fileLoadError(files.id, file ?? "config.json", cause);
    },
  );
}

function batchPreference(wanted: MlxOptions["batch"]): BatchPreference {
  return { rows: wanted?.rows ?? 16, tokens: wanted?.tokens ?? 2048, padding: wanted?.padding ?? 0.1 };
}

/** The files that weights were read from, the one that was chosen at the front. */
async function describeArtifact(
  { dtype, path }: Choice,
  files: ModelFiles,
  paths: readonly string[],
  signal: AbortSignal | undefined,
): Promise<ArtifactInfo> {
  const listed = new Map((await files.list({ signal })).map((file) => [file.path, file]));
  const all = [...new Set([path, ...paths])].flatMap((one) => listed.get(one) ?? []);
  return { format: "safetensors", dtype, files: await hashFiles(files, all, signal) };
}

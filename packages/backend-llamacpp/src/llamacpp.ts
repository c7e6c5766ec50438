import {
  artifactWish,
  type RuntimeClient,
  rememberFiles,
  requireTokens,
  settingsOf,
} from "@crossrank/backend-kit";
import {
  type Backend,
  type BackendSession,
  IncompatibleModelError,
  type LoadRequest,
  type ModelFiles,
  ModelLoadError,
  untilAborted,
} from "@crossrank/core";
import { chooseFile, describeArtifact, fetchArtifact, type LocalArtifact } from "./artifact.js";
import { openHost } from "./client.js";
import {
  batchPreferenceFor,
  boundsFor,
  choosePlacement,
  choosesFlashAttention,
  estimateContextBytes,
  type Placement,
  rowsAffectScores,
} from "./defaults.js";
import { diagnose } from "./diagnose.js";
import { judgeArtifact, offeredKinds } from "./judge-artifact.js";
import { modelLoadError } from "./load-error.js";
import { checkOptions, type LlamaCppOptions } from "./options.js";
import type { Calls, LoadedModel } from "./protocol.js";
import { Refusal } from "./refusal.js";
import { outputKindOf, type RunPlan } from "./run-plan.js";
import { LlamaCppSession } from "./session.js";

/**
 * llama.cpp on this machine, through node-llama-cpp, in a child process. Reads GGUF files of rerankers and embedding
 * models, and refuses those that llama.cpp would score wrongly.
 *
 * @throws {InvalidInputError} when an option is out of range.
 */
export function llamacpp(options: LlamaCppOptions = {}): Backend {
  checkOptions(options);
  return {
    specificationVersion: "v1",
    name: "llamacpp",
    families: ["cross-encoder", "bi-encoder", "causal-lm"],
    load: (request) => load(options, request),
    diagnose,
  };
}

async function load(options: LlamaCppOptions, request: LoadRequest): Promise<BackendSession> {
  const { files, signal } = request;
  signal?.throwIfAborted();
  requireTokens(request.output);
  const wish = artifactWish(options.file, request);
  const choice = chooseFile(files.id, await files.list({ signal }), wish);
  const artifact = await fetchArtifact(files, choice, request);
  const plan = await judge(artifact, request);
  const placement = choosePlacement(options, {
    weights: choice.files.reduce((sum, { size }) => sum + size, 0),
    context: estimateContextBytes(artifact.header, plan),
  });
  const flashAttention = choosesFlashAttention(options, artifact.dtype, plan);

  const { isolation = "process", deadlines } = options;
  const checkUnchanged = await rememberFiles(artifact.localPaths);
  const client = openHost({ isolation, deadlines, checkUnchanged });
  try {
    const [loaded, description] = await untilAborted(
      Promise.all([
        loadModel(client, options, { artifact, plan, placement, flashAttention, model: files.id }),
        describeArtifact(choice, artifact, signal),
      ]),
      signal,
    );
    return new LlamaCppSession({
      info: { name: "llamacpp", runtime: { name: "node-llama-cpp", version: loaded.version } },
      artifact: description,
      capabilities: {
        output: outputKindOf(plan.output),
        maxSequenceLength: plan.maxSequenceLength,
        sequenceLengths: "any",
        batchSize: { max: Number.MAX_SAFE_INTEGER },
        batchPreference: batchPreferenceFor(plan),
        rowsAffectScores: rowsAffectScores(plan, flashAttention),
        segmentIds: plan.segmentVocabulary !== undefined,
        // The second keeps a context busy while the first one's answer travels.
        concurrentRuns: 2 * placement.contexts,
        cancelsWithinBatch: true,
      },
      settings: settingsOf({ flashAttention, gpu: loaded.gpu }),
      bounds: boundsFor(artifact.dtype, flashAttention),
      client,
      plan,
    });
  } catch (error) {
    await (signal?.aborted === true ? client.abandon() : client.close());
    throw error;
  }
}

async function loadModel(
  client: RuntimeClient<Calls>,
  options: LlamaCppOptions,
  facts: {
    readonly artifact: LocalArtifact;
    readonly plan: RunPlan;
    readonly placement: Placement;
    readonly flashAttention: boolean;
    readonly model: string;
  },
): Promise<LoadedModel> {
  const { artifact, plan, placement, flashAttention, model } = facts;
  try {
    return await client.call("load", {
      modelPath: artifact.localPaths[0],
      plan,
      ...placement,
      flashAttention,
      gpu: options.gpu ?? false,
    });
  } catch (failure) {
    throw modelLoadError(model, artifact.path, failure);
  }
}

async function judge({ path, header }: LocalArtifact, request: LoadRequest): Promise<RunPlan> {
  const { files, profile, output, signal } = request;
  const [config, tokenizerJson] = await Promise.all([
    readIfThere(files, "config.json", signal),
    readIfThere(files, "tokenizer.json", signal),
  ]);
  let plan: RunPlan | undefined;
  try {
    plan = judgeArtifact(header, {
      profile,
      output,
      config: parsed(config),
      tokenizerJson,
    });
  } catch (cause) {
    if (!(cause instanceof Refusal)) throw cause;
    const { problem, fix } = cause;
    throw new ModelLoadError({ model: files.id, backend: "llamacpp", file: path, problem, fix }, { cause });
  }
  if (plan === undefined) {
    throw new IncompatibleModelError({
      model: files.id,
      backend: "llamacpp",
      capability: `an output of ${path}`,
      wanted: output.kinds.join('" or "'),
      supported: offeredKinds,
    });
  }
  return plan;
}

/** Undefined also for what is no JSON: core refuses it where it needs it. */
function parsed(json: string | undefined): unknown {
  try {
    return json === undefined ? undefined : JSON.parse(json.replace(/^\ufeff/, ""));
  } catch {
    return undefined;
  }
}

async function readIfThere(
  files: ModelFiles,
  path: string,
  signal: AbortSignal | undefined,
): Promise<string | undefined> {
  // A listing knows; offline, a file that is asked for and not there is one that is missing.
  const listed = await files.list({ signal });
  return listed.some((file) => file.path === path) ? files.readText(path, { signal }) : undefined;
}

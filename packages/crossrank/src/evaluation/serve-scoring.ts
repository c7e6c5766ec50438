import { type BackendDiagnosis, cascade, type ModelFile } from "@crossrank/core";
// Not all of @crossrank/eval: a process starts for each system, and the rest takes a tenth of its start.
import { createCascadeScorer, createScorer, type Scorer, type ScorerStage } from "@crossrank/eval/scorer";
import type { Timing, TimingRequest } from "../bench/cell.js";
import { createCellTimer } from "../bench/time-cell.js";
import { runTurn, type TurnRequest } from "../bench/turn.js";
import { CommandError, translateInputError } from "../failure.js";
import { openModelFiles, readProfileFile } from "../model.js";
import { type OpenRerankerOptions, openBackend, openReranker } from "../open-reranker.js";
import { findBackend, makeBackend } from "../registry.js";
import {
  type ScoringReply,
  type ScoringRequest,
  type ScoringTarget,
  scoringCommand,
  sendError,
} from "../scoring-process.js";
import { watchMemory } from "./process-memory.js";

/** Answers one request after the other, until it is asked to close or whoever asked is gone. */
export async function serve(): Promise<void> {
  if (process.send === undefined) {
    throw new CommandError(
      `${scoringCommand} is started by crossrank eval and compare, and is of no use alone`,
    );
  }
  const reply = (message: ScoringReply): void => {
    process.send?.(message);
  };
  const memory = watchMemory();
  const before = await memory.peak();
  let scorer: Loaded | undefined;
  let time: ((request: TimingRequest) => Promise<Timing>) | undefined;
  await new Promise<void>((resolve) => {
    // Nobody is left to answer: also when the other side was killed.
    process.once("disconnect", () => process.exit(0));
    process.on("message", (request: ScoringRequest) => {
      void (async () => {
        try {
          const value = await answer(request);
          reply({ reply: "done", value });
        } catch (error) {
          reply({ reply: "failed", error: sendError(error) });
        }
        if (request.ask === "close") resolve();
      })();
    });
  });
  process.disconnect?.();

  async function answer(request: ScoringRequest): Promise<unknown> {
    switch (request.ask) {
      case "open":
        scorer = await load(request.target, (progress) => reply({ reply: "download", progress }));
        return scorer.description;
      case "score": {
        const { scores, warnings, usage } = await opened().score(request.pairs, {
          onProgress: (progress) => reply({ reply: "scoring", progress }),
        });
        return { scores, warnings, usage };
      }
      case "embed": {
        const { vectors, truncatedTokens, usage } = await opened().embed(request.texts, {
          as: request.as,
          onProgress: (progress) => reply({ reply: "scoring", progress }),
        });
        return { vectors, truncatedTokens, usage };
      }
      case "time":
        time ??= createCellTimer(opened());
        return time(request.request);
      case "turn":
        return runTurn(partOf(opened(), request.request.as), request.request);
      case "diagnose":
        return diagnose(request.backend);
      case "convert":
        return convertOnly(request.target);
      case "memory": {
        const peak = await memory.peak();
        if (peak === undefined || before === undefined) return undefined;
        return { peakBytes: peak.bytes, beforeLoadBytes: before.bytes, method: peak.method };
      }
      case "close":
        memory.stop();
        await scorer?.close();
    }
  }

  function opened(): Loaded {
    if (scorer === undefined) throw new CommandError("no model is open");
    return scorer;
  }
}

/** Whether a runtime computes here. It is loaded. */
async function diagnose(name: string): Promise<BackendDiagnosis> {
  return (await makeBackend((await findBackend(name)).backend)).diagnose();
}

/**
 * Writes the artifact of a model with weights alone into the cache, where it is not there yet.
 *
 * @returns the model's files, those of the artifact among them.
 */
async function convertOnly(target: ScoringTarget): Promise<readonly ModelFile[]> {
  const { model, modelOptions, profile, backend, dtype, threads } = target;
  const overrides = await readProfileFile(profile);
  const files = await openModelFiles(model, modelOptions, new AbortController().signal, () => undefined);
  const opened = await openBackend(files, { backend, dtype, threads, profile: overrides });
  return (await opened.files.list()).map(({ path, size }) => ({ path, size }));
}

/** A scorer, and of a cascade its models, which it owns. */
interface Loaded extends Scorer {
  readonly stages: readonly ScorerStage[];
  readonly longDocuments: ScoringTarget["longDocuments"];
}

/** What of a cascade is timed. */
function partOf({ stages, longDocuments, ...whole }: Loaded, as: TurnRequest["as"]): Pick<Scorer, "score"> {
  if (as === undefined) return whole;
  const [small, large] = stages.map(({ reranker }) => reranker);
  if (small === undefined || large === undefined)
    throw new CommandError("the model that is open is no cascade");
  const part = as === "small" ? small : as === "large" ? large : cascade([small, large], as);
  return { score: (pairs, options) => part.score(pairs, { ...options, longDocuments }) };
}

async function load(target: ScoringTarget, onProgress: OpenRerankerOptions["onProgress"]): Promise<Loaded> {
  const started = performance.now();
  const stages: ScorerStage[] = [];
  try {
    for (const one of target.cascade === undefined ? [target] : [target.cascade.first, target]) {
      stages.push(await openStage(one, onProgress));
    }
    const [{ model, reranker }, large] = stages as [ScorerStage, ...ScorerStage[]];
    const took = performance.now() - started;
    const scorer =
      large === undefined || target.cascade === undefined
        ? await createScorer(model, reranker, took, target.longDocuments)
        : await createCascadeScorer(stages, target.cascade.keep, took, target.longDocuments);
    return { ...scorer, stages, longDocuments: target.longDocuments };
  } catch (error) {
    await Promise.all(stages.map(({ reranker }) => reranker.dispose()));
    throw error;
  }
}

async function openStage(
  target: ScoringTarget,
  onProgress: OpenRerankerOptions["onProgress"],
): Promise<ScorerStage> {
  const { model, modelOptions, profile, longDocuments: _long, cascade: _cascade, ...options } = target;
  const overrides = await readProfileFile(profile);
  const files = await openModelFiles(model, modelOptions, new AbortController().signal, () => undefined);
  const reranker = await openReranker(files, { ...options, profile: overrides, onProgress }).catch(
    (error: unknown) => {
      throw translateInputError(error, {
        dtype: "--backend",
        instruction: options.instruction === undefined ? undefined : "--instruction",
        maxLength: options.maxLength === undefined ? undefined : "--max-length",
        profile: profile && `--profile ${profile}`,
      });
    },
  );
  return { model: files, reranker };
}

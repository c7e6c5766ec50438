import { type BackendDiagnosis, CrossrankError, type Family, type ModelFiles } from "@crossrank/core";
import { type PrecisionClass, precisionClassOf } from "@crossrank/eval";
import { conversionPlans, isWeights } from "../auto-conversion.js";
import { loadBackends } from "../backends.js";
import { findBackend, type KnownBackend } from "../registry.js";
import { askOnce } from "../scoring-process.js";
import { reasonOf } from "./reasons.js";
import type { LeftOut } from "./report.js";

/** A runtime and a precision that may work here. */
export interface Candidate {
  /** By which `--backend` takes it. */
  readonly name: string;
  readonly backend: string;
  readonly dtype: string | undefined;
  readonly precision: PrecisionClass | null;
  /** Whether its artifact has to be made of the weights. */
  readonly converts: boolean;
}

export interface CandidateSearch {
  readonly files: ModelFiles;
  readonly family: Family;
  /** Runtimes, or runtimes with a precision; undefined for all of this repository. References compute nothing of their own. */
  readonly only: readonly { readonly name: string; readonly dtype: string | undefined }[] | undefined;
  /** False where nothing may be converted. */
  readonly convert: boolean;
  readonly signal: AbortSignal | undefined;
  readonly onStep: (what: string) => void;
}

/**
 * What can be tried here, the most exact of each runtime first, and what cannot, with the reason. Each runtime is started
 * in a process of its own: one that ends it is a reason too.
 */
export async function findCandidates(
  search: CandidateSearch,
): Promise<{ readonly candidates: readonly Candidate[]; readonly leftOut: readonly LeftOut[] }> {
  const { files, only, signal, onStep } = search;
  const paths = (await files.list({ signal })).map(({ path }) => path);
  const names = only === undefined ? await loadBackends() : [...new Set(only.map(({ name }) => name))];
  const candidates: Candidate[] = [];
  const leftOut: LeftOut[] = [];
  for (const name of names) {
    signal?.throwIfAborted();
    let backend: KnownBackend;
    try {
      ({ backend } = await findBackend(name));
      // One that was named is what somebody wants to see.
      if (backend.descriptor.isReference && only === undefined) continue;
    } catch (error) {
      leftOut.push({ name, ...reasonOf(error) });
      continue;
    }
    const found = await ofBackend(search, backend, paths);
    // What has nothing to run needs no runtime.
    if (found.candidates.length > 0) {
      onStep(`starting ${name}`);
      const problem = await problemOf(name, signal);
      if (problem !== undefined) {
        leftOut.push({ name, ...problem });
        continue;
      }
    }
    candidates.push(...found.candidates);
    leftOut.push(...found.leftOut);
  }
  return { candidates, leftOut };
}

/** Why a runtime does not work here; undefined where it does. */
async function problemOf(
  backend: string,
  signal: AbortSignal | undefined,
): Promise<Omit<LeftOut, "name"> | undefined> {
  try {
    const { available, detail } = await askOnce<BackendDiagnosis>({ ask: "diagnose", backend }, signal);
    return available ? undefined : { reason: "not-here", detail, value: null };
  } catch (error) {
    signal?.throwIfAborted();
    return reasonOf(error);
  }
}

async function ofBackend(
  { family, only, convert }: CandidateSearch,
  backend: KnownBackend,
  paths: readonly string[],
): Promise<{ readonly candidates: Candidate[]; readonly leftOut: LeftOut[] }> {
  const { name, descriptor } = backend;
  const refuse = (reason: LeftOut["reason"], detail: string, dtype?: string): LeftOut => ({
    name: dtype === undefined ? name : `${name}:${dtype}`,
    reason,
    detail,
    value: null,
  });
  if (!descriptor.families.includes(family)) {
    return { candidates: [], leftOut: [refuse("refused", `it runs no ${family}`)] };
  }
  const asked = (only ?? []).filter((one) => one.name === name).map(({ dtype }) => dtype);
  const isAsked = (dtype: string | undefined, path?: string): boolean =>
    asked.length === 0 ||
    asked.some((one) => one === undefined || one === path || one.toLowerCase() === dtype?.toLowerCase());
  const candidates: Candidate[] = [];
  const leftOut: LeftOut[] = [];
  const add = (dtype: string | undefined, precision: string | undefined, converts: boolean): void => {
    const full = dtype === undefined ? name : `${name}:${dtype}`;
    candidates.push({ name: full, backend: name, dtype, precision: classOf(precision), converts });
  };
  const artifacts = descriptor.artifacts(paths);
  for (const { dtype, path, onlyByName } of artifacts) {
    const isFirst =
      artifacts.find((one) => one.dtype === dtype && one.onlyByName === undefined)?.path === path;
    const isNamed = asked.some((one) => one === path);
    if (onlyByName !== undefined && !isNamed) {
      if (isAsked(dtype, path)) leftOut.push(refuse("refused", `${path} ${onlyByName}`, path));
      continue;
    }
    if (!isAsked(dtype, path)) continue;
    // Of one precision several files may be there: the others are named by their path.
    if (dtype !== "?" && isFirst) add(dtype, dtype, false);
    else add(path, undefined, false);
  }
  const made = new Set(artifacts.map(({ dtype }) => dtype.toLowerCase()));
  for (const dtype of paths.some(isWeights) ? await writtenDtypes(descriptor.format) : []) {
    if (made.has(dtype.toLowerCase()) || !isAsked(dtype)) continue;
    if (!convert)
      leftOut.push(refuse("no-file", "there is no file of it, and nothing may be converted", dtype));
    else if (await isPlanned(paths, backend, dtype)) add(dtype, dtype, true);
    else {
      const how = `the model has other ${descriptor.format} files, and what is coarser is converted by hand: crossrank convert --to ${descriptor.format} --dtype ${dtype}`;
      leftOut.push(refuse("no-file", how, dtype));
    }
  }
  if (candidates.length === 0 && leftOut.length === 0) {
    const weights = paths.some(isWeights)
      ? "nothing writes its format"
      : "there are no weights (safetensors) to make one of";
    leftOut.push(refuse("no-file", `the model has no ${descriptor.format} file for it, and ${weights}`));
  }
  return { candidates, leftOut };
}

function classOf(dtype: string | undefined): PrecisionClass | null {
  try {
    return dtype === undefined ? null : precisionClassOf(dtype);
  } catch (error) {
    if (CrossrankError.isInstance(error)) return null;
    throw error;
  }
}

/** Precisions of the writer of a format; none where nothing writes it. */
async function writtenDtypes(format: string): Promise<readonly string[]> {
  const { writers } = await import("@crossrank/convert/writers");
  return writers.find((writer) => writer.format === format)?.dtypes ?? [];
}

async function isPlanned(paths: readonly string[], named: KnownBackend, dtype: string): Promise<boolean> {
  for await (const _plan of conversionPlans(paths, { named, dtype })) return true;
  return false;
}

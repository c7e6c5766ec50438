import { openFixtures } from "@crossrank/conformance";
import { type ModelFiles, type ModelProfile, readProfile } from "@crossrank/core";
import { readGoldens } from "@crossrank/core/verify";

/** A sequence and what its reference gives. */
export interface ScoredSequence {
  readonly ids: readonly number[];
  readonly segmentIds: readonly number[];
  /** Bi-encoder: the query's sequence. */
  readonly queryIds: readonly number[];
  readonly logit: number;
}

export interface OpenedFixture {
  readonly files: ModelFiles;
  readonly profile: ModelProfile;
  readonly scored: readonly ScoredSequence[];
  /** Tokens of the longest sequence. */
  readonly longest: number;
}

/** A fixture of the conformance package, with every golden that has a number. */
export async function openFixture(name: string): Promise<OpenedFixture> {
  const [fixture] = openFixtures([name]);
  if (fixture === undefined) throw new Error(`no fixture ${name}`);
  const { files } = fixture;
  const { profile } = await readProfile(files);
  const goldens = await readGoldens(files);
  const scored = (goldens?.cases ?? [])
    .flatMap(({ expected }) => Object.values(expected))
    .flatMap((score): ScoredSequence[] => {
      const { ids, segmentIds, queryIds, logit } = score ?? {};
      if (ids === undefined || ids.length === 0 || typeof logit !== "number") return [];
      return [{ ids, segmentIds: segmentIds ?? ids.map(() => 0), queryIds: queryIds ?? [], logit }];
    });
  if (scored.length < 40) throw new Error(`${name} has ${scored.length} goldens`);
  const longest = Math.max(...scored.flatMap(({ ids, queryIds }) => [ids.length, queryIds.length]));
  return { files, profile, scored, longest };
}

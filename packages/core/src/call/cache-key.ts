import type { BackendInfo } from "../contract/backend.js";
import type { ModelFiles } from "../contract/model-files.js";
import type { ModelProfile } from "../contract/model-profile.js";
import type { Provenance } from "../contract/result.js";

/** Everything that a score depends on beside the texts. */
export interface CacheKeyFacts {
  readonly model: Provenance["model"];
  readonly backend: BackendInfo;
  /** As it was used: `maxLength` and `truncation` are those of the reranker. */
  readonly profile: ModelProfile;
  /** The call's instruction, where it gave one. */
  readonly instruction?: string | undefined;
  /** Name in a chain of variants. It stands for what no artifact shows, e.g. the compute units. */
  readonly variant?: string | undefined;
  /** Content of the files beside the artifact, where no revision stands for them. */
  readonly contents?: readonly string[] | undefined;
}

/**
 * One string for everything that a score depends on beside the texts: the same facts give the same string in every
 * process, and another model, revision, variant, artifact (by sha256), precision, backend, runtime version, template,
 * head, maximum length, truncation or instruction gives another. It is canonical JSON after a version number: readable,
 * and some hundred to some thousand characters long, so hash it together with the texts where a store wants short keys.
 */
export function cacheKey(facts: CacheKeyFacts): string {
  const { model, backend, variant, contents } = facts;
  // Neither of the two changes a score: a check at load, and a choice that the artifact shows.
  const { expectations: _expectations, defaultDtype: _defaultDtype, ...profile } = facts.profile;
  const instruction = facts.instruction ?? profile.instruction ?? "";
  const files = model.artifact.files.map(({ path, sha256 }) => `${path} ${sha256}`).sort();
  return `crossrank:1:${canonical({
    model: { ...model, artifact: { ...model.artifact, files } },
    backend,
    variant,
    contents: contents === undefined ? undefined : [...contents].sort(),
    profile: { ...profile, instruction },
  })}`;
}

/**
 * sha256 of the files beside the artifact that a score depends on. The tokenizer and the head's weights of a plain
 * folder can change without the artifact; a revision stands for them on the hub. Where the platform has no digest (a
 * page that was not served securely) the answer is different every time, so that no cached score outlives a load.
 */
export async function contentsOf(
  model: ModelFiles,
  files: readonly string[],
  signal: AbortSignal | undefined,
): Promise<readonly string[] | undefined> {
  if (model.revision !== undefined) return undefined;
  const { subtle } = globalThis.crypto ?? {};
  if (subtle === undefined) return [`unknown ${performance.timeOrigin} ${Math.random()}`];
  const contents: string[] = [];
  for (const { path, size } of await model.list({ signal })) {
    if (!files.includes(path)) continue;
    const bytes = await model.readBytes(path, { start: 0, end: size }, { signal });
    const digest = new Uint8Array(await subtle.digest("SHA-256", bytes as Uint8Array<ArrayBuffer>));
    contents.push(`${path} ${[...digest].map((byte) => byte.toString(16).padStart(2, "0")).join("")}`);
  }
  return contents;
}

/** JSON with sorted keys. */
function canonical(value: unknown): string {
  return JSON.stringify(value, (_, part: unknown) =>
    typeof part === "object" && part !== null && !Array.isArray(part)
      ? Object.fromEntries(Object.entries(part).sort(([a], [b]) => (a < b ? -1 : 1)))
      : part,
  );
}

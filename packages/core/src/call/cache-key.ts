import type { BackendInfo, Settings } from "../contract/backend.js";
import type { ChunkingProvenance } from "../contract/long-documents.js";
import type { ModelFiles } from "../contract/model-files.js";
import type { ModelProfile } from "../contract/model-profile.js";
import type { Provenance } from "../contract/result.js";

/** Everything that a score depends on beside the texts. */
export interface CacheKeyFacts {
  readonly model: Provenance["model"];
  readonly backend: BackendInfo;
  readonly settings: Settings;
  /** As it was used: `maxLength` and `truncation` are those of the reranker. */
  readonly profile: ModelProfile;
  /** The call's instruction, where it gave one. */
  readonly instruction?: string | undefined;
  /** Of a call that scores long documents by passages, and the rules of Unicode by which these are found. */
  readonly longDocuments?: (ChunkingProvenance & { readonly segmenter: string }) | undefined;
  /** Of a call whose scores are probabilities: by the profile's calibration, or of the logit itself. */
  readonly activation?: "probability" | undefined;
  /** Name in a chain of variants. */
  readonly variant?: string | undefined;
  /** Content of the files beside the artifact, where no revision stands for them. */
  readonly contents?: readonly string[] | undefined;
}

/**
 * `crossrank:2:` and the sha256 of everything that a score depends on beside the texts. The same facts give the same
 * key in every process and on every host: a folder's path is no part of it, its content is. Where the platform has no
 * digest (a page that was not served securely) the key is the facts themselves.
 */
export async function cacheKey(facts: CacheKeyFacts): Promise<string> {
  const { backend, settings, variant, contents, longDocuments, activation } = facts;
  const { id, revision, artifact } = facts.model;
  const profile = scoredProfile(facts.profile);
  const instruction = facts.instruction ?? profile.instruction ?? "";
  const files = artifact.files.map(({ path, sha256 }) => `${path} ${sha256}`).sort();
  return keyOf({
    model: revision === undefined ? undefined : { id, revision },
    artifact: { ...artifact, files },
    backend,
    settings,
    longDocuments,
    activation,
    variant,
    contents: contents === undefined ? undefined : [...contents].sort(),
    profile: { ...profile, instruction },
  });
}

/** The key of facts: equal ones have equal keys, in whatever order their properties stand. */
export async function keyOf(facts: object): Promise<string> {
  const text = canonical(facts);
  const { subtle } = globalThis.crypto ?? {};
  return `crossrank:2:${subtle === undefined ? text : await sha256(new TextEncoder().encode(text), subtle)}`;
}

/** The fields of a profile that a score depends on. The others are a check at load, and a choice that the artifact shows. */
export function scoredProfile(profile: ModelProfile): Omit<ModelProfile, "expectations" | "defaultDtype"> {
  const { expectations: _expectations, defaultDtype: _defaultDtype, ...scored } = profile;
  return scored;
}

/**
 * sha256 of the files beside the artifact that a score depends on. The tokenizer and the head's weights of a plain
 * folder can change without the artifact; a revision stands for them on the hub, unless some of them are another
 * model's. Where the platform has no digest (a page that was not served securely) the answer is different every time, so
 * that no cached score outlives a load.
 *
 * @param texts what the load read of these files as text: hashed as it was read, and not read again.
 */
export async function contentsOf(
  model: ModelFiles,
  paths: readonly string[],
  texts: ReadonlyMap<string, string>,
  signal: AbortSignal | undefined,
): Promise<readonly string[] | undefined> {
  if (model.revision !== undefined && model.base === undefined) return undefined;
  const { subtle } = globalThis.crypto ?? {};
  if (subtle === undefined) return [`unknown ${performance.timeOrigin} ${Math.random()}`];
  const contents: string[] = [];
  for (const { path, size } of await model.list({ signal })) {
    if (!paths.includes(path)) continue;
    const text = texts.get(path);
    const bytes =
      text === undefined
        ? await model.readBytes(path, { start: 0, end: size }, { signal })
        : new TextEncoder().encode(text);
    contents.push(`${path} ${await sha256(bytes, subtle)}`);
  }
  return contents;
}

async function sha256(bytes: Uint8Array, subtle: typeof globalThis.crypto.subtle): Promise<string> {
  const digest = new Uint8Array(await subtle.digest("SHA-256", bytes as Uint8Array<ArrayBuffer>));
  return [...digest].map((byte) => byte.toString(16).padStart(2, "0")).join("");
}

/** JSON with sorted keys. */
export function canonical(value: unknown): string {
  return JSON.stringify(value, (_, part: unknown) =>
    typeof part === "object" && part !== null && !Array.isArray(part)
      ? Object.fromEntries(Object.entries(part).sort(([a], [b]) => (a < b ? -1 : 1)))
      : part,
  );
}

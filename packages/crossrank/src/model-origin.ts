import type { CrossrankJson, ModelFiles } from "@crossrank/core";

/** The model whose configuration and tokenizer stand in for those that an artifact lacks. */
export interface TakenBase {
  readonly id: string;
  /** Commit; undefined for a plain folder. */
  readonly revision: string | undefined;
  /** Who named it. */
  readonly from: "option" | "model card";
  /** What was taken, relative to the model that lacks it, each with its lower-case hex sha256. */
  readonly files: readonly { readonly path: string; readonly sha256: string }[];
}

/** How a model was opened: what its files alone do not say. */
export interface ModelOrigin {
  /** As it was asked for. */
  readonly model: string;
  readonly revision: string | undefined;
  /** Path of a lock file. */
  readonly lock: string | undefined;
  readonly offline: boolean | undefined;
  readonly cacheFolder: string | undefined;
  /** As the option named it. */
  readonly base: string | undefined;
  readonly convert: boolean | undefined;
  /** The precision behind its name, where it has no artifact of any. */
  readonly dtype: string | undefined;
  readonly taken: TakenBase | undefined;
  /** Files that are not where the model is, by path, each with where its content is from. */
  readonly derived: ReadonlyMap<string, string>;
}

const origins = new WeakMap<ModelFiles, ModelOrigin>();

export function withOrigin(files: ModelFiles, origin: ModelOrigin): ModelFiles {
  origins.set(files, origin);
  return files;
}

/** Undefined for files that somebody else opened. */
export function originOf(files: ModelFiles): ModelOrigin | undefined {
  return origins.get(files);
}

/** The base that a result of `openReranker` names beside its model. */
export function baseIn(model: object): TakenBase | undefined {
  return Reflect.get(model, "base") as TakenBase | undefined;
}

const profileFiles = new WeakMap<CrossrankJson, string>();

/** Notes which file a profile was read from, for messages that repeat it. */
export function rememberProfileFile(profile: CrossrankJson, path: string): void {
  profileFiles.set(profile, path);
}

/** Undefined of a profile that a program gave. */
export function profileFileOf(profile: CrossrankJson): string | undefined {
  return profileFiles.get(profile);
}

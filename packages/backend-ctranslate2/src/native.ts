import { findAddon } from "@crossrank/backend-kit/runtime";
import manifest from "../package.json" with { type: "json" };

/** The addon (native/src/lib.rs). Its promises reject with messages that begin with a code and a colon. */
export interface Addon {
  /** CTranslate2's version, e.g. `"4.8.4"`. */
  version(): string;
  /** Whether it computes with 8-bit integers on this processor. */
  hasIntegers(): boolean;
  load(path: string, options: AddonOptions): Promise<AddonSession>;
}

export interface AddonOptions {
  readonly threads: number;
  /** What norms add to a variance. */
  readonly epsilon: number;
  /** Products with weights in 8-bit integers. */
  readonly integers: boolean;
}

/** What is read of a batch: the first token's vector, the pooler's, or every token's. */
export type Reading = "first" | "pooled" | "tokens";

/** A session, on a thread of its own. */
export interface AddonSession {
  /** Another one, which has the same weights. */
  share(): Promise<AddonSession>;
  /** The arrays are copied before it returns. */
  run(
    batch: {
      readonly rows: number;
      readonly columns: number;
      readonly ids: Int32Array;
      readonly lengths: Int32Array;
      readonly features?: Int32Array | undefined;
    },
    reading: Reading,
  ): Promise<Float32Array>;
  /** Frees the session after the runs that it still has. */
  close(): Promise<void>;
}

/** The addon is not there, or does not load. The message says what was tried and what to do. */
export class AddonMissingError extends Error {
  /** What was tried, and what came of it. */
  readonly attempts: readonly string[];
  constructor(attempts: readonly string[], fix: string, options?: { cause?: unknown }) {
    super(`the addon for ${platformName()} is not there (${attempts.join("; ")}). ${fix}`, options);
    this.name = "AddonMissingError";
    this.attempts = attempts;
  }
}

/** As @napi-rs/cli names the packages of these platforms. */
const packaged: readonly string[] = ["linux-x64-gnu", "linux-arm64-gnu", "darwin-arm64", "darwin-x64"];

let loaded: Addon | undefined;

/**
 * The addon: of this platform's package, else as scripts/build-native.mjs built it.
 *
 * @throws {AddonMissingError} when there is none.
 */
export function loadAddon(): Addon {
  if (loaded !== undefined) return loaded;
  // The library reads it while it is loaded; shim.cpp says what it is for. A worker thread of the caller's has a copy of
  // its own that the library does not see: 8 bits are refused there.
  process.env["CT2_USE_MKL"] = "1";
  const name = platformName();
  const found = findAddon<Addon>({
    owner: { name: manifest.name, version: manifest.version, module: import.meta.url },
    built: `native/crossrank-backend-ctranslate2.${name}.node`,
    packageName: `@crossrank/backend-ctranslate2-${name}`,
  });
  if (!("addon" in found)) throw new AddonMissingError(found.attempts, fixFor(name), { cause: found.cause });
  loaded = found.addon;
  return loaded;
}

/** E.g. `"linux-x64-gnu"`, as @napi-rs/cli has it. */
export function platformName(): string {
  const { platform, arch } = process;
  if (platform === "linux") return `linux-${arch}-${isMusl() ? "musl" : "gnu"}`;
  return platform === "win32" ? `win32-${arch}-msvc` : `${platform}-${arch}`;
}

function isMusl(): boolean {
  const report = process.report?.getReport() as { header?: { glibcVersionRuntime?: string } } | undefined;
  return report?.header?.glibcVersionRuntime === undefined;
}

function fixFor(name: string): string {
  const build =
    "build it with `node node_modules/@crossrank/backend-ctranslate2/scripts/build-native.mjs`, which needs cargo (Rust 1.88 " +
    "or later), a C++ compiler and pip, and names the one that is missing";
  return packaged.includes(name)
    ? `Install @crossrank/backend-ctranslate2 with its optional dependencies, or ${build}`
    : `There is no package for this platform: ${build}`;
}

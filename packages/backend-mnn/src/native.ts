import { findAddon } from "@crossrank/backend-kit/runtime";
import manifest from "../package.json" with { type: "json" };

/** The addon (native/src/lib.rs). Its promises reject with messages that begin with a code and a colon. */
export interface Addon {
  /** MNN's version, e.g. `"3.6.1"`. */
  version(): string;
  /** Threads of this process's pool, 0 while there is none. */
  poolThreads(): number;
  load(source: string | Uint8Array, options: AddonOptions): Promise<AddonSession>;
}

export interface AddonOptions {
  readonly threads: number;
  readonly precision: "high" | "low" | "low-bf16";
  readonly memory: "normal" | "high" | "low";
}

export interface AddonTensor {
  readonly name: string;
  /** E.g. `"int32"`. */
  readonly type: string;
  readonly shape: readonly number[];
  /** Inputs: numbers must be below, where the table that they are looked up in was recognised. */
  readonly below?: number;
}

/** A model, on a thread of its own. */
export interface AddonSession {
  readonly inputs: readonly AddonTensor[];
  readonly threads: number;
  /** Most columns, where a table of positions was recognised. */
  readonly longest: number | null;
  /** Outputs as they are for inputs of these shapes, in the order of `inputs`. */
  resize(shapes: readonly (readonly number[])[]): Promise<readonly AddonTensor[]>;
  /** The arrays are copied before it returns. */
  run(
    inputs: readonly { readonly shape: readonly number[]; readonly data: Int32Array }[],
    output: number,
  ): Promise<{ readonly data: Float32Array; readonly shape: readonly number[] }>;
  /** Frees the model after the runs that it still has. */
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
const packaged: readonly string[] = [
  "linux-x64-gnu",
  "linux-arm64-gnu",
  "darwin-arm64",
  "darwin-x64",
  "win32-x64-msvc",
];

let loaded: Addon | undefined;

/**
 * The addon: of this platform's package, else as scripts/build-native.mjs built it.
 *
 * @throws {AddonMissingError} when there is none.
 */
export function loadAddon(): Addon {
  if (loaded !== undefined) return loaded;
  const name = platformName();
  const found = findAddon<Addon>({
    owner: { name: manifest.name, version: manifest.version, module: import.meta.url },
    built: `native/crossrank-backend-mnn.${name}.node`,
    packageName: `@crossrank/backend-mnn-${name}`,
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
    "build it with `node node_modules/@crossrank/backend-mnn/scripts/build-native.mjs`, which needs cargo (Rust 1.88 " +
    "or later), a C++ compiler, cmake and libclang, and names the one that is missing";
  return packaged.includes(name)
    ? `Install @crossrank/backend-mnn with its optional dependencies, or ${build}`
    : `There is no package for this platform: ${build}`;
}

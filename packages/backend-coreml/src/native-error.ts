import { messageOf } from "@crossrank/backend-kit/runtime";

/**
 * - `addon-missing`: this system has no Core ML, or the addon is not installed or does not load.
 * - `cache`: the folder for compiled models cannot be written, or the package cannot be read.
 * - `compile`, `load`, `predict`, `plan`: Core ML refused; the message holds its description, domain and number.
 * - `invalid-input`: a path that is not there, a shape that its numbers do not fill, an input that the model lacks.
 * - `unsupported`: the system is too old, or the model is not one that crossrank reads.
 * - `closed`: the model was closed.
 * - `failed`: the addon itself failed. This is a bug.
 */
export type NativeErrorCode =
  | "addon-missing"
  | "cache"
  | "compile"
  | "load"
  | "predict"
  | "plan"
  | "invalid-input"
  | "unsupported"
  | "closed"
  | "failed";

const addonCodes: ReadonlySet<string> = new Set<NativeErrorCode>([
  "compile",
  "load",
  "predict",
  "plan",
  "invalid-input",
  "unsupported",
  "closed",
  "failed",
]);

/** What Core ML, the addon or the cache of compiled models could not do. The backend turns it into the contract's. */
export class NativeError extends Error {
  readonly code: NativeErrorCode;
  /** What is wrong. The message is this, and the fix after it. */
  readonly problem: string;
  /** What to do, where this is known. */
  readonly fix: string | undefined;
  constructor(code: NativeErrorCode, problem: string, options: { fix?: string; cause?: unknown } = {}) {
    const { fix, cause } = options;
    super(fix === undefined ? problem : `${problem}. ${fix}`, { cause });
    this.name = "NativeError";
    this.code = code;
    this.problem = problem;
    this.fix = fix;
  }
}

/** An error of the addon: its message begins with a code and a colon (native/src/lib.rs). */
export function fromAddon(error: unknown): NativeError {
  const message = messageOf(error);
  const [, code = "", text = ""] = /^([a-z-]+): (.*)$/s.exec(message) ?? [];
  return addonCodes.has(code)
    ? new NativeError(code as NativeErrorCode, text, { cause: error })
    : new NativeError("failed", message, { cause: error });
}

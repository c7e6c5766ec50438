import { CrossrankError } from "@crossrank/core";

/**
 * The program of a runtime's own process or thread is not there, ended before it could be asked for anything, or did not
 * come up in time. No file of a model was looked at by then.
 */
export class RuntimeStartError extends CrossrankError<"runtime-start"> {
  static override readonly code = "runtime-start";

  /** The runtime's name, e.g. `"ONNX Runtime"`. */
  readonly runtime: string;

  constructor(
    { runtime, problem, fix }: { runtime: string; problem: string; fix: string },
    options?: { cause?: unknown },
  ) {
    super("runtime-start", `${runtime} does not start: ${problem}. ${fix}`, options);
    this.runtime = runtime;
  }
}

/** The package of a backend, or of one that it computes on, is not installed. */
export class BackendNotInstalledError extends CrossrankError<"backend-not-installed"> {
  static override readonly code = "backend-not-installed";

  readonly backend: string;
  /** npm packages that have to be installed. */
  readonly install: readonly string[];

  constructor(facts: { backend: string; install: readonly string[] }, options?: { cause?: unknown }) {
    super(
      "backend-not-installed",
      `backend ${facts.backend} is not installed. Install it: npm install ${facts.install.join(" ")}`,
      options,
    );
    this.backend = facts.backend;
    this.install = facts.install;
  }
}

import { CrossrankError } from "@crossrank/core";

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

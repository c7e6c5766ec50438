import { CrossrankError } from "@crossrank/core";

/** No backend has that name. */
export class UnknownBackendError extends CrossrankError<"unknown-backend"> {
  static override readonly code = "unknown-backend";

  /** As it was asked for. */
  readonly backend: string;
  readonly known: readonly string[];
  constructor(backend: string, known: readonly string[]) {
    super(
      "unknown-backend",
      `there is no backend ${backend}. Known: ${known.join(", ")}. ` +
        "Name one of these, the file of a backend (./my-backend.mjs), or an installed package that has one",
    );
    this.backend = backend;
    this.known = known;
  }
}

/** The backend runs on another system only. */
export class BackendUnavailableError extends CrossrankError<"backend-unavailable"> {
  static override readonly code = "backend-unavailable";

  readonly backend: string;
  constructor(backend: string, problem: string) {
    super("backend-unavailable", problem);
    this.backend = backend;
  }
}

/** A file or package that was named as a backend cannot be loaded, or is none. */
export class BackendModuleError extends CrossrankError<"backend-module"> {
  static override readonly code = "backend-module";

  /** As it was asked for. */
  readonly backend: string;
  constructor(backend: string, problem: string, options?: { cause?: unknown }) {
    super(
      "backend-module",
      `${backend} is no backend: ${problem}. ` +
        "Export `backends`, an array of descriptors as @crossrank/backend-kit describes them",
      options,
    );
    this.backend = backend;
  }
}

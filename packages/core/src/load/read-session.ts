import type {
  ArtifactInfo,
  BackendSession,
  DeclaredClasses,
  NumericBounds,
  OutputRequest,
} from "../contract/backend.js";
import { IncompatibleModelError, InvalidInputError, ModelLoadError } from "../contract/errors.js";
import { readCapabilities } from "../run/limits.js";
import type { RunnableSession } from "./session-reranker.js";

/**
 * What a session declares, read once and checked: core plans batches, reserves memory and makes keys from it, and much
 * of it is what an artifact claims of itself.
 *
 * @throws {ModelLoadError} for a number out of its range, or a field of another type.
 * @throws {IncompatibleModelError} when the session gives another output than was asked for.
 */
export function readSession(
  session: BackendSession,
  facts: { readonly model: string; readonly backend: string; readonly output: OutputRequest },
): RunnableSession {
  const { model, backend, output } = facts;
  try {
    record(session, "session");
    for (const method of ["run", "dispose"] as const) {
      if (typeof session[method] !== "function")
        throw new InvalidInputError(method, `must be a function, not ${typeof session[method]}`);
    }
    const info = readInfo(session.info);
    const artifact = readArtifact(session.artifact);
    const capabilities = readCapabilities(session.capabilities);
    const settings = readSettings(session.settings);
    const bounds = readBounds(session.bounds);
    const notes = readNotes(session.notes);
    if (!output.kinds.includes(capabilities.output)) {
      throw new IncompatibleModelError({
        model,
        backend,
        capability: "output",
        wanted: output.kinds.join(" or "),
        supported: [String(capabilities.output)],
      });
    }
    return {
      ...{ info, artifact, capabilities, settings, bounds },
      ...(notes.length === 0 ? {} : { notes }),
      run: (batch, options) => session.run(batch, options),
    };
  } catch (cause) {
    if (!InvalidInputError.isInstance(cause)) throw cause;
    throw new ModelLoadError(
      {
        model,
        backend,
        problem: `its session declares something that cannot be: ${cause.message}`,
        fix: "Mend the backend, or the artifact that it read this from",
      },
      { cause },
    );
  }
}

function readInfo(declared: BackendSession["info"]): BackendSession["info"] {
  const { name, runtime } = record(declared, "info");
  const { name: runtimeName, version } = record(runtime, "info.runtime");
  return {
    name: text(name, "info.name"),
    runtime: { name: text(runtimeName, "info.runtime.name"), version: text(version, "info.runtime.version") },
  };
}

function readArtifact(declared: ArtifactInfo): ArtifactInfo {
  const { format, dtype, files } = record(declared, "artifact");
  if (!Array.isArray(files)) throw new InvalidInputError("artifact.files", "must be an array");
  return {
    format: text(format, "artifact.format"),
    dtype: text(dtype, "artifact.dtype"),
    files: Array.from(files as ArtifactInfo["files"], (file, index) => {
      const { path, sha256 } = record(file, `artifact.files[${index}]`);
      return {
        path: text(path, `artifact.files[${index}].path`),
        sha256: text(sha256, `artifact.files[${index}].sha256`),
      };
    }),
  };
}

function readSettings(declared: BackendSession["settings"]): BackendSession["settings"] {
  const entries = Object.entries(record(declared, "settings"));
  return Object.fromEntries(entries.map(([name, value]) => [name, text(value, `settings.${name}`)]));
}

function readBounds(declared: NumericBounds | undefined): NumericBounds | undefined {
  if (declared === undefined) return undefined;
  const { logit, cosine, reason } = record(declared, "bounds");
  for (const [name, value] of Object.entries({ logit, cosine })) {
    if (!(Number.isFinite(value) && value >= 0))
      throw new InvalidInputError(`bounds.${name}`, `must be a number of at least 0, not ${String(value)}`);
  }
  return { logit, cosine, reason: text(reason, "bounds.reason") };
}

/** What a backend says of an artifact's class logits. @throws {ModelLoadError} where that cannot be. */
export function readDeclaredClasses(
  declared: unknown,
  facts: { readonly model: string; readonly backend: string },
): DeclaredClasses | undefined {
  if (declared === undefined) return undefined;
  const { path, classes } = (declared ?? {}) as Partial<DeclaredClasses>;
  if (typeof path === "string" && Number.isSafeInteger(classes) && (classes as number) >= 0) {
    return { path, classes: classes as number };
  }
  throw new ModelLoadError({
    ...facts,
    problem: "it declares class logits that cannot be",
    fix: "Mend the backend",
  });
}

function readNotes(declared: unknown = []): readonly string[] {
  if (!Array.isArray(declared)) throw new InvalidInputError("notes", "must be an array");
  return Array.from(declared as readonly unknown[], (note, index) => text(note, `notes[${index}]`));
}

function record<T>(value: T, path: string): T {
  if (typeof value === "object" && value !== null) return value;
  throw new InvalidInputError(path, `must be an object, not ${String(value)}`);
}

function text(value: unknown, path: string): string {
  if (typeof value === "string") return value;
  throw new InvalidInputError(path, `must be a string, not ${value === null ? "null" : typeof value}`);
}

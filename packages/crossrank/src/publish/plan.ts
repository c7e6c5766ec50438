import { createHash } from "node:crypto";
import { posix } from "node:path";
import { ModelFileNotFoundError, type ModelFiles, readProfile } from "@crossrank/core";
import type { CardArtifact, HashedFile, ModelFacts } from "../card/model-facts.js";
import { precisionsAmong } from "../registry.js";
import { PublishRefusedError } from "./errors.js";

/** A file as it will lie in the repository. */
export interface PlannedFile extends HashedFile {
  /** Where its content is: a file of the folder, or made here. */
  readonly from: { readonly file: string } | { readonly content: string };
}

/**
 * Which artifact a variant is: the one that is asked for by its path, or by its precision, or whose precision or format the
 * variant's name says, or the only one.
 *
 * @throws {PublishRefusedError} where several could be meant.
 */
export function artifactOfVariant(
  { folder, artifacts }: ModelFacts,
  {
    variant,
    file,
    dtype,
  }: { readonly variant: string; readonly file?: string | undefined; readonly dtype?: string | undefined },
): CardArtifact {
  const same = (a: string, b: string): boolean => a.toLowerCase() === b.toLowerCase();
  const list = artifacts.map(({ path, dtype: own }) => `${path} (${own})`).join(", ");
  const one = (found: readonly CardArtifact[], asked: string): CardArtifact => {
    const [only, ...others] = found;
    if (only !== undefined && others.length === 0) return only;
    throw new PublishRefusedError(folder, [
      `${asked} names ${found.length === 0 ? "no" : "more than one"} artifact of ${list}. Name one by its path with --file.`,
    ]);
  };
  if (file !== undefined) {
    const asked = file.replace(/\/+$/, "");
    return one(
      artifacts.filter(({ path, files }) => path === asked || files.some((part) => part.path === asked)),
      `--file ${file}`,
    );
  }
  if (dtype !== undefined)
    return one(
      artifacts.filter((own) => same(own.dtype, dtype)),
      `--dtype ${dtype}`,
    );
  if (artifacts.length === 1) return artifacts[0] as CardArtifact;
  const named = artifacts.filter(
    (own) =>
      same(own.dtype, variant) ||
      same(own.format, variant) ||
      same(`${own.format}-${own.dtype}`, variant) ||
      // The seed's two: one package, for two ways to load it.
      (/^(?:ane|cpugpu)$/i.test(variant) && own.format === "mlpackage"),
  );
  return one(named, `--variant ${variant}`);
}

/**
 * One variant's files, flat at the root: the artifact, and beside it what says how to read it. A file that would meet
 * another there is refused.
 *
 * @param card the text that becomes README.md.
 * @throws {PublishRefusedError}
 */
export function planFiles(facts: ModelFacts, artifact: CardArtifact, card: string): PlannedFile[] {
  const planned = new Map<string, PlannedFile>();
  const add = (file: PlannedFile): void => {
    const there = planned.get(file.path);
    if (there !== undefined && there.sha256 !== file.sha256) {
      throw new PublishRefusedError(facts.folder, [
        `Two files would be ${file.path} at the root. Put the artifact into a folder with its format's ending, e.g. model.ctranslate2, and convert or move it anew.`,
      ]);
    }
    planned.set(file.path, file);
  };
  const around = posix.dirname(artifact.path);
  for (const { path, size, sha256 } of artifact.files) {
    const flat = around !== "." && path.startsWith(`${around}/`) ? path.slice(around.length + 1) : path;
    add({ path: flat, size, sha256, from: { file: path } });
  }
  for (const [target, { path, size, sha256 }] of facts.side)
    add({ path: target, size, sha256, from: { file: path } });
  const provenance = provenanceAt(facts, artifact, around);
  if (provenance !== undefined) add(made("provenance.json", provenance));
  add(made("README.md", card));
  return [...planned.values()].sort((a, b) => (a.path < b.path ? -1 : 1));
}

function made(path: string, content: string): PlannedFile {
  const bytes = Buffer.from(content);
  return {
    path,
    size: bytes.length,
    sha256: createHash("sha256").update(bytes).digest("hex"),
    from: { content },
  };
}

/** provenance.json of this artifact alone, with the paths that its files have at the root. */
function provenanceAt({ documents }: ModelFacts, artifact: CardArtifact, around: string): string | undefined {
  const document = documents["provenance.json"];
  const entries = document?.["artifacts"];
  if (!Array.isArray(entries)) return undefined;
  const own = new Set(artifact.files.map(({ sha256 }) => sha256));
  const kept = (
    entries as readonly {
      readonly files?: readonly { readonly path?: unknown; readonly sha256?: unknown }[];
    }[]
  )
    .filter(
      ({ files }) =>
        Array.isArray(files) && files.length > 0 && files.every(({ sha256 }) => own.has(sha256 as string)),
    )
    .map((entry) => ({
      ...entry,
      files: entry.files?.map((file) => {
        const path = String(file.path);
        return {
          ...file,
          path: around !== "." && path.startsWith(`${around}/`) ? path.slice(around.length + 1) : path,
        };
      }),
    }));
  return kept.length === 0
    ? undefined
    : `${JSON.stringify({ ...document, artifacts: kept }, undefined, 2)}\n`;
}

/**
 * Reads the planned files as a consumer will: the profile must be the folder's, and the artifact must be found.
 *
 * @throws {PublishRefusedError} where it would be read as something else.
 */
export async function requireReadable(
  facts: ModelFacts,
  artifact: CardArtifact,
  planned: readonly PlannedFile[],
  signal: AbortSignal,
): Promise<void> {
  const files = viewOf(facts.files, planned);
  const paths = planned.map(({ path }) => path);
  const found = await precisionsAmong(paths);
  const around = posix.dirname(artifact.path);
  const expected = around === "." ? artifact.path : artifact.path.slice(around.length + 1);
  if (!found.some(({ path }) => path === expected || path.startsWith(`${expected}/`))) {
    throw new PublishRefusedError(facts.folder, [
      `At the root no backend would find ${expected}. Rename the artifact as its backend names such files.`,
    ]);
  }
  if (!paths.includes("config.json") && !paths.includes("crossrank.json")) return;
  const { profile } = await readProfile(files, {}, signal, async () => undefined).catch((error: Error) => {
    throw new PublishRefusedError(facts.folder, [`What would be published cannot be read: ${error.message}`]);
  });
  const text = (value: unknown): string =>
    JSON.stringify(value, (_, one: unknown) =>
      typeof one === "object" && one !== null && !Array.isArray(one)
        ? Object.fromEntries(Object.entries(one).sort(([a], [b]) => (a < b ? -1 : 1)))
        : one,
    );
  if (text(profile) !== text(facts.reading.profile)) {
    throw new PublishRefusedError(facts.folder, [
      "What would be published is read otherwise than the folder. Put all that describes the model at the folder's root.",
    ]);
  }
}

/** The planned files, each under its new name. */
function viewOf(files: ModelFiles, planned: readonly PlannedFile[]): ModelFiles {
  const find = (path: string): PlannedFile => {
    const found = planned.find((file) => file.path === path);
    if (found === undefined)
      throw new ModelFileNotFoundError({
        model: files.id,
        expected: [path],
        found: [],
        fix: "It would not be published.",
      });
    return found;
  };
  return {
    id: files.id,
    revision: undefined,
    list: async () => planned.map(({ path, size, sha256 }) => ({ path, size, sha256 })),
    readText: async (path, options) => {
      const { from } = find(path);
      return "content" in from ? from.content : files.readText(from.file, options);
    },
    readBytes: async (path, range, options) => {
      const { from } = find(path);
      return "content" in from
        ? Buffer.from(from.content).subarray(range.start, range.end)
        : files.readBytes(from.file, range, options);
    },
    localPath: async (path, options) => {
      const { from } = find(path);
      if ("content" in from)
        throw new ModelFileNotFoundError({
          model: files.id,
          expected: [path],
          found: [],
          fix: "It is made when it is published.",
        });
      return files.localPath(from.file, options);
    },
  };
}

import { createHash, randomBytes } from "node:crypto";
import { mkdir, readdir, readFile, rename, rm, stat } from "node:fs/promises";
import { createRequire } from "node:module";
import { hostname } from "node:os";
import { dirname, join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import type { ConversionProgress } from "@crossrank/convert";
import { CrossrankError, type CrossrankJson, type ModelFiles } from "@crossrank/core";
import { hashFile, type Release, tryExclude, writeWholeFile } from "@crossrank/disk";
import { CacheError, openFolder } from "@crossrank/hub";

/** An artifact in the cache, whole. */
export interface CachedConversion {
  /** Absolute; a model folder. */
  readonly folder: string;
  /** Of the artifact, relative to the folder, the main one first. */
  readonly artifact: readonly string[];
}

/** Milliseconds between two looks at what another process is converting. */
const pause = 200;

/** A folder of another machine that nobody wrote to for so long is nobody's. Milliseconds. */
const abandonedAfter = 24 * 3_600_000;

/** A file that was written to this shortly before may be written to again without a trace. Milliseconds. */
const settledAfter = 2_000;

/** Bytes; of smaller files the hash costs nothing. */
const worthRemembering = 16 << 20;

/** This machine in the name of an unfinished folder: process ids say nothing on another. */
const host = createHash("sha256").update(hostname()).digest("hex").slice(0, 8);

/**
 * Artifacts that were made of models with weights alone, by what they were made of: a folder each, which gets its name
 * once it is whole. Beside the hub's cache, in `crossrank/converted`.
 */
export class ConversionCache {
  /** Absolute. */
  readonly #root: string;

  /** @param cacheFolder of downloaded models. */
  constructor(cacheFolder: string) {
    this.#root = join(cacheFolder, "..", "crossrank", "converted");
  }

  /** Undefined where there is none, or files of it are gone or of another size. */
  async find(key: string): Promise<CachedConversion | undefined> {
    const folder = join(this.#root, key);
    let written: readonly { readonly path: string; readonly size: number }[];
    try {
      const document = JSON.parse(await readFile(join(folder, "provenance.json"), "utf8")) as {
        readonly artifacts: readonly [{ readonly files: typeof written }];
      };
      written = document.artifacts[0].files;
      for (const { path, size } of written) {
        if ((await stat(join(folder, ...path.split("/")))).size !== size) return undefined;
      }
    } catch {
      return undefined;
    }
    return written.length === 0 ? undefined : { folder, artifact: written.map(({ path }) => path) };
  }

  /**
   * Makes what is not there, unless another process makes it first.
   *
   * @param write writes a model folder with one artifact and its provenance.json; the folder is not there yet.
   * @throws {CacheError} when the file system refuses; what `write` throws.
   */
  async make(
    key: string,
    { model, signal }: { readonly model: string; readonly signal: AbortSignal | undefined },
    write: (folder: string) => Promise<void>,
  ): Promise<CachedConversion> {
    const place = join(this.#root, key);
    try {
      await mkdir(this.#root, { recursive: true });
      const turn = await this.#turn(key, signal);
      if ("folder" in turn) return turn;
      const work = join(this.#root, `.${key}.${host}-${process.pid}-${randomBytes(4).toString("hex")}`);
      try {
        await this.#removeLeftovers(key);
        await mkdir(work);
        await write(join(work, "model"));
        return await this.#settle(join(work, "model"), key);
      } finally {
        await rm(work, { recursive: true, force: true });
        await turn.free();
        await rm(`${place}.lock`, { force: true });
      }
    } catch (cause) {
      signal?.throwIfAborted();
      // What the file system says itself names no model.
      if (!(cause instanceof Error) || !("syscall" in cause) || CrossrankError.isInstance(cause)) throw cause;
      throw new CacheError({ model, path: place }, { cause });
    }
  }

  /** The right to write, or what another process wrote meanwhile. */
  async #turn(
    key: string,
    signal: AbortSignal | undefined,
  ): Promise<{ readonly free: Release } | CachedConversion> {
    for (;;) {
      const free = await tryExclude(join(this.#root, key));
      const found = await this.find(key);
      if (found !== undefined) {
        await free?.();
        return found;
      }
      if (free !== undefined) return { free };
      await sleep(pause, undefined, { signal });
    }
  }

  /** Gives a whole folder its name. A process that does not see our exclusion may have done so before. */
  async #settle(folder: string, key: string): Promise<CachedConversion> {
    const place = join(this.#root, key);
    try {
      await rename(folder, place);
    } catch (error) {
      const found = await this.find(key);
      if (found !== undefined) return found;
      if (!["ENOTEMPTY", "EEXIST", "EPERM"].includes((error as NodeJS.ErrnoException).code ?? ""))
        throw error;
      // What is there is damaged.
      await rm(place, { recursive: true, force: true });
      await rename(folder, place);
    }
    const found = await this.find(key);
    if (found === undefined) throw new TypeError("convert wrote no artifact");
    return found;
  }

  /** Of processes that were killed. */
  async #removeLeftovers(ours: string): Promise<void> {
    for (const name of await readdir(this.#root)) {
      const [, key, owner] = /^\.([0-9a-f]{64})\.([0-9a-f]{8})-\d+-[0-9a-f]{8}$/.exec(name) ?? [];
      if (key === undefined) continue;
      const path = join(this.#root, name);
      const release = key === ours ? undefined : await tryExclude(join(this.#root, key));
      if (key !== ours && release === undefined) continue;
      const age = Date.now() - ((await stat(path).catch(() => undefined))?.mtimeMs ?? 0);
      if (owner === host || age > abandonedAfter) await rm(path, { recursive: true, force: true });
      await release?.();
    }
  }

  /** What a file's hash was when it was last computed, and the file the same. */
  async hashOf(local: string, compute: () => Promise<string>): Promise<string> {
    const status = await stat(local, { bigint: true });
    if (status.size < worthRemembering) return compute();
    const state = [status.dev, status.ino, status.size, status.mtimeNs, status.ctimeNs].join(" ");
    const note = join(this.#root, "hashes", createHash("sha256").update(state).digest("hex"));
    const known = await readFile(note, "utf8").catch(() => "");
    if (/^[0-9a-f]{64}$/.test(known)) return known;
    const hash = await compute();
    const changed = Math.max(Number(status.mtimeMs), Number(status.ctimeMs));
    if (Date.now() - changed < settledAfter) return hash;
    // That the next run computes it again is no fault.
    await mkdir(dirname(note), { recursive: true })
      .then(() => writeWholeFile(note, hash))
      .catch(() => undefined);
    return hash;
  }
}

/**
 * What an artifact depends on, as a name: the source's files, the format and precision, the facts that override the
 * files, and the converter.
 */
export async function keyOf(
  files: ModelFiles,
  facts: {
    readonly format: string;
    readonly dtype: string;
    readonly profile: CrossrankJson | undefined;
  },
  cache: ConversionCache,
  options: {
    readonly signal: AbortSignal | undefined;
    readonly onProgress: ((progress: ConversionProgress) => void) | undefined;
  },
): Promise<string> {
  const { signal, onProgress } = options;
  const source: [string, string][] = [];
  for (const { path, sha256 } of await files.list({ signal })) {
    if (!isSource(path)) continue;
    if (sha256 !== undefined) {
      source.push([path, sha256]);
      continue;
    }
    const local = await files.localPath(path, {
      signal,
      onProgress: (progress) => onProgress?.({ step: "downloading", ...progress }),
    });
    const hash = await cache.hashOf(local, async () => {
      const { size: total } = await stat(local);
      const onRead = (read: number): void => onProgress?.({ step: "hashing", path, read, total });
      return hashFile(local, { signal, onRead });
    });
    source.push([path, hash]);
  }
  source.sort(([a], [b]) => (a < b ? -1 : 1));
  const { format, dtype, profile = null } = facts;
  // 2: int8 of ONNX has a scale a token.
  const whole = { version: 2, format, dtype, profile, converter: converterVersions(), source };
  return createHash("sha256").update(JSON.stringify(whole)).digest("hex");
}

/** The model's own files: weights, what describes them, its tokenizer, and the modules behind it. */
function isSource(path: string): boolean {
  return /^(\d+_[A-Za-z]+\/)?[^/]+\.(json|jinja|safetensors)$/.test(path);
}

function converterVersions(): Record<string, string> {
  const { resolve } = createRequire(import.meta.url);
  const names = ["@crossrank/convert", "@crossrank/core", "@crossrank/formats"];
  return Object.fromEntries(names.map((name) => [name, versionOf(resolve(`${name}/package.json`))]));
}

function versionOf(manifest: string): string {
  return (createRequire(import.meta.url)(manifest) as { readonly version: string }).version;
}

/** The model with the artifact beside its own files, and with the goldens of its weights where it has none. */
export async function withConverted(
  files: ModelFiles,
  { folder, artifact }: CachedConversion,
  signal: AbortSignal | undefined,
): Promise<ModelFiles> {
  const made = await openFolder(folder);
  const own = new Set((await files.list({ signal })).map(({ path }) => path));
  const added = new Set([...artifact, "golden.json"].filter((path) => !own.has(path)));
  const placeOf = (path: string): ModelFiles => (added.has(path) ? made : files);
  return {
    id: files.id,
    revision: files.revision,
    base: files.base,
    list: async (options) => [
      ...(await files.list(options)),
      ...(await made.list(options)).filter(({ path }) => added.has(path)),
    ],
    readText: (path, options) => placeOf(path).readText(path, options),
    readBytes: (path, range, options) => placeOf(path).readBytes(path, range, options),
    localPath: (path, options) => placeOf(path).localPath(path, options),
  };
}

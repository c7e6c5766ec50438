import { longestDeadline, requireCount, requireOptions } from "@crossrank/backend-kit";
import {
  type FileRequestOptions,
  InvalidInputError,
  type ModelFile,
  ModelFileNotFoundError,
  type ModelFiles,
  type OptionNames,
  untilAborted,
} from "@crossrank/core";
import { type DownloadRequest, download } from "./download.js";
import { ModelFetchError, shown } from "./errors.js";
import { listName, readFileList } from "./file-list.js";
import { forget, keep, readKept } from "./kept-files.js";
import { sha256 as hashOf } from "./sha256.js";

export interface FetchModelOptions {
  /**
   * Files of the model with their bytes and, where known, their sha256 (lower-case hex): what comes is held against
   * both. Default: the list `crossrank-files.json` beside them, which `crossrank-web-files` writes.
   */
  readonly files?: readonly ModelFile[] | undefined;
  /** As it should stand in results and messages. Default: the address without its query, which may be a signature. */
  readonly id?: string | undefined;
  /** Whether files with a sha256 are kept from one visit to the next, in the browser's Cache API. Default true. */
  readonly keep?: boolean | undefined;
  /** Most bytes of one file, from 1 to 2,147,483,647. Default: 2,147,483,647. */
  readonly maxBytes?: number | undefined;
  /** Whether a server may send the page to another address. Default false: nothing is asked of a host that was not named. */
  readonly followRedirects?: boolean | undefined;
  /**
   * Milliseconds without a byte after which a connection counts as cut, from 1 to 86,400,000; the wait for the answer
   * counts too. Default 30,000.
   */
  readonly idleTimeout?: number | undefined;
  readonly signal?: AbortSignal | undefined;
}

const names: OptionNames<FetchModelOptions> = {
  files: true,
  id: true,
  keep: true,
  maxBytes: true,
  followRedirects: true,
  idleTimeout: true,
  signal: true,
};

const mostBytes = 2 ** 31 - 1;
const mostListBytes = 1 << 20;
const usualIdleTimeout = 30_000;

/**
 * A model whose files a server gives out as they are. Nothing but the list of them is fetched before it is asked for.
 *
 * @param address folder of the model, relative to the page, e.g. `"/models/nano/"`. Its query, such as a signature, is
 *   part of every request.
 * @throws {InvalidInputError} when the address, an option or the list is at fault.
 * @throws {ModelFetchError} when the list does not come.
 */
export async function fetchModel(
  address: string | URL,
  options: FetchModelOptions = {},
): Promise<ModelFiles> {
  const base = folderAt(address);
  checkOptions(options);
  const { maxBytes = mostBytes, followRedirects = false, idleTimeout = usualIdleTimeout, signal } = options;
  const files =
    options.files === undefined
      ? await fetchList(within(base, listName), { followRedirects, idleTimeout, signal })
      : readFileList(options.files, "files");
  return new FetchedModel({
    base,
    id: options.id ?? shown(base.href),
    files,
    keeps: options.keep ?? true,
    maxBytes,
    followRedirects,
    idleTimeout,
  });
}

/** @throws {InvalidInputError} naming the option at fault. */
function checkOptions(options: FetchModelOptions): void {
  requireOptions("fetchModel()", options, names);
  requireCount("maxBytes", options.maxBytes, mostBytes);
  requireCount("idleTimeout", options.idleTimeout, longestDeadline);
  for (const name of ["keep", "followRedirects"] as const) {
    if (!["boolean", "undefined"].includes(typeof options[name])) {
      throw new InvalidInputError(name, `must be true or false, not ${typeof options[name]}`);
    }
  }
  if (!["string", "undefined"].includes(typeof options.id) || options.id === "") {
    throw new InvalidInputError("id", "must be a text that is not empty");
  }
  const signal = options.signal ?? undefined;
  if (signal !== undefined && typeof signal.throwIfAborted !== "function") {
    throw new InvalidInputError("signal", "must be an AbortSignal");
  }
}

function folderAt(address: string | URL): URL {
  if (typeof address !== "string" && typeof (address as Partial<URL> | null)?.href !== "string") {
    throw new InvalidInputError("address", `must be a text or a URL, not ${typeof address}`);
  }
  let url: URL;
  try {
    url = new URL(address, globalThis.document?.baseURI ?? globalThis.location?.href);
  } catch {
    // The reason holds the address, too, with what may be secret in it.
    const text = shown(String(address));
    throw new InvalidInputError("address", text.includes("@") ? "is no address" : `is no address: ${text}`);
  }
  if (url.protocol !== "http:" && url.protocol !== "https:") {
    throw new InvalidInputError("address", `must be one of http or https, not ${url.protocol}`);
  }
  if (url.username !== "" || url.password !== "") {
    throw new InvalidInputError(
      "address",
      "has a user name or a password in it, which browsers do not send. Serve the files where the page may read them",
    );
  }
  url.hash = "";
  if (!url.pathname.endsWith("/")) url.pathname += "/";
  return url;
}

/** Of a file of the folder, with the folder's query. */
function within(base: URL, path: string): string {
  const url = new URL(path.split("/").map(encodeURIComponent).join("/"), base);
  url.search = base.search;
  return url.href;
}

async function fetchList(
  url: string,
  options: Pick<DownloadRequest, "followRedirects" | "idleTimeout" | "signal">,
): Promise<readonly ModelFile[]> {
  const blob = await download({ url, size: undefined, most: mostListBytes, ...options });
  let list: unknown;
  try {
    list = JSON.parse(await blob.text());
  } catch (cause) {
    const fix = "Write it with `npx crossrank-web-files`, or give the option `files`.";
    throw new ModelFetchError({ url, problem: "it is no JSON", fix }, { cause });
  }
  return readFileList(list, listName);
}

interface FetchedFacts {
  readonly base: URL;
  readonly id: string;
  readonly files: readonly ModelFile[];
  readonly keeps: boolean;
  readonly maxBytes: number;
  readonly followRedirects: boolean;
  readonly idleTimeout: number;
}

class FetchedModel implements ModelFiles {
  readonly id: string;
  readonly revision: undefined;
  readonly #facts: FetchedFacts;
  /** Every file is fetched once. */
  readonly #contents = new Map<string, Promise<Blob>>();
  readonly #places = new Map<string, string>();

  constructor(facts: FetchedFacts) {
    this.#facts = facts;
    this.id = facts.id;
  }

  async list(): Promise<readonly ModelFile[]> {
    return this.#facts.files;
  }

  async readText(path: string, options?: FileRequestOptions): Promise<string> {
    return (await this.#content(path, options)).text();
  }

  async readBytes(
    path: string,
    { start, end }: { readonly start: number; readonly end: number },
    options?: FileRequestOptions,
  ): Promise<Uint8Array> {
    const part = (await this.#content(path, options)).slice(start, Math.max(start, end));
    return new Uint8Array(await part.arrayBuffer());
  }

  /** The address of a blob of this page, which `fetch` reads: a page has no paths. */
  async localPath(path: string, options?: FileRequestOptions): Promise<string> {
    const content = await this.#content(path, options);
    const place = this.#places.get(path) ?? URL.createObjectURL(content);
    this.#places.set(path, place);
    return place;
  }

  async #content(path: string, options: FileRequestOptions = {}): Promise<Blob> {
    options.signal?.throwIfAborted();
    const file = this.#facts.files.find((one) => one.path === path);
    if (file === undefined) {
      throw new ModelFileNotFoundError({
        model: this.id,
        expected: [path],
        found: this.#facts.files.map((one) => one.path),
        fix: `Serve the file, and write ${listName} again.`,
      });
    }
    const known = this.#contents.get(path);
    if (known !== undefined) {
      try {
        return await untilAborted(known, options.signal);
      } catch {
        // Somebody else's call, which was aborted or failed: this one has a try of its own.
        options.signal?.throwIfAborted();
        if (this.#contents.get(path) !== known && this.#contents.has(path))
          return this.#content(path, options);
      }
    }
    const content = this.#fetch(file, options);
    this.#contents.set(path, content);
    content.catch(() => {
      if (this.#contents.get(path) === content) this.#contents.delete(path);
    });
    return content;
  }

  async #fetch({ path, size, sha256 }: ModelFile, { signal, onProgress }: FileRequestOptions): Promise<Blob> {
    const { base, keeps, maxBytes, followRedirects, idleTimeout } = this.#facts;
    const url = within(base, path);
    if (size > maxBytes) {
      const problem = `the file has ${size} bytes, more than the ${maxBytes} of the option maxBytes`;
      throw new ModelFetchError({ url, problem, fix: "Take a smaller precision, or raise maxBytes." });
    }
    if (keeps && sha256 !== undefined) {
      const kept = await readKept(sha256);
      if (kept !== undefined && kept.size === size && (await hashOf(kept)) === sha256) {
        signal?.throwIfAborted();
        onProgress?.({ path, loaded: size, total: size });
        return kept;
      }
      if (kept !== undefined) await forget(sha256);
    }
    const onLoaded = (loaded: number): void => onProgress?.({ path, loaded, total: size });
    const content = await download({
      url,
      size,
      most: maxBytes,
      followRedirects,
      idleTimeout,
      signal,
      onLoaded,
    });
    if (sha256 === undefined) return content;
    const found = await hashOf(content);
    if (found === undefined) {
      throw new ModelFetchError({
        url,
        problem: "its sha256 cannot be checked, because the page is no secure context",
        fix: "Serve the page over https, or from localhost.",
      });
    }
    if (found !== sha256) {
      throw new ModelFetchError({
        url,
        problem: `its sha256 is ${found}, and the list has ${sha256}`,
        fix: "Publish the file that the list names, or write the list again.",
      });
    }
    if (keeps) await keep(sha256, content);
    signal?.throwIfAborted();
    return content;
  }
}

import { onAbort } from "@crossrank/core";
import { ModelFetchError } from "./errors.js";

export interface DownloadRequest {
  readonly url: string;
  /** Bytes that the file has; undefined where nobody said. */
  readonly size: number | undefined;
  /** Bytes that it may have. */
  readonly most: number;
  readonly followRedirects: boolean;
  /** Milliseconds without a byte after which the connection counts as cut. */
  readonly idleTimeout: number;
  readonly signal?: AbortSignal | undefined;
  readonly onLoaded?: ((loaded: number) => void) | undefined;
}

/**
 * One file over HTTP, never more of it than expected.
 *
 * @throws {ModelFetchError} when it does not come, or with another number of bytes.
 * @throws the signal's reason once it is aborted.
 */
export async function download(request: DownloadRequest): Promise<Blob> {
  const idle = new IdleTimer(request);
  try {
    return await downloadWhile(idle, request);
  } catch (error) {
    request.signal?.throwIfAborted();
    throw idle.refusal ?? error;
  } finally {
    idle.stop();
  }
}

/** Ends a request when its caller does, or when no byte of it comes for too long. */
class IdleTimer {
  /** Once it came to that. */
  refusal: ModelFetchError | undefined;
  readonly #request: DownloadRequest;
  readonly #controller = new AbortController();
  readonly #release: (() => void) | undefined;
  #timer: ReturnType<typeof setTimeout> | undefined;

  constructor(request: DownloadRequest) {
    this.#request = request;
    const { signal } = request;
    this.#release = signal && onAbort(signal, () => this.#controller.abort(signal.reason));
    this.restart();
  }

  get signal(): AbortSignal {
    return this.#controller.signal;
  }

  restart(): void {
    clearTimeout(this.#timer);
    const { url, idleTimeout } = this.#request;
    this.#timer = setTimeout(() => {
      this.refusal = new ModelFetchError({
        url,
        problem: `no byte came for ${idleTimeout} ms`,
        fix: "Try again later, or raise the option idleTimeout.",
      });
      this.#controller.abort(this.refusal);
    }, idleTimeout);
  }

  stop(): void {
    clearTimeout(this.#timer);
    this.#release?.();
  }
}

async function downloadWhile(idle: IdleTimer, request: DownloadRequest): Promise<Blob> {
  const { url, size, most } = request;
  const response = await ask(request, idle.signal);
  idle.restart();
  if (!response.ok || response.body === null) {
    await response.body?.cancel().catch(() => undefined);
    throw new ModelFetchError({
      url,
      status: response.status,
      problem: `the server answers ${response.status}`,
      fix: response.status === 404 ? "Check the address and that the file is served." : "Try again later.",
    });
  }
  const limit = size ?? most;
  // Of a compressed answer the header says how long it is compressed.
  const declared = response.headers.has("content-encoding")
    ? undefined
    : Number(response.headers.get("content-length") ?? Number.NaN);
  const isPage = /^text\/html\b/i.test(response.headers.get("content-type") ?? "");
  const wrong = (bytes: string): ModelFetchError =>
    new ModelFetchError({
      url,
      status: response.status,
      problem: `the answer has ${bytes} bytes, and the file has ${size ?? `at most ${most}`}`,
      fix: isPage
        ? "It is a web page: the server answers so for files that it does not have."
        : "Write the list of files again, or publish the files that it names.",
    });
  if (declared !== undefined && declared > limit) {
    await response.body.cancel().catch(() => undefined);
    throw wrong(String(declared));
  }
  const blob = await collect(response.body, { request, idle, limit, wrong });
  if (size !== undefined && blob.size !== size) throw wrong(String(blob.size));
  return blob;
}

async function ask({ url, followRedirects }: DownloadRequest, signal: AbortSignal): Promise<Response> {
  try {
    return await fetch(url, {
      redirect: followRedirects ? "follow" : "error",
      credentials: "same-origin",
      signal,
    });
  } catch (cause) {
    signal.throwIfAborted();
    throw new ModelFetchError(
      {
        url,
        problem: followRedirects
          ? "no answer comes that the page may read"
          : "no answer comes that the page may read, or it is a redirect",
        fix:
          "Serve the file from the page's own origin, or with Access-Control-Allow-Origin, and let the page's " +
          "Content-Security-Policy have its origin in connect-src.",
      },
      { cause },
    );
  }
}

async function collect(
  body: ReadableStream<Uint8Array<ArrayBuffer>>,
  {
    request: { url, onLoaded },
    idle,
    limit,
    wrong,
  }: {
    readonly request: DownloadRequest;
    readonly idle: IdleTimer;
    readonly limit: number;
    readonly wrong: (bytes: string) => ModelFetchError;
  },
): Promise<Blob> {
  const reader = body.getReader();
  const pieces: Uint8Array<ArrayBuffer>[] = [];
  let loaded = 0;
  try {
    for (;;) {
      const { done, value } = await reader.read();
      if (done) return new Blob(pieces);
      idle.restart();
      loaded += value.length;
      if (loaded > limit) throw wrong(`more than ${limit}`);
      pieces.push(value);
      onLoaded?.(loaded);
    }
  } catch (cause) {
    await reader.cancel().catch(() => undefined);
    idle.signal.throwIfAborted();
    if (ModelFetchError.isInstance(cause)) throw cause;
    throw new ModelFetchError(
      { url, problem: `the connection ended after ${loaded} bytes`, fix: "Try again." },
      { cause },
    );
  }
}

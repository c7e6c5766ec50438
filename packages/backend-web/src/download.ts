import { ModelFetchError } from "./errors.js";

export interface DownloadRequest {
  readonly url: string;
  /** Bytes that the file has; undefined where nobody said. */
  readonly size: number | undefined;
  /** Bytes that it may have. */
  readonly most: number;
  readonly followRedirects: boolean;
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
  const { url, size, most } = request;
  const response = await ask(request);
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
  const blob = await collect(response.body, request, limit, wrong);
  if (size !== undefined && blob.size !== size) throw wrong(String(blob.size));
  return blob;
}

async function ask({ url, followRedirects, signal }: DownloadRequest): Promise<Response> {
  try {
    return await fetch(url, {
      redirect: followRedirects ? "follow" : "error",
      credentials: "same-origin",
      ...(signal === undefined ? {} : { signal }),
    });
  } catch (cause) {
    signal?.throwIfAborted();
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
  { url, signal, onLoaded }: DownloadRequest,
  limit: number,
  wrong: (bytes: string) => ModelFetchError,
): Promise<Blob> {
  const reader = body.getReader();
  const pieces: Uint8Array<ArrayBuffer>[] = [];
  let loaded = 0;
  try {
    for (;;) {
      const { done, value } = await reader.read();
      if (done) return new Blob(pieces);
      loaded += value.length;
      if (loaded > limit) throw wrong(`more than ${limit}`);
      pieces.push(value);
      onLoaded?.(loaded);
    }
  } catch (cause) {
    await reader.cancel().catch(() => undefined);
    signal?.throwIfAborted();
    if (ModelFetchError.isInstance(cause)) throw cause;
    throw new ModelFetchError(
      { url, problem: `the connection ended after ${loaded} bytes`, fix: "Try again." },
      { cause },
    );
  }
}

import { InvalidInputError, untilAborted } from "@crossrank/core";
import {
  HubNetworkError,
  HubNotFoundError,
  HubRateLimitedError,
  HubResponseError,
  HubUnauthorizedError,
} from "./errors.js";
import { reasonOf } from "./reason.js";
import { pagePath, type RepositoryKind } from "./repository-kind.js";
import { type RetryPolicy, readRetryAfter, withRetries } from "./retry.js";

/** How to reach the hub for one repository. */
export interface Connection {
  readonly kind: RepositoryKind;
  /** The repository's id, e.g. `"BAAI/bge-reranker-base"`. */
  readonly model: string;
  /** E.g. `"https://huggingface.co"`, without a slash at its end. */
  readonly endpoint: string;
  readonly token: string | undefined;
  readonly fetch: typeof globalThis.fetch;
  readonly retry: RetryPolicy;
}

const mostRedirects = 10;
/** Bytes of one answer of the API, decompressed. */
const largestAnswer = 32 << 20;

export interface PlainRequest {
  readonly method?: string | undefined;
  readonly headers?: Headers | undefined;
  readonly body?: string | Blob | undefined;
  readonly signal?: AbortSignal | undefined;
  /** A redirect to another origin is the answer, and not followed. */
  readonly staysAtOrigin?: boolean | undefined;
}

/**
 * One request, redirects followed by hand: the token goes to the endpoint's own origin and to no other, whatever
 * the `fetch` in use does.
 * @throws {HubNetworkError} when there is no answer.
 * @throws {HubResponseError} for a redirect that leads nowhere.
 */
export async function request(
  connection: Connection,
  url: string,
  plain: PlainRequest,
  attempt: number,
): Promise<Response> {
  const home = new URL(connection.endpoint).origin;
  let current = new URL(url);
  for (let hops = 0; hops <= mostRedirects; hops += 1) {
    const headers = new Headers(plain.headers);
    headers.delete("authorization");
    headers.set("user-agent", "crossrank-hub");
    if (connection.token !== undefined && current.origin === home) {
      headers.set("authorization", `Bearer ${connection.token}`);
    }
    const response = await send(connection, current, { ...plain, headers }, attempt);
    const location = response.headers.get("location");
    if (response.status < 300 || response.status >= 400 || location === null) return response;
    await untilAborted(response.body?.cancel() ?? Promise.resolve(), plain.signal);
    const next = URL.canParse(location, current.href) ? new URL(location, current) : undefined;
    if (next === undefined || (next.protocol !== "https:" && next.protocol !== "http:")) {
      throw new HubResponseError({
        model: connection.model,
        url: current.href,
        status: response.status,
        problem: `redirects to ${JSON.stringify(location)}`,
      });
    }
    if (plain.staysAtOrigin === true && next.origin !== current.origin) return response;
    current = next;
  }
  throw new HubResponseError({
    model: connection.model,
    url,
    problem: `redirects more than ${mostRedirects} times`,
  });
}

async function send(
  connection: Connection,
  url: URL,
  plain: PlainRequest,
  attempt: number,
): Promise<Response> {
  try {
    const answer = connection.fetch(url.href, {
      redirect: "manual",
      method: plain.method ?? "GET",
      ...(plain.headers === undefined ? {} : { headers: plain.headers }),
      ...(plain.body === undefined ? {} : { body: plain.body }),
      ...(plain.signal === undefined ? {} : { signal: plain.signal }),
    });
    return await untilAborted(answer, plain.signal);
  } catch (error) {
    // A variable that names no proxy is no fault of the network.
    if (InvalidInputError.isInstance(error)) throw error;
    throw new HubNetworkError(
      {
        model: connection.model,
        url: url.href,
        attempts: attempt,
        problem: `no answer: ${reasonOf(error)}`,
        isUpload: plain.body instanceof Blob,
      },
      { cause: error },
    );
  }
}

/**
 * The typed error for an answer that is not a success.
 * @param subject what the request was about, for a 404 without the hub's `X-Error-Code`.
 */
export function statusError(
  connection: Connection,
  response: Response,
  url: string,
  attempt: number,
  subject: { what: "repository" | "revision" | "file"; revision: string; path?: string | undefined },
): Error {
  const { kind, model, endpoint, token } = connection;
  const { status } = response;
  const tokenSent = token !== undefined;
  const code = response.headers.get("x-error-code");
  if (status === 404) {
    const known = {
      RepoNotFound: "repository",
      RevisionNotFound: "revision",
      EntryNotFound: "file",
    } as const;
    const what =
      code !== null && Object.hasOwn(known, code) ? known[code as keyof typeof known] : subject.what;
    const missing = what === "repository" ? undefined : what === "revision" ? subject.revision : subject.path;
    return new HubNotFoundError({ model, what, missing, url, status });
  }
  if (status === 401 || status === 403) {
    const gated = code === "GatedRepo";
    const page = `${endpoint}/${pagePath(kind, model)}`;
    return new HubUnauthorizedError({ model, url, status, gated, tokenSent, page });
  }
  if (status === 429) {
    const retryAfter = readRetryAfter(response.headers);
    return new HubRateLimitedError({ model, url, attempts: attempt, retryAfter, tokenSent });
  }
  if (status === 408 || status >= 500) {
    return new HubNetworkError({
      model,
      url,
      status,
      attempts: attempt,
      problem: `the server answered ${status}`,
    });
  }
  return new HubResponseError({ model, url, status, problem: `answered ${status}` });
}

/**
 * The pieces of an answer's body. An abort ends them by itself, and not by what `fetch` makes of it: nobody answers for
 * that a body which was broken off says so.
 *
 * @throws the reason of the signal that aborts first, and what the body fails with.
 */
export async function* piecesOf(
  response: Response,
  ...signals: readonly (AbortSignal | undefined)[]
): AsyncGenerator<Uint8Array, void> {
  const reader = response.body?.getReader();
  if (reader === undefined) return;
  try {
    for (;;) {
      const next = signals.reduce(untilAborted<Awaited<ReturnType<typeof reader.read>>>, reader.read());
      const { done, value } = await next;
      if (done) return;
      yield value;
    }
  } finally {
    // Of a body that has come whole it does nothing.
    reader.cancel().catch(() => undefined);
  }
}

/**
 * A `fetch` for the functions of `@huggingface/hub`: with the token rule of {@link request}, retries, and typed
 * errors in place of the library's. The body is read within the attempt, so that a cut one is tried again too.
 */
export function createApiFetch(
  connection: Connection,
  revision: string,
  signal: AbortSignal | undefined,
): typeof globalThis.fetch {
  return (input, init) => {
    const url = input instanceof Request ? input.url : String(input);
    return withRetries(connection.retry, signal, async (attempt) => {
      const timeout = AbortSignal.timeout(connection.retry.idleTimeout);
      const either = signal === undefined ? timeout : AbortSignal.any([signal, timeout]);
      const response = await request(
        connection,
        url,
        {
          method: init?.method,
          headers: new Headers(init?.headers),
          body: typeof init?.body === "string" ? init.body : undefined,
          signal: either,
        },
        attempt.number,
      );
      if (!response.ok) {
        await response.body?.cancel();
        throw statusError(connection, response, url, attempt.number, { what: "repository", revision });
      }
      const body = await readBody(connection, response, url, attempt.number, either);
      const link = response.headers.get("link");
      return new Response(body, {
        status: response.status,
        headers: { "content-type": "application/json", ...(link === null ? {} : { link }) },
      });
    });
  };
}

async function readBody(
  connection: Connection,
  response: Response,
  url: string,
  attempt: number,
  signal: AbortSignal,
): Promise<string> {
  try {
    const decoder = new TextDecoder();
    let text = "";
    let size = 0;
    for await (const chunk of piecesOf(response, signal)) {
      size += chunk.length;
      if (size > largestAnswer) {
        const problem = `gives an answer of more than ${largestAnswer} bytes`;
        throw new HubResponseError({ model: connection.model, url, status: response.status, problem });
      }
      text += decoder.decode(chunk, { stream: true });
    }
    return text + decoder.decode();
  } catch (error) {
    if (error instanceof HubResponseError) throw error;
    throw new HubNetworkError(
      {
        model: connection.model,
        url,
        attempts: attempt,
        problem: `the answer broke off: ${reasonOf(error)}`,
      },
      { cause: error },
    );
  }
}

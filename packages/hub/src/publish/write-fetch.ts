import { type Connection, piecesOf, request, statusError } from "../connection.js";
import { HubNetworkError, HubResponseError } from "../errors.js";
import { reasonOf } from "../reason.js";
import { withRetries } from "../retry.js";
import { HubWriteRefusedError } from "./errors.js";
import { WatchedBlob } from "./watched-blob.js";

/** Bytes of one answer of the hub or its storage. */
const largestAnswer = 32 << 20;
/** The hub may take so many idle timeouts to answer what it has in whole: a commit, the parts of a file put together. */
const slowAnswers = 10;

/** A write that was refused because of what is there (409, 412): what it means is for the one who sent it. */
export class WriteConflict extends Error {
  readonly status: number;

  constructor(status: number) {
    super(`refused with ${status}`);
    this.status = status;
  }
}

/**
 * A `fetch` for what writes: the token goes to the hub alone, an upload that is cut or stalls is sent again, and answers
 * are bounded and told as typed errors.
 *
 * A commit and a tag are sent once: whether a lost answer meant yes is for the caller to find out.
 *
 * @param onUploaded told the bytes of each part or file that storage took.
 */
export function createWriteFetch(
  connection: Connection,
  signal: AbortSignal | undefined,
  onUploaded: (bytes: number) => void = () => undefined,
): typeof globalThis.fetch {
  const home = new URL(connection.endpoint).origin;
  return async (input, init) => {
    const url = input instanceof Request ? input.url : String(input);
    if (!URL.canParse(url) || !/^https?:$/.test(new URL(url).protocol)) {
      throw new HubResponseError({
        model: connection.model,
        url: connection.endpoint,
        problem: `names ${JSON.stringify(url.slice(0, 100))} as a place to upload to`,
      });
    }
    const method = init?.method ?? "GET";
    const { pathname, origin } = new URL(url);
    const isHub = origin === home;
    const isOnce =
      isHub && method === "POST" && /^\/api\/models\/[^/]+\/[^/]+\/(?:commit|tag)\//.test(pathname);
    const policy = isOnce ? { ...connection.retry, attempts: 1 } : connection.retry;
    const signals = [signal, init?.signal ?? undefined].filter((one) => one !== undefined);
    return withRetries(policy, signal, async (attempt) => {
      const timer = startTimer(connection.retry.idleTimeout, method === "GET" ? 1 : slowAnswers);
      try {
        const any = AbortSignal.any([...signals, timer.signal]);
        const response = await request(
          connection,
          url,
          {
            method,
            headers: new Headers(init?.headers),
            body: bodyOf(init?.body, timer.sent),
            signal: any,
          },
          attempt.number,
        );
        const text = await readAnswer(connection, response, url, attempt.number, any);
        if (!response.ok)
          throw writeError(connection, { response, text, url, isHub, attempt: attempt.number });
        if (init?.body instanceof Blob) onUploaded(init.body.size);
        const headers = new Headers({ "content-type": "application/json" });
        for (const name of ["etag", "link"]) {
          const value = response.headers.get(name);
          if (value !== null) headers.set(name, value);
        }
        const isEmpty = response.status === 204 || response.status === 205;
        return new Response(isEmpty ? null : text, { status: response.status, headers });
      } finally {
        timer.stop();
      }
    });
  };
}

/** Ends a request through which nothing goes: each chunk that is sent sets it anew. */
function startTimer(
  idle: number,
  patience: number,
): { readonly signal: AbortSignal; readonly sent: () => void; readonly stop: () => void } {
  const controller = new AbortController();
  const set = (): NodeJS.Timeout =>
    setTimeout(
      () => controller.abort(new Error(`nothing went through for ${idle * patience} ms`)),
      idle * patience,
    );
  let timer = set();
  return {
    signal: controller.signal,
    sent: () => {
      clearTimeout(timer);
      timer = set();
    },
    stop: () => clearTimeout(timer),
  };
}

function bodyOf(body: unknown, onBytes: () => void): string | Blob | undefined {
  if (typeof body === "string") return body;
  return body instanceof Blob ? new WatchedBlob(body, onBytes) : undefined;
}

async function readAnswer(
  connection: Connection,
  response: Response,
  url: string,
  attempts: number,
  signal: AbortSignal,
): Promise<string> {
  const decoder = new TextDecoder();
  let text = "";
  let size = 0;
  try {
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
    const problem = `the answer broke off: ${reasonOf(error)}`;
    throw new HubNetworkError(
      { model: connection.model, url, attempts, problem, isUpload: true },
      { cause: error },
    );
  }
}

function writeError(
  connection: Connection,
  facts: {
    readonly response: Response;
    readonly text: string;
    readonly url: string;
    readonly isHub: boolean;
    readonly attempt: number;
  },
): Error {
  const { response, url, isHub, attempt } = facts;
  const { model } = connection;
  const { status } = response;
  const reason = reasonIn(connection, facts.text);
  if (status === 409 || status === 412) return new WriteConflict(status);
  if (isHub && (status === 401 || status === 403))
    return new HubWriteRefusedError({ model, url, status, reason });
  if (status === 404 || status === 429) {
    return statusError(connection, response, url, attempt, { what: "repository", revision: "main" });
  }
  if (status === 408 || status >= 500) {
    const problem = `the server answered ${status}${reason === undefined ? "" : ` (${reason})`}`;
    return new HubNetworkError({ model, url, status, attempts: attempt, problem, isUpload: true });
  }
  const problem = `answered ${status}${reason === undefined ? "" : ` (${reason})`}`;
  return new HubResponseError({ model, url, status, problem });
}

/** What the hub says of its refusal, in one line; a server that repeats the token must not have it printed. */
export function reasonIn({ token }: Pick<Connection, "token">, text: string): string | undefined {
  let said: unknown;
  try {
    const answer: unknown = JSON.parse(text);
    if (typeof answer === "object" && answer !== null) {
      said = Reflect.get(answer, "error") ?? Reflect.get(answer, "message");
    }
  } catch {
    return undefined;
  }
  if (typeof said !== "string") return undefined;
  const hidden = token === undefined ? said : said.replaceAll(token, "…");
  const line = hidden.replace(/[\p{C}\p{Zl}\p{Zp}]+/gu, " ").trim();
  return line === "" ? undefined : line.slice(0, 300);
}

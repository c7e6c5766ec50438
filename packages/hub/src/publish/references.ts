import { isCommit } from "../cache.js";
import type { Connection } from "../connection.js";
import { HubResponseError } from "../errors.js";
import { apiPath } from "../repository-kind.js";

/** Branches and tags of a repository, each with its commit. */
export interface References {
  readonly branches: ReadonlyMap<string, string>;
  readonly tags: ReadonlyMap<string, string>;
}

/** @throws {HubResponseError} for an answer that is no list of references. */
export async function fetchReferences(
  connection: Connection,
  fetch: typeof globalThis.fetch,
): Promise<References> {
  const { endpoint, kind, model } = connection;
  const url = `${endpoint}/${apiPath(kind, model)}/refs`;
  const response = await fetch(url);
  let answer: unknown;
  try {
    answer = JSON.parse(await response.text());
  } catch (cause) {
    throw new HubResponseError({ model, url, problem: "gave an answer that is no JSON" }, { cause });
  }
  const listed = (name: string): ReadonlyMap<string, string> => {
    const list: unknown =
      typeof answer === "object" && answer !== null ? Reflect.get(answer, name) : undefined;
    if (!Array.isArray(list)) throw new HubResponseError({ model, url, problem: `lists no ${name}` });
    return new Map(
      list.map((entry: unknown): [string, string] => {
        const { name: given, targetCommit } = (entry ?? {}) as Record<string, unknown>;
        if (typeof given !== "string" || typeof targetCommit !== "string" || !isCommit(targetCommit))
          throw new HubResponseError({ model, url, problem: `has an entry of ${name} that cannot be read` });
        return [given, targetCommit];
      }),
    );
  };
  return { branches: listed("branches"), tags: listed("tags") };
}

/** The library has no function for it. The request is that of Python's `HfApi.create_tag`. */
export async function createTag(
  connection: Connection,
  fetch: typeof globalThis.fetch,
  { tag, commit, message }: { readonly tag: string; readonly commit: string; readonly message: string },
): Promise<void> {
  const { endpoint, kind, model } = connection;
  await fetch(`${endpoint}/${apiPath(kind, model)}/tag/${commit}`, {
    method: "POST",
    headers: { "content-type": "application/json" },
    body: JSON.stringify({ tag, message }),
  });
}

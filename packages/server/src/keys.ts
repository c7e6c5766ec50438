import { createHash, timingSafeEqual } from "node:crypto";
import { RequestRefusedError } from "./refusal.js";

/**
 * Who calls. Keys are compared as hashes, all of them, in a time that says nothing about them.
 *
 * @param digests of the keys; where there is none, whatever is sent opens, an empty `Authorization` too.
 * @returns which key it was, from 0; undefined where there is none.
 * @throws {RequestRefusedError} 401.
 */
export function checkKey(headers: Headers, digests: readonly Buffer[]): number | undefined {
  if (digests.length === 0) return undefined;
  const [, given] = /^\s*Bearer\s+(\S+)\s*$/i.exec(headers.get("authorization") ?? "") ?? [];
  const digest = digestKey(given ?? "");
  let found: number | undefined;
  for (const [index, one] of digests.entries()) if (timingSafeEqual(one, digest)) found = index;
  if (found !== undefined && given !== undefined) return found;
  throw new RequestRefusedError(
    401,
    given === undefined
      ? "there is no API key. Send the header Authorization: Bearer KEY"
      : "the API key is wrong. Send one that the server was started with",
  );
}

export function digestKey(key: string): Buffer {
  return createHash("sha256").update(key).digest();
}

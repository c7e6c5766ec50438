/**
 * How an answer and a refusal are shaped.
 * - `superset`: Cohere v1 and v2, Jina, llama.cpp, Together, Xinference at once, with fields of our own.
 * - `vllm`: the superset, with every document in it, as vLLM gives it.
 */
export type Dialect = "superset" | "vllm" | "voyage" | "tei" | "infinity";

/** Path prefixes that fix the dialect, for clients whose requests do not tell. */
export const prefixes: Readonly<Record<string, Dialect>> = {
  cohere: "superset",
  jina: "superset",
  voyage: "voyage",
  tei: "tei",
  infinity: "infinity",
  vllm: "vllm",
};

export const prefixPattern: string = `:prefix{${Object.keys(prefixes).join("|")}}`;

/** What the path and the headers say; undefined where the body decides. */
export function dialectOfPath(path: string, headers: Headers): Dialect | undefined {
  const [, first = ""] = path.split("/");
  if (Object.hasOwn(prefixes, first)) return prefixes[first];
  if (headers.get("x-fern-sdk-name") === "voyageai") return "voyage";
  return undefined;
}

/**
 * By the keys that are there, null ones too: Python's voyageai sends `"top_k": null`. Without `documents` a list of
 * `texts` is TEI's, which no other dialect has.
 */
export function dialectOfBody(body: Readonly<Record<string, unknown>>): Dialect {
  const has = (key: string): boolean => Object.hasOwn(body, key);
  const isGiven = (key: string): boolean => has(key) && body[key] !== null;
  if (isGiven("texts") && !isGiven("documents")) return "tei";
  return has("top_k") || has("truncation") ? "voyage" : "superset";
}

import manifest from "../../package.json" with { type: "json" };

/**
 * Key of a pair in a score cache: sha256 over what the session's key stands for and the two texts, as 64 hex digits. Texts
 * are taken as they are, a lone surrogate by its number, so that two pairs have one key only where they are one pair.
 * The packages' version, which they share, is part of it: what one of them has mended is not found under an old key.
 *
 * @param session what `Reranker.cacheKey` gives, with the call's instruction.
 */
export async function pairKey(
  session: string,
  { query, text }: { readonly query: string; readonly text: string },
  subtle: typeof globalThis.crypto.subtle,
): Promise<string> {
  const bytes = new TextEncoder().encode(JSON.stringify(["pair", 1, manifest.version, session, query, text]));
  const digest = new Uint8Array(await subtle.digest("SHA-256", bytes));
  return [...digest].map((byte) => byte.toString(16).padStart(2, "0")).join("");
}

/**
 * sha256 in lower-case hex.
 *
 * @returns undefined where the browser has no SubtleCrypto, as on pages that are neither https nor of this machine.
 */
export async function sha256(content: Blob): Promise<string | undefined> {
  const subtle = globalThis.crypto?.subtle as SubtleCrypto | undefined;
  if (subtle === undefined) return undefined;
  const digest = new Uint8Array(await subtle.digest("SHA-256", await content.arrayBuffer()));
  return [...digest].map((byte) => byte.toString(16).padStart(2, "0")).join("");
}

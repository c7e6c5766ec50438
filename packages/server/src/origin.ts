import { RequestRefusedError } from "./refusal.js";

/**
 * Keeps pages of other origins out. A browser sends a page's `Origin` with each POST; other clients send none. The names
 * of this machine are compared too, so that a name that was pointed at it (DNS rebinding) opens nothing; where a key is
 * needed, that alone opens nothing.
 *
 * @throws {RequestRefusedError} 403.
 */
export function refuseOrigin(headers: Headers, allowed: readonly string[], hasKeys: boolean): void {
  const origin = headers.get("origin");
  if (origin === null || allowed.includes(origin)) return;
  let url: URL | undefined;
  try {
    url = new URL(origin);
  } catch {
    // `null` of a sandboxed page is refused below.
  }
  if (url !== undefined && url.host === headers.get("host") && (hasKeys || isAddress(url.hostname))) return;
  throw new RequestRefusedError(
    403,
    "pages of this origin may not call. Start the server with the origin among those that may",
  );
}

/** A number, or this machine's own name: what no foreign name server decides about. */
function isAddress(hostname: string): boolean {
  return hostname === "localhost" || /^[\d.]+$/.test(hostname) || hostname.startsWith("[");
}

/** Files that this origin keeps from one visit to the next, by their sha256. */
const cacheName = "crossrank-models";

/** What is kept must be found by its content: the same file of another address is the same file. */
function keyOf(sha256: string): string {
  return `https://sha256.invalid/${sha256}`;
}

/** @returns undefined where it is not kept, or the browser keeps nothing. */
export async function readKept(sha256: string): Promise<Blob | undefined> {
  try {
    const response = await (await globalThis.caches?.open(cacheName))?.match(keyOf(sha256));
    return await response?.blob();
  } catch {
    return undefined;
  }
}

/** Keeps a file where there is room for it; a page works without. */
export async function keep(sha256: string, content: Blob): Promise<void> {
  try {
    await (await globalThis.caches?.open(cacheName))?.put(keyOf(sha256), new Response(content));
  } catch {
    // Without room, or in a window that keeps nothing.
  }
}

/** What is kept and is not what it should be. */
export async function forget(sha256: string): Promise<void> {
  try {
    await (await globalThis.caches?.open(cacheName))?.delete(keyOf(sha256));
  } catch {
    // It is checked again when it is read.
  }
}

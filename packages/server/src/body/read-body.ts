import { RequestRefusedError } from "../refusal.js";

/** So much of a body that is too long is read and dropped, since many clients read no answer before they have sent all. */
const drained = 4;

/**
 * The bytes of a body.
 *
 * @param most bytes that it may have. @param patience milliseconds that it may take.
 * @throws {RequestRefusedError} 408, 413, 415.
 * @throws the request's own abort reason when the client has gone.
 */
export async function readBody(request: Request, most: number, patience: number): Promise<Uint8Array> {
  const encoding = request.headers.get("content-encoding") ?? "identity";
  if (encoding !== "identity") {
    throw new RequestRefusedError(415, "bodies with a content-encoding are not read. Send the JSON as it is");
  }
  if (request.body === null) return new Uint8Array();
  const reader = request.body.getReader();
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<never>((_resolve, reject) => {
    timer = setTimeout(
      () =>
        reject(new RequestRefusedError(408, `the body did not arrive within ${patience} ms. Send it faster`)),
      patience,
    );
  });
  const chunks: Uint8Array[] = [];
  let size = 0;
  try {
    while (true) {
      const { done, value } = await Promise.race([reader.read(), late]);
      if (done) break;
      size += value.byteLength;
      if (size <= most) chunks.push(value);
      else chunks.length = 0;
      if (size > most * drained) throw tooLong(most);
    }
  } catch (error) {
    // Not awaited: a client that sends nothing more would hold it up.
    reader.cancel().catch(() => undefined);
    throw error;
  } finally {
    clearTimeout(timer);
  }
  if (size > most) throw tooLong(most);
  return chunks.length === 1 && chunks[0] !== undefined ? chunks[0] : Buffer.concat(chunks, size);
}

function tooLong(most: number): RequestRefusedError {
  return new RequestRefusedError(
    413,
    `the body is longer than ${most} bytes. Send fewer or shorter documents`,
  );
}

import { createHash } from "node:crypto";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { hashFile, readThrough } from "@crossrank/disk";
import { afterAll, beforeAll, expect, it } from "vitest";

const megabyte = 1 << 20;
let folder = "";
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "crossrank-read-"));
});
afterAll(() => rm(folder, { recursive: true }));

/** No two megabytes of it are alike. */
const content = Buffer.from(
  Array.from({ length: 2 * megabyte + 3 }, (_, index) => (index * 7919 + (index >> 20)) & 255),
);
const sha256 = (bytes: Uint8Array): string => createHash("sha256").update(bytes).digest("hex");

it.each([0, 1, megabyte - 1, megabyte, megabyte + 1, 2 * megabyte + 3])(
  "hashes a file of %i bytes",
  async (size) => {
    const path = join(folder, `${size}`);
    const bytes = content.subarray(0, size);
    await writeFile(path, bytes);
    const told: number[] = [];
    expect(await hashFile(path, { onRead: (read) => told.push(read) })).toBe(sha256(bytes));
    expect(told).toEqual(
      Array.from({ length: Math.ceil(size / megabyte) }, (_, index) =>
        Math.min(size, (index + 1) * megabyte),
      ),
    );
    for (const end of [0, 1, megabyte, size]) {
      const hash = createHash("sha256");
      await readThrough(path, (piece) => hash.update(piece), { end });
      expect(hash.digest("hex")).toBe(sha256(bytes.subarray(0, end)));
    }
  },
);

it("ends with the signal's reason, and with the system's error", async () => {
  const path = join(folder, "aborted");
  await writeFile(path, content);
  const reason = new Error("enough");
  const controller = new AbortController();
  const onRead = (): void => controller.abort(reason);
  await expect(hashFile(path, { signal: controller.signal, onRead })).rejects.toBe(reason);
  await expect(hashFile(path, { signal: controller.signal })).rejects.toBe(reason);
  await expect(hashFile(join(folder, "nothing"))).rejects.toMatchObject({ code: "ENOENT" });
});

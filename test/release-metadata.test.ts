import { spawnSync } from "node:child_process";
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { afterEach, beforeEach, expect, test } from "vitest";

const script = fileURLToPath(new URL("../scripts/release-metadata.mjs", import.meta.url));
let root: string;

/** A workspace of one package. */
beforeEach(() => {
  root = mkdtempSync(join(tmpdir(), "crossrank-release-"));
  mkdirSync(join(root, "packages", "core"), { recursive: true });
  writeFileSync(
    join(root, "packages", "core", "package.json"),
    '{ "name": "@crossrank/core", "version": "0.0.0" }',
  );
});

afterEach(() => rmSync(root, { recursive: true }));

function release(repository: unknown): { status: number | null; stderr: string } {
  writeFileSync(join(root, "package.json"), JSON.stringify({ repository }));
  return spawnSync(process.execPath, [script, "--root", root], { encoding: "utf8" });
}

const manifest = (): Record<string, unknown> =>
  JSON.parse(readFileSync(join(root, "packages", "core", "package.json"), "utf8"));

test.each([
  ["", /is empty\. Write the repository's address/],
  ["somewhere", /is "somewhere", which is no https address/],
])("publishing refuses the address %j, and writes nothing", (address, message) => {
  const { status, stderr } = release(address);
  expect(status).toBe(1);
  expect(stderr).toMatch(message);
  expect(manifest()).toEqual({ name: "@crossrank/core", version: "0.0.0" });
});

test("the address is written into the packages, and twice gives the same", () => {
  for (let round = 0; round < 2; round += 1) {
    expect(release("https://example.org/owner/name.git").status).toBe(0);
    expect(manifest()).toEqual({
      name: "@crossrank/core",
      version: "0.0.0",
      homepage: "https://example.org/owner/name/tree/main/packages/core#readme",
      bugs: { url: "https://example.org/owner/name/issues" },
      repository: { type: "git", url: "git+https://example.org/owner/name.git", directory: "packages/core" },
    });
  }
});

import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import { root } from "./documents/blocks.js";

interface Examples {
  readonly packTarballs: (folder: string) => Promise<ReadonlyMap<string, string>>;
  readonly runExample: (options: {
    readonly name: string;
    readonly tarballs: ReadonlyMap<string, string>;
    readonly folder: string;
    readonly version: string;
  }) => Promise<{ readonly outcome: "ok" | "failed" | "skipped"; readonly words: string }>;
}

const { packTarballs, runExample } = (await import(join(root, "scripts/examples.mjs"))) as Examples;

/** Two of them; `.ci/long examples` runs every project, on four lines of Node. */
const names = ["express", "langchain"];

let folder: string;
let tarballs: ReadonlyMap<string, string>;
beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), "crossrank-examples-"));
  tarballs = await packTarballs(join(folder, "tarballs"));
}, 600_000);
afterAll(() => rmSync(folder, { recursive: true, force: true }));

test.each(names)(
  "%s, installed with plain npm from the packed packages, builds and ranks",
  async (name) => {
    const { outcome, words } = await runExample({ name, tarballs, folder, version: process.versions.node });
    expect(outcome, words).not.toBe("failed");
  },
  900_000,
);

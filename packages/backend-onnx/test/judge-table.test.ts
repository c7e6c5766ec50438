import { readdirSync, readFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { readGraph, readNodes, withLocalFile } from "@crossrank/formats/onnx";
import { describe, expect, test } from "vitest";
import { judgeTable } from "../src/judge-table.js";

const packages = fileURLToPath(new URL("../../", import.meta.url));

/** Graphs of this repository, by the folder of their model. */
const graphs = ["conformance/fixtures", "backend-onnx/test/fixtures"].flatMap((place) =>
  readdirSync(join(packages, place), { recursive: true, encoding: "utf8" })
    .map((path) => join(place, path))
    .filter((path) => path.endsWith(".onnx")),
);

async function judged(path: string, change: (config: Record<string, unknown>) => unknown) {
  const local = join(packages, path);
  const nodes = await withLocalFile(local, readNodes);
  const summary = await withLocalFile(local, readGraph);
  if (nodes === undefined || summary === undefined) return "unread";
  return judgeTable(nodes, summary, change(configOf(path)));
}

function configOf(path: string): Record<string, unknown> {
  for (const folder of [dirname(path), dirname(dirname(path))]) {
    try {
      return JSON.parse(readFileSync(join(packages, folder, "config.json"), "utf8")) as Record<
        string,
        unknown
      >;
    } catch {
      // It may lie one folder higher.
    }
  }
  return {};
}

describe("the table of a graph against config.json", () => {
  test("is that of every model here, and of no other", async () => {
    const found = { right: 0, wide: 0, rows: 0, silent: 0 };
    for (const path of graphs) {
      expect(await judged(path, (config) => config), path).toBeUndefined();
      found.right += 1;
      const { hidden_size, vocab_size } = configOf(path);
      if (typeof hidden_size !== "number" || typeof vocab_size !== "number") continue;
      const wide = await judged(path, (config) => ({ ...config, hidden_size: hidden_size * 2 }));
      const rows = await judged(path, (config) => ({ ...config, vocab_size: vocab_size + 1 }));
      if (wide === undefined && rows === undefined) found.silent += 1;
      if (wide !== undefined) found.wide += 1;
      if (rows !== undefined) found.rows += 1;
    }
    console.info(JSON.stringify(found));
    expect(found.right).toBeGreaterThan(10);
    expect(found.silent).toBe(0);
  });

  test("says which, and names the option base", async () => {
    const path = join("conformance/fixtures", "bert-logit", "onnx", "model.onnx");
    const problem = await judged(path, (config) => ({ ...config, hidden_size: 1024 }));
    expect(problem).toMatchObject({
      problem: expect.stringMatching(
        /^its embedding table ".*" has 32 numbers a token, and config\.json has hidden_size 1024/,
      ),
      fix: expect.stringContaining("`base`"),
    });
    expect(await judged(path, () => ({}))).toBeUndefined();
    expect(await judged(path, () => undefined)).toBeUndefined();
    expect(await judged(path, () => ({ vocab_size: "x", hidden_size: null }))).toBeUndefined();
  });
});

import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { expect, test } from "vitest";
import { judgeTable } from "../src/judge-table.js";
import { readGraph } from "../src/operators.js";

const packages = fileURLToPath(new URL("../../", import.meta.url));
/** Those made of a model of the suite, whose name comes first; others are graphs alone. */
const fixtures = readdirSync(join(packages, "backend-mnn/test/fixtures")).filter((name) =>
  /_.*\.mnn$/.test(name),
);

test.each(fixtures)("the table of %s is that of its own model, and of no other", async (name) => {
  const graph = await readGraph(join(packages, "backend-mnn/test/fixtures", name));
  const own = join(packages, "conformance/fixtures", name.split("_")[0] as string, "config.json");
  const config = JSON.parse(readFileSync(own, "utf8")) as Record<string, unknown>;
  expect(judgeTable(graph, config)).toBeUndefined();
  expect(judgeTable(graph, undefined)).toBeUndefined();
  expect(judgeTable(graph, { ...config, hidden_size: 768 })).toMatchObject({
    problem: expect.stringContaining(
      `${String(config["hidden_size"])} numbers a token, and config.json has hidden_size 768`,
    ),
    fix: expect.stringContaining("`base`"),
  });
  expect(judgeTable(graph, { ...config, vocab_size: 30_522 })).toMatchObject({
    problem: expect.stringMatching(/rows, and config\.json has vocab_size 30522/),
  });
});

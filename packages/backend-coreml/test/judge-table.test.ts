import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { openModelPackage } from "@crossrank/formats/mlpackage";
import { describe, expect, test } from "vitest";
import { judgeTable } from "../src/judge-table.js";

const packages = fileURLToPath(new URL("../../", import.meta.url));
const fixtures = readdirSync(join(packages, "backend-coreml/test/fixtures")).filter((name) =>
  name.endsWith(".mlpackage"),
);

describe("the table of a package against config.json", () => {
  test.each(fixtures)("is that of its own model, and of no other: %s", async (name) => {
    const { model } = await openModelPackage(join(packages, "backend-coreml/test/fixtures", name));
    const own = join(packages, "conformance/fixtures", name.split("_")[0] as string, "config.json");
    const config = JSON.parse(readFileSync(own, "utf8")) as Record<string, unknown>;
    expect(judgeTable(model, config)).toBeUndefined();
    expect(judgeTable(model, undefined)).toBeUndefined();
    expect(judgeTable(model, { ...config, hidden_size: 1024 })).toMatchObject({
      problem: expect.stringMatching(/32 numbers a token, and config\.json has hidden_size 1024/),
      fix: expect.stringContaining("`base`"),
    });
    expect(judgeTable(model, { ...config, vocab_size: 250_002 })).toMatchObject({
      problem: expect.stringMatching(/rows, and config\.json has vocab_size 250002/),
    });
  });
});

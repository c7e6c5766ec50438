import { readFileSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "vitest";
import { allBlocks, documents, placeOf, root } from "./documents/blocks.js";

// What is seen without running anything; reader.test.ts runs the blocks.

/** Languages that reader.test.ts knows what to do with; of `""` what a program prints, or a sketch of a folder. */
const languages = ["", "js", "json", "sh", "ts", "yaml"];

test("every block has a language that is checked", () => {
  const others = allBlocks.filter(({ language }) => !languages.includes(language));
  expect(others.map((block) => `${placeOf(block)}: ${block.language}`)).toEqual([]);
  expect(allBlocks.length).toBeGreaterThan(80);
});

test("JSON is JSON", () => {
  const broken = allBlocks
    .filter(({ language }) => language === "json")
    .filter(({ text }) => {
      try {
        JSON.parse(text);
        return false;
      } catch {
        return true;
      }
    });
  expect(broken.map(placeOf)).toEqual([]);
});

test("the README's program is examples/rerank.mjs", () => {
  const example = readFileSync(join(root, "examples/rerank.mjs"), "utf8").trimEnd();
  expect(allBlocks.filter(({ document }) => document === "README.md").map(({ text }) => text)).toContain(
    example,
  );
});

const manifest = JSON.parse(readFileSync(join(root, "package.json"), "utf8")) as {
  readonly repository: unknown;
};

test("a document that installs our packages says that they are not on npm yet", () => {
  // The address is written at the first release.
  if (manifest.repository !== "") return;
  const silent = documents.filter((document) => {
    const text = readFileSync(join(root, document), "utf8");
    return /npm install[^\n`]*crossrank/.test(text) && !/before the first release/i.test(text);
  });
  expect(silent).toEqual([]);
});

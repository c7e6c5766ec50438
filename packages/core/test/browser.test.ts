import { builtinModules } from "node:module";
import { fileURLToPath } from "node:url";
import { runInNewContext } from "node:vm";
import { build } from "esbuild";
import { expect, it } from "vitest";

const entry = fileURLToPath(new URL("../src/index.ts", import.meta.url));

it("bundles for a browser without one Node import, and works without Node's globals", async () => {
  const { outputFiles, metafile } = await build({
    entryPoints: [entry],
    bundle: true,
    write: false,
    metafile: true,
    minify: true,
    format: "iife",
    globalName: "crossrank",
    platform: "browser",
  });
  const bundle = outputFiles[0]?.text ?? "";
  const imports = Object.values(metafile.inputs).flatMap((input) => input.imports.map(({ path }) => path));
  const node = new Set(builtinModules.flatMap((name) => [name, `node:${name}`]));
  expect(imports.length).toBeGreaterThan(20);
  expect(imports.filter((path) => node.has(path))).toEqual([]);
  // The number moves when someone decides it should: it is what a page pays for core, tokenizer included.
  expect(bundle.length).toBeLessThan(110_000);

  const length = runInNewContext(
    `${bundle}; crossrank.createTextTokenizer(${JSON.stringify(
      (await import("./tokenizers.js")).wordPiece,
    )}, "page").encode("the cat sat", 8).ids.length`,
  );
  expect(length).toBe(3);
});

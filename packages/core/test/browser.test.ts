import { builtinModules } from "node:module";
import { dirname } from "node:path";
import { fileURLToPath } from "node:url";
import { runInNewContext } from "node:vm";
import { build } from "esbuild";
import { expect, it } from "vitest";

const entry = fileURLToPath(new URL("../src/index.ts", import.meta.url));
const encoding = fileURLToPath(new URL("../src/entries/encoding.ts", import.meta.url));

it("bundles for a browser without one Node import, and works without Node's globals", async () => {
  const { outputFiles, metafile } = await build({
    stdin: {
      contents: [entry, encoding].map((path) => `export * from ${JSON.stringify(path)};`).join("\n"),
      resolveDir: dirname(entry),
    },
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
  const length = runInNewContext(
    `${bundle}; crossrank.createTextTokenizer(${JSON.stringify(
      (await import("./tokenizers.js")).wordPiece,
    )}, "page").encode("the cat sat", 8).ids.length`,
  );
  expect(length).toBe(3);
});

it("costs a page little, and the chat template engine only where a model has a chat template", async () => {
  const { metafile } = await build({
    entryPoints: [entry],
    outdir: "bundle",
    bundle: true,
    write: false,
    metafile: true,
    minify: true,
    format: "esm",
    splitting: true,
    platform: "browser",
  });
  const { outputs } = metafile;
  const first =
    Object.keys(outputs).find((name) => outputs[name]?.entryPoint?.endsWith("src/index.ts")) ?? "";
  const needed = new Set([first]);
  for (const name of needed) {
    for (const { path, kind } of outputs[name]?.imports ?? [])
      if (kind === "import-statement") needed.add(path);
  }
  const bytes = [...needed].reduce((sum, name) => sum + (outputs[name]?.bytes ?? 0), 0);
  const inputs = [...needed].flatMap((name) => Object.keys(outputs[name]?.inputs ?? {}));
  expect(inputs.some((path) => path.includes("@huggingface/tokenizers"))).toBe(true);
  expect(inputs.filter((path) => path.includes("@huggingface/jinja"))).toEqual([]);
  // The number moves when someone decides it should: it is what a page pays for core, tokenizer included.
  // 214 kB: 22 kB are the engine for a tokenizer's patterns, which no other one reads alike in every runtime; checks of
  // what files, sessions and callers say took the rest, 7 kB what published models' configurations mean, and 10 kB that a
  // text is tokenised in turns and more forms are read, and 7 kB what to write in place of a misspelt option and of a model or
  // backend that is none, and 2 kB that a value of another type than its option's is refused, and
  // what a card cites. The table of what is not
  // read comes with the first model.
  expect(bytes).toBeLessThan(215_000);
});

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

/** What a page loads before it calls anything: bytes, and the files they are made of. */
async function loadedFirst(imported: string): Promise<{ readonly bytes: number; readonly inputs: string[] }> {
  const { metafile } = await build({
    stdin: { contents: `export ${imported} from ${JSON.stringify(entry)};`, resolveDir: dirname(entry) },
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
  const needed = new Set(Object.keys(outputs).filter((name) => outputs[name]?.entryPoint === "<stdin>"));
  for (const name of needed) {
    for (const { path, kind } of outputs[name]?.imports ?? [])
      if (kind === "import-statement") needed.add(path);
  }
  return {
    bytes: [...needed].reduce((sum, name) => sum + (outputs[name]?.bytes ?? 0), 0),
    inputs: [...needed].flatMap((name) => Object.keys(outputs[name]?.inputs ?? {})),
  };
}

// The numbers move when someone decides they should: they are what a page pays for core, tokenizer included, and lie 2 %
// above what was measured. 22 kB are the engine for a tokenizer's patterns, which no other one reads alike in every
// runtime; checks of what files, sessions and callers say are most of the rest.
it("costs a page little, and the chat template engine only where a model has a chat template", async () => {
  const { bytes, inputs } = await loadedFirst("*");
  expect(inputs.some((path) => path.includes("@huggingface/tokenizers"))).toBe(true);
  // They come with the first model that needs them.
  const later =
    /@huggingface\/jinja|catalogue|tell-tales|quantised|model-card|late-interaction\.|disagreements/;
  expect(inputs.filter((path) => later.test(path))).toEqual([]);
  // Of these, passages of long documents are 11 kB, fusion, calibration and fallbacks 16 kB, the cache of scores 4 kB,
  // a cascade 6 kB.
  expect(bytes).toBeLessThan(280_000);
});

it("costs a page that only ranks less: fusion, fallbacks and the fit of a calibration are not in it", async () => {
  const { bytes, inputs } = await loadedFirst("{ createReranker }");
  expect(inputs.some((path) => path.endsWith("src/profile/read-profile.ts"))).toBe(true);
  const apart = /src\/(fusion|fallback)\/|calibration\/(fit|newton)/;
  expect(inputs.filter((path) => apart.test(path))).toEqual([]);
  expect(bytes).toBeLessThan(250_000);
});

import { execFileSync } from "node:child_process";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath, pathToFileURL } from "node:url";
import { build } from "esbuild";
import { afterAll, describe, expect, it } from "vitest";
import {
  type Backend,
  CrossrankError,
  createReranker,
  InvalidInputError,
  UnsupportedSpecificationError,
} from "../src/index.js";
import { documents, fixture, query, watched } from "./fallback-scene.js";

const { backend } = watched("reference");

describe("specificationVersion", () => {
  it.each(["v9", "v0", "", undefined])(
    "refuses %j, with the versions that are supported",
    async (version) => {
      const other = { ...backend, specificationVersion: version } as unknown as Backend;
      const attempt = createReranker({ model: fixture("bert-logit"), backend: other });
      await expect(attempt).rejects.toThrow(UnsupportedSpecificationError);
      await expect(attempt).rejects.toMatchObject({ found: version, supported: ["v1"] });
    },
  );
});

describe("a session's facts", () => {
  it("are all that a reranker shows of it", async () => {
    await using reranker = await createReranker({ model: fixture("bert-logit"), backend });
    expect(Object.keys(reranker.session).sort()).toEqual([
      "artifact",
      "bounds",
      "capabilities",
      "info",
      "settings",
    ]);
    const { settings } = await reranker.rerank({ query, documents });
    expect(settings).toEqual(reranker.session.settings);
  });
});

describe("typed errors in a minified bundle", () => {
  const folder = mkdtempSync(join(tmpdir(), "crossrank-minified-"));
  afterAll(() => rmSync(folder, { recursive: true }));

  it("keep code and name, and are recognised by another copy", async () => {
    const entry = fileURLToPath(new URL("../src/contract/errors.ts", import.meta.url));
    const outfile = join(folder, "bundle.mjs");
    await build({ entryPoints: [entry], bundle: true, minify: true, format: "esm", outfile });
    const copy = (await import(pathToFileURL(outfile).href)) as typeof import("../src/contract/errors.js");
    const failures = [
      new copy.InvalidInputError("query", "is empty"),
      new copy.BackendRunError({ backend: "toy", problem: "broke" }),
      new copy.DisposedError(),
    ];
    expect(failures.map(({ name }) => name)).toEqual([
      "InvalidInputError",
      "BackendRunError",
      "DisposedError",
    ]);
    expect(failures.map(({ code }) => code)).toEqual(["invalid-input", "backend-run", "disposed"]);
    expect(failures.map((error) => CrossrankError.isInstance(error))).toEqual([true, true, true]);
    expect(failures.map((error) => InvalidInputError.isInstance(error))).toEqual([true, false, false]);
    expect(copy.InvalidInputError.isInstance(new InvalidInputError("a", "b"))).toBe(true);
    // Node's own name for it in a stack trace is that of the class that users know.
    const program = join(folder, "throw.mjs");
    writeFileSync(
      program,
      `import { DisposedError } from "./bundle.mjs"; console.log(new DisposedError().name);`,
    );
    expect(execFileSync(process.execPath, [program], { encoding: "utf8" }).trim()).toBe("DisposedError");
  });
});

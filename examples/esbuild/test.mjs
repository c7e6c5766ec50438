import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { cpSync, mkdtempSync, rmSync } from "node:fs";
import { createRequire } from "node:module";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { promisify } from "node:util";

const execute = promisify(execFile);
const conformance = createRequire(import.meta.url).resolve("@crossrank/conformance/package.json");
/** A folder with a tiny model of chance, which runs in a child process. */
const folder = join(dirname(conformance), "fixtures", "bert-logit");

/** Runs a program for both models, each in a process that has to end by itself. */
async function check(command, args, options = {}) {
  for (const model of ["nano", folder]) {
    const { stdout } = await execute(command, [...args, model], { timeout: 60_000, ...options });
    const results = JSON.parse(stdout);
    assert.equal(results.length, 3);
    if (model === "nano") {
      assert.equal(results[0].index, 1);
      assert.ok(results[0].score > 0.8, stdout);
    }
  }
}

const built = ["external.mjs", "named.mjs", "bundle.mjs", "bundle.cjs", "minified.cjs"];
for (const file of built) await check(process.execPath, [join("out", file)]);

// Without node_modules a bundle cannot work, and says what it is and what to do.
const alone = mkdtempSync(join(tmpdir(), "bundle-"));
try {
  for (const file of ["bundle.mjs", "bundle.cjs", "minified.cjs"]) {
    cpSync(join("out", file), join(alone, file));
    for (const model of ["nano", folder]) {
      const failure = await execute(process.execPath, [file, model], { cwd: alone, timeout: 60_000 }).then(
        () => assert.fail(`${file} ran alone`),
        (error) => error,
      );
      assert.equal(failure.code, 1);
      assert.match(failure.stderr, /is a bundle without it\. .*leave crossrank's packages out of the bundle/);
      assert.match(failure.stderr, /--packages=external/);
      assert.doesNotMatch(failure.stderr, /cannot load|model\.onnx/);
    }
  }
} finally {
  rmSync(alone, { recursive: true });
}
console.log(
  `ok esbuild: ${built.length} bundles ranked 3 documents with 2 models, and 3 alone said what to do`,
);

import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { createRequire } from "node:module";
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

await check("deno", ["run", "--allow-all", "rank.mjs"]);
console.log("ok deno: nano and a folder's model ranked 3 documents, the second first");

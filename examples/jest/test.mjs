import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";

const { status, stderr } = spawnSync("jest", [], {
  env: { ...process.env, NODE_OPTIONS: "--experimental-vm-modules" },
  encoding: "utf8",
  timeout: 110_000,
});
assert.equal(status, 0, stderr);
assert.match(stderr, /Tests: +3 passed, 3 total/);
console.log("ok jest: 3 tests passed, and jest ended by itself");

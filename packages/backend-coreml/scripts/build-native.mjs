#!/usr/bin/env node
// Builds the addon from source, on a Mac: native/crossrank-backend-coreml.darwin-<arch>.node.
//
//   node scripts/build-native.mjs           builds where something has changed
//   node scripts/build-native.mjs --check   only says whether it could; exit code 1 and the missing tool if not
//
// CARGO_TARGET_DIR moves the build folder, e.g. to where CI keeps it between runs.
import { spawnSync } from "node:child_process";
import { copyFileSync, renameSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";

const native = fileURLToPath(new URL("../native", import.meta.url));
const target = process.env.CARGO_TARGET_DIR ?? join(native, "target");
const leastRust = [1, 88];

const missing = missingTools();
if (missing.length > 0) {
  console.error("@crossrank/backend-coreml: the addon cannot be built here.");
  for (const line of missing) console.error(`  ${line}`);
  process.exit(1);
}
if (process.argv.includes("--check")) {
  console.log("@crossrank/backend-coreml: everything that building the addon needs is here");
  process.exit(0);
}

const built = spawnSync("cargo", ["build", "--release", "--locked", "--target-dir", target], {
  cwd: native,
  stdio: "inherit",
});
if (built.status !== 0) {
  const reason = built.error?.message ?? `exit code ${built.status}`;
  console.error(`@crossrank/backend-coreml: cargo failed (${reason})`);
  process.exit(1);
}
const addon = join(native, `crossrank-backend-coreml.darwin-${process.arch}.node`);
// Into its place by renaming: a process that has the old one mapped keeps it whole.
const staged = `${addon}.${process.pid}`;
copyFileSync(join(target, "release", "libcrossrank_backend_coreml.dylib"), staged);
renameSync(staged, addon);
console.log(`@crossrank/backend-coreml: built ${addon}`);

function missingTools() {
  if (process.platform !== "darwin") {
    return [
      "Core ML is on macOS only. On Linux `node scripts/check-native.mjs` type-checks and links the addon for it.",
    ];
  }
  const missing = [];
  const { status, stdout } = spawnSync("cargo", ["--version"], { encoding: "utf8", timeout: 60_000 });
  const [, major = "0", minor = "0"] = /(\d+)\.(\d+)/.exec(stdout ?? "") ?? [];
  if (status !== 0) {
    missing.push("cargo: Rust is not installed. Install it with rustup");
  } else if (Number(major) === leastRust[0] && Number(minor) < leastRust[1]) {
    const found = `${major}.${minor}`;
    missing.push(`cargo: Rust ${found} is too old, ${leastRust.join(".")} is needed. Run \`rustup update\``);
  }
  if (spawnSync("xcrun", ["--sdk", "macosx", "--show-sdk-path"]).status !== 0) {
    missing.push("xcrun: Apple's command line tools are not installed. Run `xcode-select --install`");
  }
  return missing;
}

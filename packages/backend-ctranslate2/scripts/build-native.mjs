#!/usr/bin/env node
// Builds the addon from source: native/crossrank-backend-ctranslate2.<platform>.node, and in ctranslate2-<platform>/
// beside it the libraries that it is linked to. CTranslate2 itself is not compiled: its library is that of the Python package's
// wheel (scripts/native-sources.mjs), its headers those of the crate ct2rs. docs/decisions/0016-ctranslate2.md says why.
//
//   node scripts/build-native.mjs           builds where something has changed
//   node scripts/build-native.mjs --check   only says whether it could; exit code 1 and the missing tool if not
//
// CARGO_TARGET_DIR moves the build folder, e.g. to where CI keeps it between runs; the wheel is kept in it. PYTHON names
// a Python 3 with pip.
import { spawnSync } from "node:child_process";
import { copyFileSync, existsSync, mkdirSync, readdirSync, renameSync, rmSync } from "node:fs";
import { basename, join } from "node:path";
import { fileURLToPath } from "node:url";
import { fetchLibraries, findHeaders, platformName, python, wheels } from "./native-sources.mjs";

const native = fileURLToPath(new URL("../native", import.meta.url));
const target = process.env.CARGO_TARGET_DIR ?? join(native, "target");
const leastRust = [1, 88];
const name = "@crossrank/backend-ctranslate2";

const missing = missingTools();
if (missing.length > 0) {
  console.error(`${name}: the addon cannot be built here. Missing:`);
  for (const { tool, why, fix } of missing) console.error(`  ${tool}: ${why}. ${fix}`);
  process.exit(1);
}
if (process.argv.includes("--check")) {
  console.log(`${name}: everything that building the addon needs is here`);
  process.exit(0);
}

const include = findHeaders(native);
const folderName = `ctranslate2-${platformName()}`;
const { library, all } = fetchLibraries(join(target, "wheel"));

const jobs = process.env.CARGO_BUILD_JOBS === undefined ? [] : ["--jobs", process.env.CARGO_BUILD_JOBS];
const built = spawnSync("cargo", ["build", "--release", "--locked", "--target-dir", target, ...jobs], {
  cwd: native,
  stdio: "inherit",
  env: {
    ...process.env,
    CROSSRANK_CTRANSLATE2_INCLUDE: include,
    CROSSRANK_CTRANSLATE2_LIBRARY: library,
    CROSSRANK_CTRANSLATE2_FOLDER: folderName,
  },
});
if (built.status !== 0) {
  console.error(`${name}: cargo failed (${built.error?.message ?? `exit code ${built.status}`})`);
  process.exit(1);
}
const libraries = {
  linux: "libcrossrank_backend_ctranslate2.so",
  darwin: "libcrossrank_backend_ctranslate2.dylib",
  win32: "crossrank_backend_ctranslate2.dll",
};
const folder = join(native, folderName);
mkdirSync(folder, { recursive: true });
// Libraries of another version would stay otherwise.
const current = new Set(all.map((path) => basename(path)));
for (const file of readdirSync(folder)) if (!current.has(file)) rmSync(join(folder, file));
for (const path of all) {
  if (!existsSync(join(folder, basename(path)))) place(path, join(folder, basename(path)));
}
const addon = join(native, `crossrank-backend-ctranslate2.${platformName()}.node`);
place(join(target, "release", libraries[process.platform] ?? libraries.linux), addon);
console.log(`${name}: built ${addon}`);

/** By renaming: a process that has the old one mapped keeps it whole. */
function place(from, to) {
  const staged = `${to}.${process.pid}`;
  copyFileSync(from, staged);
  renameSync(staged, to);
}

function missingTools() {
  const tools = [];
  const cargo = versionOf("cargo");
  if (cargo === undefined) {
    tools.push({ tool: "cargo", why: "Rust is not installed", fix: "Install it with rustup" });
  } else if (cargo[0] < leastRust[0] || (cargo[0] === leastRust[0] && cargo[1] < leastRust[1])) {
    const why = `Rust ${cargo.join(".")} is too old, ${leastRust.join(".")} is needed`;
    tools.push({ tool: "cargo", why, fix: "Update it with `rustup update`" });
  }
  const compilers =
    process.env.CXX === undefined ? ["c++", "g++", "clang++"] : [process.env.CXX.split(" ")[0]];
  if (process.platform !== "win32" && compilers.every((compiler) => versionOf(compiler) === undefined)) {
    tools.push({ tool: "a C++ compiler", why: "CTranslate2's interface is C++", fix: hint("g++") });
  }
  if (wheels[platformName()] === undefined) {
    const why = `there is no wheel of CTranslate2 for ${platformName()}`;
    tools.push({
      tool: "CTranslate2's library",
      why,
      fix: `There are some for ${Object.keys(wheels).join(", ")}`,
    });
  } else if (spawnSync(python, ["-m", "pip", "--version"]).status !== 0) {
    const why = `${python} -m pip does not run, and fetches CTranslate2's library`;
    tools.push({ tool: "pip", why, fix: `${hint("python3-pip")}, or name another Python in PYTHON` });
  }
  return tools;
}

/** First version in what `tool --version` prints; undefined where there is none to run. */
function versionOf(tool) {
  const { status, stdout } = spawnSync(tool, ["--version"], { encoding: "utf8", timeout: 60_000 });
  if (status !== 0) return undefined;
  const [, major = "0", minor = "0"] = /(\d+)\.(\d+)/.exec(stdout) ?? [];
  return [Number(major), Number(minor)];
}

function hint(debian) {
  return process.platform === "linux"
    ? `On Debian and Ubuntu: apt-get install ${debian}`
    : "Install a C++ compiler and Python 3";
}

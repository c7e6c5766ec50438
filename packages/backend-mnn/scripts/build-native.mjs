#!/usr/bin/env node
// Builds the addon from source: native/crossrank-backend-mnn.<platform>.node. The first build compiles MNN and takes
// about 12 minutes of processor time; what it leaves in native/target makes the next one take seconds.
//
//   node scripts/build-native.mjs           builds where something has changed
//   node scripts/build-native.mjs --check   only says whether it could; exit code 1 and the missing tool if not
//
// CARGO_TARGET_DIR moves the build folder, e.g. to where CI keeps it between runs.
import { spawnSync } from "node:child_process";
import { copyFileSync, existsSync, readdirSync, renameSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";

const native = fileURLToPath(new URL("../native", import.meta.url));
const target = process.env.CARGO_TARGET_DIR ?? join(native, "target");
const leastRust = [1, 88];

const missing = missingTools();
if (missing.length > 0) {
  console.error("@crossrank/backend-mnn: the addon cannot be built here. Missing:");
  for (const { tool, why, fix } of missing) console.error(`  ${tool}: ${why}. ${fix}`);
  process.exit(1);
}
if (process.argv.includes("--check")) {
  console.log("@crossrank/backend-mnn: everything that building the addon needs is here");
  process.exit(0);
}

const jobs = process.env.CARGO_BUILD_JOBS === undefined ? [] : ["--jobs", process.env.CARGO_BUILD_JOBS];
const built = spawnSync("cargo", ["build", "--release", "--locked", "--target-dir", target, ...jobs], {
  cwd: native,
  stdio: "inherit",
});
if (built.status !== 0) {
  console.error(
    `@crossrank/backend-mnn: cargo failed (${built.error?.message ?? `exit code ${built.status}`})`,
  );
  process.exit(1);
}
const libraries = {
  linux: "libcrossrank_backend_mnn.so",
  darwin: "libcrossrank_backend_mnn.dylib",
  win32: "crossrank_backend_mnn.dll",
};
const addon = join(native, `crossrank-backend-mnn.${platformName()}.node`);
// Into its place by renaming: a process that has the old one mapped keeps it whole.
const staged = `${addon}.${process.pid}`;
copyFileSync(join(target, "release", libraries[process.platform] ?? libraries.linux), staged);
renameSync(staged, addon);
console.log(`@crossrank/backend-mnn: built ${addon}`);

function missingTools() {
  const cargo = versionOf("cargo");
  const tools = [];
  if (cargo === undefined) {
    tools.push({ tool: "cargo", why: "Rust is not installed", fix: "Install it with rustup" });
  } else if (cargo[0] < leastRust[0] || (cargo[0] === leastRust[0] && cargo[1] < leastRust[1])) {
    const why = `Rust ${cargo.join(".")} is too old, ${leastRust.join(".")} is needed`;
    tools.push({ tool: "cargo", why, fix: "Update it with `rustup update`" });
  }
  if (versionOf("cmake") === undefined) {
    tools.push({ tool: "cmake", why: "it configures MNN's build", fix: hint("cmake") });
  }
  const compilers =
    process.env.CXX === undefined ? ["c++", "g++", "clang++"] : [process.env.CXX.split(" ")[0]];
  if (process.platform !== "win32" && compilers.every((compiler) => versionOf(compiler) === undefined)) {
    tools.push({ tool: "a C++ compiler", why: "MNN is written in C++", fix: hint("g++") });
  }
  if (!hasLibclang()) {
    const why = "the mnn-sys crate reads MNN's headers with it";
    tools.push({ tool: "libclang", why, fix: `${hint("libclang-dev")}, or set LIBCLANG_PATH to its folder` });
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

/** In the places where the clang-sys crate looks for it, as far as they are usual. */
function hasLibclang() {
  const own = process.env.LIBCLANG_PATH;
  if (own !== undefined) return existsSync(own);
  const { status, stdout } = spawnSync("llvm-config", ["--libdir"], { encoding: "utf8" });
  const folders = [
    ...(status === 0 ? [stdout.trim()] : []),
    ...below("/usr/lib").filter((folder) => /^\/usr\/lib\/(llvm|[a-z0-9_]+-linux-gnu)/.test(folder)),
    ...below("/usr/lib").flatMap((folder) => (folder.includes("/llvm") ? [join(folder, "lib")] : [])),
    "/usr/lib64",
    "/usr/local/lib",
    "/Library/Developer/CommandLineTools/usr/lib",
    "/Applications/Xcode.app/Contents/Developer/Toolchains/XcodeDefault.xctoolchain/usr/lib",
    "/opt/homebrew/opt/llvm/lib",
    "C:\\Program Files\\LLVM\\bin",
  ];
  // clang-sys loads libclang.so, libclang-<version>.so and libclang.so.<version>, and not libclang-cpp.
  return folders.some((folder) =>
    files(folder).some((name) => /^libclang(-[\d.]+)?\.(so|dylib|dll)/.test(name)),
  );
}

function below(folder) {
  return files(folder).map((name) => join(folder, name));
}

function files(folder) {
  try {
    return readdirSync(folder);
  } catch {
    return [];
  }
}

function hint(debian) {
  return process.platform === "linux"
    ? `On Debian and Ubuntu: apt-get install ${debian}`
    : "Install LLVM and CMake";
}

/** As src/native.ts has it. */
function platformName() {
  const { platform, arch } = process;
  if (platform === "win32") return `win32-${arch}-msvc`;
  if (platform !== "linux") return `${platform}-${arch}`;
  return `linux-${arch}-${process.report.getReport().header.glibcVersionRuntime === undefined ? "musl" : "gnu"}`;
}

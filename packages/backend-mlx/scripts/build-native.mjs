#!/usr/bin/env node
// Builds the addon from source: native/crossrank-backend-mlx.<platform>.node, and beside it native/mlx-<platform>, MLX's
// own libraries. MLX itself is not compiled: its headers and its library are taken from its wheel on PyPI, and on Linux
// OpenBLAS from SciPy's. Versions and sha256 stand in native/requirements-*.txt. About a minute of processor time the
// first time.
//
//   node scripts/build-native.mjs           builds where something has changed
//   node scripts/build-native.mjs --check   only says whether it could; exit code 1 and the missing tool if not
//
// CARGO_TARGET_DIR moves the build folder, e.g. to where CI keeps it between runs; the wheels are kept there too. PYTHON is
// a Python with pip.
import { spawnSync } from "node:child_process";
import {
  copyFileSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
} from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";

const native = fileURLToPath(new URL("../native", import.meta.url));
const target = process.env.CARGO_TARGET_DIR ?? join(native, "target");
const python = process.env.PYTHON ?? (process.platform === "win32" ? "python" : "python3");
const leastRust = [1, 88];
const name = "@crossrank/backend-mlx";

/** What of the wheel each platform needs beside the addon, and what the addon is called. */
const platforms = {
  "linux-x64-gnu": { requirements: "requirements-cpu.txt", addon: "libcrossrank_backend_mlx.so" },
  "linux-arm64-gnu": { requirements: "requirements-cpu.txt", addon: "libcrossrank_backend_mlx.so" },
  "win32-x64-msvc": { requirements: "requirements-cpu.txt", addon: "crossrank_backend_mlx.dll" },
  "darwin-arm64": { requirements: "requirements-metal.txt", addon: "libcrossrank_backend_mlx.dylib" },
};
const platform = platformName();
const { requirements, addon } = platforms[platform] ?? {};
if (requirements === undefined) {
  console.error(
    `${name}: MLX has no library for ${platform}; there is one for ${Object.keys(platforms).join(", ")}`,
  );
  process.exit(1);
}

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

const wheel = fetchWheel(requirements);
const blas = platform.startsWith("linux-") ? fetchWheel("requirements-blas.txt") : undefined;
// A name of its own: the addon finds its libraries by it, and two platforms may lie in one folder.
const libraries = `mlx-${platform}`;
const jobs = process.env.CARGO_BUILD_JOBS === undefined ? [] : ["--jobs", process.env.CARGO_BUILD_JOBS];
run("cargo", ["build", "--release", "--locked", "--target-dir", target, ...jobs], {
  MLX_ROOT: join(wheel, "mlx"),
  MLX_LIBRARIES: libraries,
  ...(blas === undefined ? {} : { BLAS_ROOT: join(blas, "scipy_openblas32") }),
});
copyLibraries();
put(join(target, "release", addon), join(native, `crossrank-backend-mlx.${platform}.node`));
console.log(`${name}: built ${join(native, `crossrank-backend-mlx.${platform}.node`)}`);

/**
 * Downloads a wheel, checks it, and unpacks it.
 *
 * @param requirements a file with one line, and its sha256s. @returns the folder that it is in.
 */
function fetchWheel(requirements) {
  const wheels = join(target, "mlx-wheel");
  const [, wheelName, version] = /^([\w-]+)==([\d.]+)/m.exec(
    readFileSync(join(native, requirements), "utf8"),
  );
  const unpacked = join(wheels, `${wheelName}-${platform}-${version}`);
  if (existsSync(unpacked)) return unpacked;
  mkdirSync(wheels, { recursive: true });
  const folder = mkdtempSync(join(wheels, "fetch-"));
  const pip = ["-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--no-deps"];
  const checked = ["--only-binary", ":all:", "--require-hashes", "--requirement", join(native, requirements)];
  run(python, [...pip, ...checked, "--dest", folder]);
  const [file] = readdirSync(folder).filter((one) => one.endsWith(".whl"));
  const whole = join(folder, "whole");
  run(python, ["-m", "zipfile", "--extract", join(folder, file), whole]);
  renameSync(whole, unpacked);
  rmSync(folder, { recursive: true });
  return unpacked;
}

/** MLX's library with what it brings, in one folder: the addon's path holds for the libraries of its libraries. */
function copyLibraries() {
  const folder = join(native, libraries);
  mkdirSync(folder, { recursive: true });
  // Windows looks for an addon's libraries in the addon's own folder.
  const folders = platform.startsWith("win32-") ? [folder, native] : [folder];
  for (const place of ["mlx", "mlx/lib", "mlx_cpu.libs"]) {
    for (const file of existsSync(join(wheel, place)) ? readdirSync(join(wheel, place)) : []) {
      if (!/\.(so|dylib|metallib|dll)(\.|$)/.test(file)) continue;
      for (const one of folders) put(join(wheel, place, file), join(one, file));
    }
  }
  if (blas === undefined) return;
  put(join(blas, "scipy_openblas32/lib/libscipy_openblas.so"), join(folder, "libscipy_openblas.so"));
  const facts = readdirSync(blas).find((one) => one.endsWith(".dist-info"));
  put(join(blas, facts, "licenses/LICENSE.txt"), join(folder, "libscipy_openblas.LICENSE.txt"));
}

/** Into its place by renaming: a process that has the old one mapped keeps it whole. */
function put(from, to) {
  const staged = `${to}.${process.pid}`;
  copyFileSync(from, staged);
  renameSync(staged, to);
}

function run(command, given, environment = {}) {
  const { status, error } = spawnSync(command, given, {
    cwd: native,
    stdio: "inherit",
    env: { ...process.env, ...environment },
  });
  if (status === 0) return;
  console.error(`${name}: ${command} failed (${error?.message ?? `exit code ${status}`})`);
  process.exit(1);
}

function missingTools() {
  const cargo = versionOf("cargo");
  const tools = [];
  if (cargo === undefined) {
    tools.push({ tool: "cargo", why: "Rust is not installed", fix: "Install it with rustup" });
  } else if (cargo[0] < leastRust[0] || (cargo[0] === leastRust[0] && cargo[1] < leastRust[1])) {
    const why = `Rust ${cargo.join(".")} is too old, ${leastRust.join(".")} is needed`;
    tools.push({ tool: "cargo", why, fix: "Update it with `rustup update`" });
  }
  const compilers =
    process.env.CXX === undefined ? ["c++", "g++", "clang++"] : [process.env.CXX.split(" ")[0]];
  // Of Windows cargo knows where Microsoft's compiler is, and says so where there is none.
  if (process.platform !== "win32" && compilers.every((compiler) => versionOf(compiler) === undefined)) {
    tools.push({ tool: "a C++ compiler", why: "MLX's headers are C++20", fix: hint("g++") });
  }
  if (spawnSync(python, ["-m", "pip", "--version"]).status !== 0) {
    const fix = `${hint("python3-venv")}, make a venv, and set PYTHON to its python`;
    tools.push({ tool: "pip", why: `${python} has none, and MLX's wheel is fetched with it`, fix });
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
    : "Install Xcode's command line tools and Python";
}

/** As src/native.ts has it. */
function platformName() {
  const { platform: system, arch } = process;
  if (system === "win32") return `win32-${arch}-msvc`;
  if (system !== "linux") return `${system}-${arch}`;
  return `linux-${arch}-${process.report.getReport().header.glibcVersionRuntime === undefined ? "musl" : "gnu"}`;
}

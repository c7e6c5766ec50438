#!/usr/bin/env node
// Checks the Mac's half on Linux: tests what of the addon needs no Core ML, compiles all of it for Apple Silicon against
// the real bindings, links it against hand-written stubs of Apple's libraries (native/stubs), and looks into the result.
// What it cannot show is that the addon runs.
//
//   node scripts/check-native.mjs             checks; exit code 1 and the missing tools where some are missing
//   node scripts/check-native.mjs --tools     only says whether the tools are there
//   node scripts/check-native.mjs --install   installs what is missing first, from Debian's packages (apt-get; asks for
//                                             root's rights)
//
// Rust needs its standard library for Apple Silicon. Where rustup has it (rustup target add aarch64-apple-darwin), that
// is taken; otherwise it is compiled from its source, as Debian packages it with a newer compiler (rustc-web).
//
// CARGO_TARGET_DIR moves the build folder, e.g. to where CI keeps it between runs.
import { spawnSync } from "node:child_process";
import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { readDynamicLibrary } from "./mach-o.mjs";

const target = "aarch64-apple-darwin";
const native = fileURLToPath(new URL("../native", import.meta.url));
const builds = process.env.CARGO_TARGET_DIR ?? join(native, "target");
/** Newest first; older ones link no file for macOS that is signed. */
const compilers = [22, 21, 20, 19, 18, 17, 16];
const toInstall = "19";
const start = performance.now();

/** Debian's compiler for the web, which comes with the source of its own standard library. */
const packaged = {
  rustc: "/usr/bin/rustc",
  cargo: "/usr/bin/cargo",
  source: "/usr/lib/rustlib/src/rust/library",
};
const packagedNames = ["rustc-web", "cargo-web", "rust-web-src"];

if (process.argv.includes("--install")) install();
const clang = findClang();
const rust = findRust();
const missing = missingTools();
if (missing.length > 0) {
  console.error("check-native: these tools are missing (--install installs those that Debian has):");
  for (const line of missing) console.error(`  ${line}`);
  process.exit(1);
}
if (process.argv.includes("--tools")) {
  console.log("check-native: every tool is here");
  process.exit(0);
}

run("tests of what needs no Core ML", "cargo", ["test", "--locked", "--quiet", "--target-dir", builds], {});
const buildArguments = [
  "build",
  "--locked",
  "--target",
  target,
  "--target-dir",
  rust.builds,
  ...rust.options,
];
run("compiled and linked for Apple Silicon", rust.cargo, buildArguments, {
  ...rust.variables,
  // The C file of one dependency is Objective-C; rustc has clang find the linker, as on a Mac.
  CC_aarch64_apple_darwin: clang,
  CARGO_TARGET_AARCH64_APPLE_DARWIN_LINKER: clang,
  CARGO_TARGET_AARCH64_APPLE_DARWIN_RUSTFLAGS: `-Dwarnings -Clink-arg=--target=arm64-apple-macos -Clink-arg=-fuse-ld=lld`,
  SDKROOT: join(native, "stubs"),
});
const problems = inspect(join(rust.builds, target, "debug", "libcrossrank_backend_coreml.dylib"));
for (const problem of problems) console.error(`check-native: ${problem}`);
if (problems.length > 0) process.exit(1);
console.log(`check-native: all is well, in ${seconds()} s`);

/** What is wrong with the linked file. */
function inspect(path) {
  const library = readDynamicLibrary(readFileSync(path));
  const problems = [];
  const { architecture, oldestSystem, signed } = library;
  if (architecture !== "arm64") problems.push(`the file is for ${architecture}`);
  if (oldestSystem !== "13.0") problems.push(`the file asks for macOS ${oldestSystem}`);
  if (!signed) problems.push("the file is not signed, and Apple Silicon runs no such file");
  for (const name of ["CoreML.framework", "Foundation.framework", "libobjc"]) {
    if (!library.libraries.some((path) => path.includes(name))) problems.push(`${name} is not linked`);
  }
  if (library.exports.join() !== "_napi_register_module_v1") {
    problems.push(
      `exported is ${library.exports.join(", ") || "nothing"}, and not napi_register_module_v1 alone`,
    );
  }
  // Those of Node and of the C library are looked up at run time. Apple's must be bound to the library they are in.
  const loose = library.lookedUp.filter((name) =>
    /^_+(objc|OBJC|NS|ML|CF|class_|method_|object_|sel_|Block)/.test(name),
  );
  if (loose.length > 0) problems.push(`no stub has ${loose.join(", ")}`);
  console.log(
    `  ${library.libraries.length} libraries, ${library.bound.length} symbols bound to them, ` +
      `${library.lookedUp.length} to be looked up at run time`,
  );
  return problems;
}

function run(what, cargo, cargoArguments, variables) {
  const { status, error } = spawnSync(cargo, cargoArguments, {
    cwd: native,
    stdio: ["ignore", "inherit", "inherit"],
    // Flags of the caller's would replace ours.
    env: { ...process.env, RUSTFLAGS: undefined, CARGO_ENCODED_RUSTFLAGS: undefined, ...variables },
  });
  if (status !== 0) {
    console.error(`check-native: not ${what}: cargo failed (${error?.message ?? `exit code ${status}`})`);
    process.exit(1);
  }
  console.log(`  ${what}, after ${seconds()} s`);
}

function missingTools() {
  const missing = [];
  if (process.platform === "win32") missing.push("Linux or macOS: this check was written for them");
  if (outputOf("cargo", ["--version"]) === undefined) {
    missing.push("cargo: Rust is not installed. Install it with rustup");
    return missing;
  }
  if (rust === undefined) {
    missing.push(
      `Rust's standard library for Apple Silicon: rustup target add ${target}, or apt-get install ${packagedNames.join(" ")}`,
    );
  }
  if (clang === undefined) {
    missing.push(
      `clang and ld64.lld of the same version, ${compilers.at(-1)} or later: apt-get install clang-${toInstall} lld-${toInstall}`,
    );
  }
  return missing;
}

/** A compiler that can compile for Apple Silicon, and what it has to be told. */
function findRust() {
  const sysroot = outputOf("rustc", ["--print", "sysroot"]);
  if (sysroot !== undefined && existsSync(join(sysroot, "lib", "rustlib", target, "lib"))) {
    return { cargo: "cargo", builds, options: [], variables: {} };
  }
  if (!Object.values(packaged).every((path) => existsSync(path))) return undefined;
  return {
    cargo: packaged.cargo,
    // Apart from what another compiler built.
    builds: join(builds, "packaged"),
    options: ["-Z", "build-std=std,panic_abort"],
    // Building the standard library is for compilers of the day only, unless one insists.
    variables: { RUSTC: packaged.rustc, RUSTC_BOOTSTRAP: "1" },
  };
}

/** Path of a clang that has ld64.lld beside it. */
function findClang() {
  const folders = compilers.map((version) => `/usr/lib/llvm-${version}/bin`);
  const folder = folders.find((folder) =>
    ["clang", "ld64.lld"].every((tool) => existsSync(join(folder, tool))),
  );
  return folder === undefined ? undefined : join(folder, "clang");
}

function install() {
  const packages = [
    ...(findRust() === undefined ? packagedNames : []),
    ...(findClang() === undefined ? [`clang-${toInstall}`, `lld-${toInstall}`] : []),
  ];
  if (packages.length === 0) return;
  const root = process.getuid?.() === 0 ? [] : ["sudo"];
  for (const [command, ...commandArguments] of [
    [...root, "apt-get", "update", "--quiet"],
    [...root, "apt-get", "install", "--quiet", "--yes", "--no-install-recommends", ...packages],
  ]) {
    console.log(`check-native: ${[command, ...commandArguments].join(" ")}`);
    if (spawnSync(command, commandArguments, { stdio: "inherit" }).status !== 0) process.exit(1);
  }
}

function outputOf(command, commandArguments) {
  const { status, stdout } = spawnSync(command, commandArguments, { cwd: native, encoding: "utf8" });
  return status === 0 ? stdout.trim() : undefined;
}

function seconds() {
  return Math.round((performance.now() - start) / 1000);
}

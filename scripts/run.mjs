// What `npm run demo`, `npm test` and their kin do on a machine that has Node and npm and nothing else: fetch the
// pinned pnpm through npm, install from the lockfile, build what is needed, run.
import { spawnSync } from "node:child_process";
import { cpSync, existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { homedir, tmpdir } from "node:os";
import path from "node:path";
import { fileURLToPath } from "node:url";
import { isBuilt } from "./built-files.mjs";
import { withoutCertificates } from "./without-certificates.mjs";

const root = fileURLToPath(new URL("..", import.meta.url));
const { packageManager } = JSON.parse(readFileSync(path.join(root, "package.json"), "utf8"));
/** The current LTS line, beside the oldest that is supported. */
const ltsNode = "node@26.10.0";

const environment = {
  ...process.env,
  TURBO_TELEMETRY_DISABLED: "1",
  DO_NOT_TRACK: "1",
  npm_config_update_notifier: "false",
};

/** Runs a command in the repository root; ends this process with its exit code when it fails. */
const run = (command, ...args) => runIn(root, command, ...args);

/** The same in another folder. */
function runIn(folder, command, ...args) {
  const { status, error } = spawnSync(command, args, {
    cwd: folder,
    env: environment,
    stdio: "inherit",
    // npm is a .cmd file on Windows, which only a shell can start.
    shell: process.platform === "win32" && command === "npm",
  });
  if (error) throw error;
  if (status !== 0) process.exit(status ?? 1);
}

const pnpmIn = (folder, ...args) =>
  runIn(folder, "npm", "exec", "--yes", `--package=${packageManager}`, "--", "pnpm", ...args);
const pnpm = (...args) => pnpmIn(root, ...args);
const node = (...args) => run(process.execPath, ...args);
const install = () => pnpm("install", "--frozen-lockfile");
const build = (...names) => node("scripts/build.mjs", ...names);

/** Standard output of a command in the repository root. */
function outputOf(command, ...args) {
  const { status, stdout, error } = spawnSync(command, args, {
    cwd: root,
    env: environment,
    encoding: "utf8",
    maxBuffer: 1 << 28,
    stdio: ["ignore", "pipe", "inherit"],
    shell: process.platform === "win32" && command === "npm",
  });
  if (error) throw error;
  if (status !== 0) process.exit(status ?? 1);
  return stdout;
}

/**
 * A machine unlike the one that the tests were written on: summer time by three quarters of an hour, a language whose
 * capital of i is not I, a narrow terminal, a home with nothing in it.
 */
function elsewhere(home) {
  // LC_ALL would have bash complain wherever the language is not installed; Node reads LANG.
  const { LC_ALL: _all, LC_MESSAGES: _messages, ...others } = withoutCertificates(environment);
  return {
    ...others,
    TZ: "Pacific/Chatham",
    LANG: "tr_TR.UTF-8",
    COLUMNS: "47",
    // Of what is sampled (test/sample.ts) another part than in the first run.
    CROSSRANK_SEED: "11",
    HOME: home,
    USERPROFILE: home,
    // The compiler lies in the real home.
    CARGO_HOME: environment["CARGO_HOME"] ?? path.join(homedir(), ".cargo"),
    RUSTUP_HOME: environment["RUSTUP_HOME"] ?? path.join(homedir(), ".rustup"),
  };
}

/**
 * A clone with what is not committed yet, installed and built, in a folder as `git clone` names it, below one with a
 * space and a letter that is not ASCII.
 *
 * @returns the folder that holds it (to be removed), the clone, and an empty folder for HOME
 */
function cloneElsewhere() {
  const parent = mkdtempSync(path.join(tmpdir(), "crossrank test é "));
  const folder = path.join(parent, "crossrank");
  const home = path.join(parent, "home");
  mkdirSync(home);
  run("git", "clone", "--quiet", "--no-checkout", root, folder);
  runIn(folder, "git", "reset", "--quiet");
  const own = outputOf("git", "ls-files", "-z", "--cached", "--others", "--exclude-standard").split("\0");
  const built = outputOf(
    "git",
    "ls-files",
    "-z",
    "--others",
    "--ignored",
    "--exclude-standard",
    "--directory",
  )
    .split("\0")
    .filter(isBuilt);
  for (const file of [...new Set([...own, ...built])]) {
    // Named by git, and deleted here.
    if (file === "" || !existsSync(path.join(root, file))) continue;
    cpSync(path.join(root, file), path.join(folder, file), { recursive: true });
  }
  pnpmIn(folder, "install", "--frozen-lockfile", "--prefer-offline");
  return { parent, folder, home };
}

/** What the documents show, the projects of examples/, and the benches: programs of minutes, as a reader runs them. */
const shown = ["test/reader.test.ts", "test/examples.test.ts", "bench/test/run.test.ts"];

/**
 * Those, and what else a reader makes or has: pages in a browser, bundles, a backend, odd places to run in. `npm run
 * test:reader` runs them.
 */
const readers = [
  ...shown,
  "bench/test/scale.test.ts",
  "packages/backend-web/test/conformance.test.ts",
  "packages/backend-web/test/web.test.ts",
  "packages/crossrank/test/bundles.test.ts",
  "packages/crossrank/test/odd-places.test.ts",
  "packages/crossrank/test/outsider.test.ts",
];

/**
 * Long proofs in small that have a file of their own: hostile and mutated files, kills, planted faults, load. `npm run
 * test:proofs` runs them, a step of `.ci/run`; `.ci/long` runs them in full.
 */
const proofs = [
  ...[
    "backend-coreml",
    "backend-ctranslate2",
    "backend-llamacpp",
    "backend-mnn",
    "backend-onnx",
    "formats",
  ].map((name) => `packages/${name}/test/mutated.test.ts`),
  "packages/backend-llamacpp/test/damaged-quantised.test.ts",
  "packages/conformance/test/planted-faults.test.ts",
  "packages/convert/test/hostile-sources.test.ts",
  "packages/convert/test/shared-output.test.ts",
  "packages/core/test/held-loop.test.ts",
  "packages/crossrank/test/full-disk.test.ts",
  "packages/crossrank/test/kills.test.ts",
  "packages/eval/test/run-corruption.test.ts",
  "packages/eval/test/run-limits.test.ts",
  "packages/formats/test/mlpackage-hostile.test.ts",
  "packages/hub/test/hostile-sample.test.ts",
  "packages/server/test/load.test.ts",
  "test/soak.test.ts",
];

/**
 * What the first run of CI has tried and another Node, place or language does not change: what has no Node in it,
 * numbers that are computed in this repository's own code or in an addon whose loading and life other files try, seeded
 * samples of long proofs, and what the documents say.
 */
const placeless = [
  "bench/test/**",
  "packages/*/test/mutated.test.ts",
  "packages/backend-coreml/test/{conformance,native-check}.test.ts",
  "packages/backend-{ctranslate2,mlx,mnn}/test/conformance.test.ts",
  "packages/backend-llamacpp/test/{convert-fixtures,convert-layout,damaged-quantised,quantised}.test.ts",
  "packages/conformance/test/{planted-faults,reference-backend}.test.ts",
  "packages/convert/test/{hostile-sources,late,mlpackage-convert,mlpackage-numbers,mnn,onnx,onnx-file,reference}.test.ts",
  "packages/core/test/held-loop.test.ts",
  "packages/crossrank/test/{kills,published}.test.ts",
  "packages/eval/test/{compare,metrics,run-corruption,run-limits,statistics,ties}.test.ts",
  "packages/formats/test/mlpackage-hostile.test.ts",
  ...shown,
];

/**
 * Runs the tests with the given launcher, and prints the counts of the real results as the last line.
 *
 * @param options.folderOfTests where they lie, as an absolute path
 * @param options.files those that run; without any, all
 * @param options.excluded patterns of test files that are left out
 */
function test(launch, { folderOfTests = root, files = [], excluded = [] } = {}) {
  // Vitest takes a name for a part of a path, and one that nothing has any more would be left out in silence.
  for (const file of files) {
    if (!existsSync(path.join(folderOfTests, file))) throw new Error(`There is no test file ${file}.`);
  }
  const folder = mkdtempSync(path.join(tmpdir(), "crossrank-test-"));
  const file = path.join(folder, "results.json");
  const vitest = path.join("node_modules", "vitest", "vitest.mjs");
  const { status, error } = launch(
    vitest,
    "run",
    "--reporter=default",
    "--reporter=json",
    `--outputFile.json=${file}`,
    ...files,
    ...excluded.flatMap((pattern) => ["--exclude", pattern]),
    // Of `npm test -- FILE…`.
    ...process.argv.slice(3),
  );
  if (error) throw error;
  const results = JSON.parse(readFileSync(file, "utf8"));
  rmSync(folder, { recursive: true });
  // A file that fails to load counts as a failure too, although none of its tests ran.
  const brokenFiles = results.testResults.filter(
    (result) => result.status === "failed" && result.assertionResults.every((one) => one.status !== "failed"),
  ).length;
  const failed = results.numFailedTests + brokenFiles;
  // Named once more at the end, where a log that was cut still has them.
  for (const { name, message, status: outcome, assertionResults } of results.testResults) {
    if (outcome !== "failed") continue;
    const file = path.relative(folderOfTests, name);
    const failures = assertionResults.filter((one) => one.status === "failed");
    if (failures.length === 0) console.log(`FAILED ${file}: ${message.split("\n")[0]}`);
    for (const { fullName, failureMessages } of failures)
      console.log(`FAILED ${file}: ${fullName}: ${(failureMessages[0] ?? "").split("\n")[0]}`);
  }
  const skipped = results.numPendingTests + results.numTodoTests;
  console.log(
    `\n${results.numPassedTests} passed, ${failed} failed${skipped > 0 ? `, ${skipped} skipped` : ""}`,
  );
  return status === 0 && failed === 0 && results.numPassedTests > 0 ? 0 : 1;
}

/** Starts Node on a test runner's arguments. */
const launcher =
  (binary, folder = root, variables = environment) =>
  (...args) =>
    spawnSync(binary, args, { cwd: folder, env: variables, stdio: "inherit" });

const commands = {
  demo: {
    help: "rerank the documents in examples/ with the embedded model",
    run() {
      install();
      build("crossrank");
      node(
        "packages/crossrank/bin/crossrank.js",
        "rerank",
        "--query",
        "How do vaccines teach the immune system to recognise a virus?",
        "--documents",
        "examples/documents.jsonl",
      );
    },
  },
  build: {
    help: "install, and build every package",
    run() {
      install();
      build();
    },
  },
  test: {
    help: "build, and run the tests on this Node",
    run() {
      install();
      build();
      // A file that is named runs, whatever it is.
      const isNamed = process.argv.length > 3;
      // test/cores.mjs says why.
      environment.CROSSRANK_TEST_CORES ??= "1";
      const variables = isNamed ? environment : withoutCertificates(environment);
      process.exit(
        test(launcher(process.execPath, root, variables), {
          excluded: isNamed ? [] : [...readers, ...proofs],
        }),
      );
    },
  },
  "test-proofs": {
    help: "build, and run the long proofs in small that have files of their own: hostile files, kills, planted faults, load",
    run() {
      install();
      build();
      environment.CROSSRANK_TEST_CORES ??= "1";
      process.exit(
        test(launcher(process.execPath, root, withoutCertificates(environment)), { files: proofs }),
      );
    },
  },
  "test-reader": {
    help: "build, and run what a reader does: documents, examples, benches, pages, bundles, an own backend",
    run() {
      install();
      build();
      process.exit(test(launcher(process.execPath), { files: readers }));
    },
  },
  "test-lts": {
    help: `what depends on Node or the place again: on ${ltsNode}, in a clone elsewhere, with another language and time zone`,
    run() {
      install();
      build();
      const printed = outputOf(
        "npm",
        "exec",
        "--yes",
        `--package=${ltsNode}`,
        "--",
        "node",
        "-p",
        "process.execPath",
      );
      const { parent, folder, home } = cloneElsewhere();
      const code = test(launcher(printed.trim(), folder, elsewhere(home)), {
        folderOfTests: folder,
        excluded: placeless,
      });
      rmSync(parent, { recursive: true, force: true });
      process.exit(code);
    },
  },
  check: {
    help: "lint, format, types, the public API, and the packed packages (publint, attw)",
    async run() {
      install();
      node("node_modules/@biomejs/biome/bin/biome", "ci", ".");
      pnpm("exec", "turbo", "run", "build", "typecheck", "--output-logs=errors-only");
      node("scripts/api-report.mjs", "--check");
      await checkPackages();
    },
  },
  bench: {
    help: "hold crossrank beside every engine that does the same work, in one run",
    run() {
      install();
      build();
      node("bench/run.mjs", ...process.argv.slice(3));
    },
  },
};

/** Stages every public package as it is published, examines the tarballs, and installs and runs them elsewhere. */
async function checkPackages() {
  const { stage } = await import("./release/stage.mjs");
  const folder = mkdtempSync(path.join(tmpdir(), "crossrank-pack-"));
  const tarballsFolder = path.join(folder, "tarballs");
  mkdirSync(tarballsFolder);
  const { packages } = await stage({ root, folder: tarballsFolder, platforms: "here" });
  for (const { name, tarball, manifest } of packages) {
    // A package of a platform holds an addon, and no module.
    if (manifest.os !== undefined || manifest.cpu !== undefined) continue;
    console.log(`\n${name}`);
    node("node_modules/publint/src/cli.js", "--strict", tarball);
    // ESM only, by decision: every supported Node can require() it.
    node("node_modules/@arethetypeswrong/cli/dist/index.js", "--profile", "esm-only", tarball);
  }
  const user = path.join(folder, "user");
  mkdirSync(user);
  writeFileSync(path.join(user, "package.json"), '{ "private": true }\n');
  // An adapter would bring its framework along.
  const installed = packages.filter(({ manifest }) => manifest.peerDependencies?.crossrank === undefined);
  run(
    "npm",
    "install",
    "--prefix",
    user,
    "--no-audit",
    "--no-fund",
    ...installed.map(({ tarball }) => tarball),
  );
  node(
    path.join(user, "node_modules", "crossrank", "bin", "crossrank.js"),
    "rerank",
    "--query",
    "which animal barks?",
    "--documents",
    path.join(root, "examples", "documents.jsonl"),
    "--top-n",
    "1",
  );
  rmSync(folder, { recursive: true });
}

const command = commands[process.argv[2] ?? ""];
if (command === undefined) {
  console.error(
    `usage: node scripts/run.mjs COMMAND\n${Object.entries(commands)
      .map(([name, { help }]) => `  ${name.padEnd(11)} ${help}`)
      .join("\n")}`,
  );
  process.exit(2);
}
await command.run();

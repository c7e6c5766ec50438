import { availableParallelism } from "node:os";
import { relative, sep } from "node:path";
import { fileURLToPath } from "node:url";
import { defineConfig, type ViteUserConfig } from "vitest/config";
import { BaseSequencer, type TestSpecification } from "vitest/node";

const root = fileURLToPath(new URL(".", import.meta.url));
// pnpm's shim of `vitest` sets it, and `require` then finds packages that a reader's machine does not have.
delete process.env["NODE_PATH"];
/** In a package's folder `vitest run` finds this file, and runs that package. */
const here = relative(root, process.cwd()).split(sep).join("/");

/**
 * Tests that leave nothing behind in their process: a worker loads their modules once for all of its files, where
 * another file has a process of its own. Names of packages, and of their files where it is not all of them, or of those
 * that it is not.
 */
const loadedOnce: Readonly<Record<string, readonly string[]>> = {
  "ai-sdk": ["*"],
  "backend-kit": ["!(host)"],
  conformance: ["*"],
  convert: ["*"],
  core: ["*"],
  crossrank: [
    "!(bundles|fallback|full-disk|kills|odd-places|outsider|process-memory|score-objects|score-workers|serve|terminal)",
    // The pattern takes the beginning of a name for the name.
    "serve-mlx-environment",
  ],
  disk: ["exclusion"],
  eval: ["*"],
  formats: ["*"],
  genkit: ["*"],
  hub: ["*"],
  lancedb: ["*"],
  langchain: ["*"],
  mastra: ["*"],
  "model-nano": ["*"],
  "model-nano-weights": ["*"],
  "score-cache-sqlite": ["*"],
  server: ["!(clients|hostile|listen|load|telemetry)"],
  train: ["data", "mine"],
};

/** The same of those that load a native library: a worker has one of these libraries, and no other. */
const nativeLoadedOnce: Readonly<Record<string, readonly string[]>> = {
  "backend-coreml": ["!(lifecycle)"],
  "backend-ctranslate2": ["!(lifecycle)"],
  "backend-llamacpp": ["!(lifecycle)"],
  "backend-mlx": ["!(lifecycle)"],
  "backend-mnn": ["!(lifecycle)"],
  "backend-onnx": ["!(lifecycle)"],
};

/** Patterns of those that are run here. */
const filesOf = (table: Readonly<Record<string, readonly string[]>>): string[] =>
  Object.entries(table)
    .filter(([name]) => `packages/${name}/`.startsWith(here && `${here}/`))
    .flatMap(([name, files]) => files.map((file) => `packages/${name}/**/test/**/${file}.test.ts`));

/** Projects whose files share processes, by name, in the order in which they run. */
const natives = Object.entries(nativeLoadedOnce).map(
  ([name, files]) => [name, filesOf({ [name]: files })] as const,
);
const together = filesOf(loadedOnce);
const folders = here === "" ? ["packages/*", "!(packages|node_modules)", "."] : [here];
// Left out by a pattern, and not by `exclude`: with one of its own a project does not hear of the command's `--exclude`.
const alone = [
  ...folders.map((folder) => (folder === "." ? "test/**/*.test.ts" : `${folder}/**/test/**/*.test.ts`)),
  ...[...natives.flatMap(([, patterns]) => patterns), ...together].map((pattern) => `!${pattern}`),
];

/**
 * Files that take twenty seconds and more on two cores, the longest first: what starts last should be short, or one core
 * waits for the other. In each project those come first that stand here, in this order.
 */
const slowest = [
  "test/reader.test.ts",
  "packages/backend-web/test/conformance.test.ts",
  "packages/crossrank/test/ci.test.ts",
  "packages/backend-web/test/web.test.ts",
  "packages/crossrank/test/convert.test.ts",
  "packages/crossrank/test/auto-conversion.test.ts",
  "packages/crossrank/test/eval.test.ts",
  "packages/backend-llamacpp/test/conformance.test.ts",
  "packages/crossrank/test/train.test.ts",
  "packages/backend-onnx/test/conformance.test.ts",
  "packages/crossrank/test/terminal.test.ts",
  "packages/crossrank/test/publish.test.ts",
  "packages/backend-onnx/test/lifecycle.test.ts",
  "packages/backend-llamacpp/test/lifecycle.test.ts",
  "packages/crossrank/test/published.test.ts",
  "packages/backend-kit/test/host.test.ts",
  "packages/backend-mnn/test/conformance.test.ts",
  "packages/crossrank/test/score-workers.test.ts",
  "packages/backend-mlx/test/conformance.test.ts",
  "packages/crossrank/test/odd-places.test.ts",
  "packages/backend-mlx/test/lifecycle.test.ts",
  "packages/core/test/fallback-budget.test.ts",
  "packages/convert/test/reference.test.ts",
  "packages/convert/test/mnn.test.ts",
  "packages/crossrank/test/cascade.test.ts",
  "packages/crossrank/test/reference.test.ts",
  "packages/crossrank/test/pick.test.ts",
  "packages/crossrank/test/download.test.ts",
  "packages/crossrank/test/rerank.test.ts",
  "packages/convert/test/mlpackage-numbers.test.ts",
  "packages/crossrank/test/compare.test.ts",
  "packages/crossrank/test/base.test.ts",
  "packages/backend-mnn/test/load.test.ts",
  "packages/conformance/test/reference-backend.test.ts",
  "packages/conformance/test/planted-faults.test.ts",
  "packages/server/test/page.test.ts",
  "packages/crossrank/test/usage.test.ts",
  "packages/crossrank/test/serve.test.ts",
  "packages/crossrank/test/coreml.test.ts",
  "packages/backend-mnn/test/lifecycle.test.ts",
  "packages/crossrank/test/bench.test.ts",
  "packages/backend-llamacpp/test/wrong-files.test.ts",
  "packages/backend-onnx/test/hostile.test.ts",
  "packages/backend-llamacpp/test/convert-fixtures.test.ts",
  "packages/mcp/test/crossrank-mcp.test.ts",
];

/** The longest files have a process of their own or load a library; what starts last are the many short ones. */
const order = [...natives.map(([name]) => name), "alone", "together"];

class LongestFirst extends BaseSequencer {
  override async sort(files: TestSpecification[]): Promise<TestSpecification[]> {
    const rank = ({ moduleId, project }: TestSpecification): number => {
      const at = slowest.findIndex((path) => moduleId.endsWith(`/${path}`));
      // A worker that loads once ends when another project's turn comes between its own.
      return (at === -1 ? slowest.length : at) + order.indexOf(project.name) * (slowest.length + 1);
    };
    return (await super.sort(files)).sort((left, right) => rank(left) - rank(right));
  }
}

/**
 * Real runtimes on two cores that others may share: a slow machine must not look like a failure. What `.ci/long` proves
 * takes its time. Said here, because projects do not hear of the command's own `--testTimeout`.
 */
const testTimeout = process.env["CROSSRANK_LONG"] === undefined ? 180_000 : 3_600_000;

// One configuration for the whole repository.
const config: ViteUserConfig = {
  root,
  test: {
    // Twice as many as there are threads, for few: half of the time of a test is waiting for a process, a timer or a
    // server of its own. More would not compute sooner, and each takes its memory.
    maxWorkers: availableParallelism() + Math.min(availableParallelism(), 2),
    sequence: { sequencer: LongestFirst },
    // What is built is Node's to load: nothing of it is transformed, for each project and in each process.
    server: { deps: { external: [/\/packages\/[^/]+\/dist\/.*\.js$/] } },
    // scripts/test-times.mjs measures.
    setupFiles: [
      "cores.mjs",
      ...(process.env["CROSSRANK_TEST_TIMES"] ? ["processor-time.ts"] : []),
      "after-file.ts",
    ].map((name) => fileURLToPath(new URL(`test/${name}`, import.meta.url))),
    testTimeout,
    hookTimeout: testTimeout,
    // By then every result is written: what still holds the process has held nothing else.
    teardownTimeout: 3000,
    projects: [
      ...[...natives, ["together", together] as const].map(([name, include]) => ({
        extends: true as const,
        test: { name, isolate: false, include },
      })),
      { extends: true, test: { name: "alone", include: alone } },
    ].filter(({ test }) => test.include.length > 0),
  },
};

export default defineConfig(config) as ViteUserConfig;

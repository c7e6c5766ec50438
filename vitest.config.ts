import { availableParallelism } from "node:os";
import { relative, sep } from "node:path";
import { fileURLToPath } from "node:url";
import { defineConfig, type ViteUserConfig } from "vitest/config";
import { BaseSequencer, type TestSpecification } from "vitest/node";

const root = fileURLToPath(new URL(".", import.meta.url));
/** In a package's folder `vitest run` finds this file, and runs that package. */
const here = relative(root, process.cwd()).split(sep).join("/");

/**
 * Tests that leave nothing behind in their process: a worker loads their modules once for all of its files, where
 * another file has a process of its own. Names of packages, and of their files where it is not all of them.
 */
const loadedOnce: Readonly<Record<string, readonly string[]>> = {
  "ai-sdk": ["*"],
  "backend-coreml": ["activated-output", "compiled-model-cache", "compute-plan", "descriptor", "judge-*"],
  "backend-llamacpp": ["convert-classes", "gguf-header"],
  "backend-mnn": ["activated-output", "judge-*"],
  "backend-onnx": ["file-marks", "graph-plan", "judge-*", "settings"],
  convert: ["*"],
  core: ["*"],
  crossrank: [
    "artifact-contract*",
    "calibrate",
    "card",
    "consumer",
    "convert-outsider",
    "display",
    "failure",
    "file-option",
    "first-mistakes",
    "input",
    "inspect*",
    "lazy-reranker",
    "models",
    "open-reranker",
    "pull",
    "reference",
    "rerank",
    "residency",
    "separated-values",
    "serve-mlx-environment",
    "usage",
    "verify",
  ],
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
  server: [
    "cascade",
    "dialects",
    "long-documents",
    "models",
    "page",
    "python-clients",
    "rules",
    "token-queue",
  ],
  train: ["data", "mine"],
};
const together = Object.entries(loadedOnce)
  .filter(([name]) => `packages/${name}/`.startsWith(here && `${here}/`))
  .flatMap(([name, files]) => files.map((file) => `packages/${name}/**/test/**/${file}.test.ts`));
const folders = here === "" ? ["packages/*", "!(packages|node_modules)", "."] : [here];
// Left out by a pattern, and not by `exclude`: with one of its own a project does not hear of the command's `--exclude`.
const alone = [
  ...folders.map((folder) => (folder === "." ? "test/**/*.test.ts" : `${folder}/**/test/**/*.test.ts`)),
  ...together.map((pattern) => `!${pattern}`),
];

/**
 * Files of fifteen seconds and more, the longest first: what starts last should be short, or one core waits for the
 * other. Those that share a process (`together`) come last, in the same order.
 */
const slowest = [
  "test/reader.test.ts",
  "packages/backend-mlx/test/conformance.test.ts",
  "packages/crossrank/test/ci.test.ts",
  "packages/backend-web/test/conformance.test.ts",
  "packages/crossrank/test/convert.test.ts",
  "packages/backend-llamacpp/test/conformance.test.ts",
  "packages/crossrank/test/eval.test.ts",
  "packages/backend-onnx/test/conformance.test.ts",
  "packages/backend-kit/test/host.test.ts",
  "packages/crossrank/test/auto-conversion.test.ts",
  "packages/core/test/fallback-budget.test.ts",
  "packages/convert/test/mnn.test.ts",
  "packages/crossrank/test/train.test.ts",
  "packages/backend-onnx/test/lifecycle.test.ts",
  "packages/crossrank/test/publish.test.ts",
  "packages/backend-llamacpp/test/lifecycle.test.ts",
  "packages/crossrank/test/published.test.ts",
  "packages/backend-mlx/test/lifecycle.test.ts",
  "packages/crossrank/test/odd-places.test.ts",
  "packages/crossrank/test/reference.test.ts",
  "packages/convert/test/reference.test.ts",
  "packages/crossrank/test/terminal.test.ts",
  "packages/backend-web/test/web.test.ts",
  "packages/crossrank/test/coreml.test.ts",
  "packages/backend-mnn/test/lifecycle.test.ts",
  "packages/backend-onnx/test/hostile.test.ts",
  "packages/convert/test/mlpackage-numbers.test.ts",
  "packages/crossrank/test/fallback.test.ts",
];

class LongestFirst extends BaseSequencer {
  override async sort(files: TestSpecification[]): Promise<TestSpecification[]> {
    const rank = ({ moduleId, project }: TestSpecification): number => {
      const at = slowest.findIndex((path) => moduleId.endsWith(`/${path}`));
      // A worker that loads once ends when another file's turn comes between its own.
      return (at === -1 ? slowest.length : at) + (project.config.isolate ? 0 : slowest.length + 1);
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
      { extends: true, test: { name: "together", isolate: false, include: together } },
      { extends: true, test: { name: "alone", include: alone } },
    ].filter(({ test }) => test.include.length > 0),
  },
};

export default defineConfig(config) as ViteUserConfig;

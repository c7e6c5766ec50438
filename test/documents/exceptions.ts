// What the documents show and this repository's tests cannot do as it stands there, each with its reason.

interface Exception {
  /** Of the command's words, joined by spaces, or of the block's place and text. */
  readonly pattern: RegExp;
  readonly reason: string;
}

/** Commands of `crossrank` that end with another code than 0 here. They are run all the same: none is wrong usage. */
export const otherwise: readonly (Exception & { readonly code: number; readonly says: RegExp })[] = [
  {
    pattern: /(BAAI|cross-encoder|mteb|Qwen|mlx-community)\//,
    code: 1,
    says: /ffline/,
    reason: "needs the hub",
  },
  {
    pattern: /lab\/runs|\$CROSSRANK_LAB|lab\/real/,
    code: 1,
    says: /lab\/runs|CROSSRANK_DATA|CROSSRANK_LAB|lab\/real/,
    reason: "needs models that lab/ makes, and tasks that are elsewhere",
  },
  { pattern: /^inspect .*--contract seed$/, code: 1, says: /deviat/, reason: "./my-model is not the seed" },
  { pattern: /^residency \S+\.mlpackage/, code: 1, says: /macOS only/, reason: "needs a Mac" },
  {
    pattern: /--lengths 128,256,512/,
    code: 1,
    says: /Ask for lengths/,
    reason: "the tiny model reads 64 tokens",
  },
  {
    pattern: /^verify .*--tolerance 0\.001$/,
    code: 1,
    says: /further off than/,
    reason: "the tiny model's logits are large, and its package is in half precision",
  },
  {
    pattern: /^eval .*--gate 0\.005$/,
    code: 1,
    says: /gates? failed/,
    reason: "the tiny model's weights are random: what a precision costs it is not for a gate to pass",
  },
  {
    pattern: /^mine .*judged\.jsonl|^train (.*triplets\.jsonl|--config train\.json)|adapted\/model/,
    code: 1,
    says: /cannot read|does not start|does not exist/,
    reason: "trains for minutes on a reader's queries: packages/crossrank/test/train.test.ts",
  },
  {
    pattern: /--to mnn .*--python/,
    code: 1,
    says: /venv/,
    reason: "needs a Python with MNN, which packages/convert and packages/crossrank test with CI's own",
  },
  {
    pattern: /^score .*\/shared\//,
    code: 1,
    says: /redis:\/\/queue:6379|holds no job/,
    reason: "needs a queue and a shared folder: packages/crossrank/test/score-workers.test.ts",
  },
];

/** Other programs than those that the harness knows. */
export const elsewhere: readonly Exception[] = [
  {
    pattern: /^(npx )?crossrank worker\b/,
    reason: "scores until it is ended: packages/crossrank/test/score-workers.test.ts",
  },
  {
    pattern: /^(RERANKER_MODE=mlx .*)?(npx )?crossrank serve\b/,
    reason: "serves until it is ended: packages/crossrank/test/serve.test.ts",
  },
  { pattern: /^(\S*\/)?(python3?|pip)\b/, reason: "Python, for maintainers: lab/README.md" },
  { pattern: /^npx crossrank-web-files\b/, reason: "packages/backend-web/test/fetch-model.test.ts" },
  { pattern: /^export OMP_NUM_THREADS=1$/, reason: "belongs to the training" },
  { pattern: /^(for to in|done$)|\$to\b/, reason: "a loop over formats, of models that lab/ makes" },
];

/** Programs that are checked against the types, and not run. */
export const notRun: readonly Exception[] = [
  { pattern: /^packages\/hub\/README\.md/, reason: "downloads from the hub" },
  {
    pattern: /^docs\/guides\/publishing\.md/,
    reason: "publishes to the hub and reads it back: packages/crossrank/test/publish.test.ts",
  },
  { pattern: /planNative\(/, reason: "needs a Mac" },
  { pattern: /@crossrank\/backend-mlx"/, reason: "downloads from the hub; packages/backend-mlx/test" },
  { pattern: /@crossrank\/backend-ctranslate2"/, reason: "the scene has no artifact of CTranslate2" },
  {
    pattern: /@crossrank\/backend-web"|vite\.config/,
    reason: "runs in a browser: packages/backend-web/test, and examples/browser",
  },
  {
    pattern: /^docs\/guides\/(ai-sdk|langchain|mastra|lancedb|genkit|mcp)\.md/,
    reason: "parts of a reader's program, of which examples/ has whole ones",
  },
  ...(process.env["CROSSRANK_REQUIRE_MNN"]
    ? []
    : [{ pattern: /@crossrank\/backend-mnn"/, reason: "needs MNN's addon, which CI builds" }]),
];

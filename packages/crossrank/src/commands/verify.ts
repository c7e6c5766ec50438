import { loadModel } from "@crossrank/core";
import { type Verification, type VerifiedCase, verifyLoaded } from "@crossrank/core/verify";
import { type Command, Option } from "commander";
import { type Context, print } from "../context.js";
import { CommandError, translateInputError } from "../failure.js";
import { type FoundGoldens, findGoldens, type GoldensOptions } from "../goldens.js";
import { defaultModel, openModelFiles, readProfileFile } from "../model.js";
import { openBackend } from "../open-reranker.js";
import {
  type BackendChoice,
  backendOption,
  modelOptions,
  type ProfiledModelOptions,
  positiveNumber,
  tableOrJson,
} from "../options.js";
import { createProgress } from "../progress.js";
import { alignColumns, toSingleLine } from "../text.js";

interface VerifyCommandOptions extends ProfiledModelOptions, GoldensOptions {
  readonly backend?: BackendChoice;
  readonly tolerance?: number;
  readonly format: "table" | "json";
}

/** One set of goldens and what came of it. */
interface Outcome {
  readonly found: FoundGoldens;
  readonly verification: Verification;
}

const help = `
Goldens are what the model's reference implementation gives for fixed texts: token ids,
segment ids, what is cut, logits and scores. In this order: --goldens, --published, the
model's own golden.json, the scores published for its repository (tokens are not
published, so these compare scores alone).

Passed means: tokens the same, every number finite, and |Δ| within the bound of the
precision that was loaded: 1e-4 for fp32, 2e-2 for fp16 and bf16, for 8 bits a median of
.15 with stable signs; below 8 bits differences are only reported. In a GGUF 1e-2 for F32
and 4e-2 for F16: llama.cpp computes some of it in half precision. The goldens' own
tolerance widens it, --tolerance replaces it.

Examples:
  $ crossrank verify
  $ crossrank verify ./my-model --backend onnx:fp32
  $ crossrank verify ./my-model --backend llamacpp:Q8_0
  $ crossrank verify ./my-model --backend coreml:reference --tolerance 0.001
  $ crossrank verify ./converted --published BAAI/bge-reranker-base
  $ crossrank verify cross-encoder/ms-marco-MiniLM-L6-v2 --format json

Exit code: 0 passed, 1 failed or not verified, 2 wrong usage, 130 interrupted.`;

export function addVerifyCommand(program: Command, context: Context): void {
  const command = program
    .command("verify")
    .summary("hold a model on a backend against its reference implementation")
    .description("Compares token ids, logits and scores with the model's goldens, case by case.")
    .argument("[model]", "folder, repository id, or nano, the embedded model", defaultModel)
    .addOption(backendOption());
  for (const option of modelOptions()) command.addOption(option);
  command
    .addOption(
      new Option("--goldens <file>", "a golden.json to use instead of the model's own").conflicts(
        "published",
      ),
    )
    .option("--published <id>", "repository whose published scores to use, for a model converted from it")
    .option("--tolerance <n>", "largest difference allowed (default: by precision)", positiveNumber)
    .addOption(tableOrJson())
    .addHelpText("after", help)
    .action(async (source: string, options: VerifyCommandOptions) => {
      const outcomes = await run(source, options, context);
      await print(options.format === "json" ? verificationJson(outcomes) : verificationTable(outcomes));
      const failed = outcomes.find(({ verification }) => !verification.passed);
      if (failed === undefined) return;
      const { model, backend, reason } = failed.verification;
      throw new CommandError(
        `${model.id}, ${backend.name} ${model.artifact.dtype}, does not agree with ${failed.found.source}: ${reason}`,
      );
    });
}

async function run(
  source: string,
  options: VerifyCommandOptions,
  { signal, log }: Context,
): Promise<Outcome[]> {
  const progress = createProgress(process.stderr);
  try {
    const profile = await readProfileFile(options.profile);
    const model = await openModelFiles(source, options, signal);
    const sets = await findGoldens(model, options, signal);
    progress.step(`loading ${source}`);
    // Several publications about one model: it is loaded once.
    const asked = { backend: options.backend?.name, dtype: options.backend?.dtype };
    const choice = await openBackend(model, asked, signal);
    const translate = (error: unknown, goldens: string): never => {
      const file = options.profile && `--profile ${options.profile}`;
      throw translateInputError(error, { dtype: "--backend", goldens, profile: file });
    };
    const { backend, dtype } = choice;
    const loading = { model, backend, dtype, profile, signal, onProgress: progress.download };
    const loaded = await loadModel(loading).catch((error: unknown) => translate(error, "goldens"));
    try {
      const outcomes: Outcome[] = [];
      for (const found of sets) {
        log(`comparing ${model.id} with ${found.source}`);
        const verification = await verifyLoaded(loaded, {
          goldens: found.goldens,
          tolerance: options.tolerance,
          signal,
          onScored: progress.scoring,
        }).catch((error: unknown) =>
          translate(error, options.goldens === undefined ? found.source : `--goldens ${options.goldens}`),
        );
        outcomes.push({ found, verification });
      }
      return outcomes;
    } finally {
      await loaded.dispose();
    }
  } finally {
    progress.clear();
  }
}

function verificationJson(outcomes: readonly Outcome[]): string {
  const value = {
    passed: outcomes.every(({ verification }) => verification.passed),
    verifications: outcomes.map(({ found, verification }) => {
      const { passed, reason, summary, bound, model, backend, settings, scale, reference, cases } =
        verification;
      const goldens = { source: found.source, note: found.note ?? null, reference };
      const { id, revision = null, artifact } = model;
      const loaded = { id, revision, artifact };
      return { passed, reason, goldens, model: loaded, backend, settings, scale, bound, summary, cases };
    }),
  };
  // JSON has no NaN, and null would say that a case was not scored.
  const named = (_: string, one: unknown): unknown =>
    typeof one === "number" && !Number.isFinite(one) ? String(one) : one;
  return `${JSON.stringify(value, named, 2)}\n`;
}

function verificationTable(outcomes: readonly Outcome[]): string {
  return outcomes.map(({ found, verification }) => section(found, verification)).join("\n");
}

function section({ source, note }: FoundGoldens, verification: Verification): string {
  const { model, backend, settings, reference, scale, cases, summary, bound, passed, reason } = verification;
  const revision = model.revision === undefined ? "" : ` at ${model.revision.slice(0, 12)}`;
  const versions = Object.entries(reference.versions ?? {}).map((version) => version.join(" "));
  const facts = [
    ["model", `${model.id}${revision}, ${model.artifact.format} ${model.artifact.dtype}`],
    ["backend", `${backend.name} (${backend.runtime.name} ${backend.runtime.version})`],
    ...Object.entries(settings).map(([name, value]) => [name, value]),
    ["scale", scale],
    ["goldens", source],
    ["reference", [reference.name, reference.dtype, ...versions].join(", ")],
    ...(note === undefined ? [] : [["note", note]]),
  ];
  const { compared, maximum, mean, median } = summary;
  const share = (part: number, of: number, what: string): string => `${part} of ${of} ${what}`;
  const results = [
    [
      "tokens",
      summary.tokensCompared === 0
        ? "not given by the source"
        : share(
            summary.tokensCompared - summary.tokensDifferent,
            summary.tokensCompared,
            "sequences are the same",
          ),
    ],
    [
      "numbers",
      `${share(compared, summary.cases, "cases compared")}${
        maximum === null ? "" : `; |Δ| max ${delta(maximum)}, mean ${delta(mean)}, median ${delta(median)}`
      }`,
    ],
    [
      "order",
      summary.orderAgreement === null
        ? "no two cases lie far enough apart to have one"
        : `${(100 * summary.orderAgreement).toFixed(2)} % of ${summary.orderedPairs} pairs of cases are ordered alike`,
    ],
    ["bound", describeBound(bound)],
  ];
  const aligned = (rows: readonly (readonly string[])[]): string[] =>
    alignColumns(
      rows.map((row) => row.map(toSingleLine)),
      ["left", "left"],
    );
  const lines = [
    ...aligned(facts),
    "",
    ...caseTable(cases),
    "",
    ...aligned(results),
    "",
    `${passed ? "PASS" : "FAIL"}: ${toSingleLine(reason)}.`,
  ];
  return `${lines.join("\n")}\n`;
}

function caseTable(cases: readonly VerifiedCase[]): string[] {
  const modes = new Set(cases.map(({ truncation }) => truncation)).size > 1;
  const measures = new Set(cases.map(({ measure }) => measure));
  const unit = measures.size === 1 ? [...measures][0] : "number";
  const rows = cases.map((one) => [
    toSingleLine(one.document === undefined ? one.name : `${one.name}[${one.document}]`),
    ...(modes ? [one.truncation ?? ""] : []),
    { same: "ok", different: "DIFFER", unknown: "–" }[one.tokens],
    number(one.expected),
    one.refused ? "–" : number(one.actual),
    delta(one.delta),
    remark(one),
  ]);
  return alignColumns(
    [["case", ...(modes ? ["truncation"] : []), "tokens", `expected ${unit}`, "actual", "|Δ|", ""], ...rows],
    ["left", ...(modes ? (["left"] as const) : []), "left", "right", "right", "right", "left"],
  );
}

function remark({ refused, expected, actual, difference }: VerifiedCase): string {
  if (difference !== undefined) {
    const { what, position } = difference;
    const [wanted, found] = [difference.expected, difference.actual].map((value) => value ?? "nothing");
    return `${what}${position === undefined ? "" : `[${position}]`} ${found} instead of ${wanted}`;
  }
  if (refused) return "not scored: an empty query";
  return expected === null && actual === null ? "query too long, as expected" : "";
}

function describeBound({ name, maximum, median, signMargin }: Verification["bound"]): string {
  if (maximum !== undefined) return `|Δ| at most ${maximum} (${name})`;
  if (median === undefined) return `none: reported only (${name})`;
  return `median |Δ| at most ${median}${signMargin === undefined ? "" : ", signs stable"} (${name})`;
}

function number(value: number | null): string {
  return value === null ? "–" : value.toFixed(5);
}

/** Differences of float32 and of 4 bits in one notation. */
function delta(value: number | null): string {
  if (value === null) return "–";
  return value === 0 || value >= 1e-3 ? value.toFixed(4) : value.toExponential(1);
}

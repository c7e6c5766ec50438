// A causal reranker on llama.cpp, through crossrank and by hand.
/** @import { BenchModel, Contestant, PartOptions, PartReport } from "../types.js" */
import { execFile } from "node:child_process";
import { existsSync } from "node:fs";
import { mkdtemp, rm } from "node:fs/promises";
import { loadavg, tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { modelFolder } from "@crossrank/model-nano";
import { progress } from "../command.mjs";
import { inNode } from "../contestants/contestants.mjs";
import { makeDocuments } from "../documents.mjs";
import { makeArtifacts } from "../engines/artifacts.mjs";
import { known } from "../engines/report.mjs";
import { describeScored, largestDifference, median } from "../judge.mjs";
import { measure } from "../measure.mjs";
import { pairedRatio } from "../paired.mjs";
import { ratioText } from "./start.mjs";

const here = (/** @type {string} */ path) => fileURLToPath(new URL(path, import.meta.url));
const fixture = here("../../packages/conformance/fixtures/qwen3-yes-no");

/** Each beside crossrank's of the same file, so that it runs next to it. */
const engines = ["F16", "Q8_0"].flatMap((dtype) => [
  { name: `crossrank-${dtype}`, title: `crossrank, llama.cpp ${dtype}`, dtype, module: "crossrank" },
  {
    name: `node-llama-cpp-${dtype}`,
    title: `node-llama-cpp, a prompt after the other, ${dtype}`,
    dtype,
    module: "node-llama-cpp-causal",
  },
]);

/**
 * @param {PartOptions} options
 * @returns {Promise<PartReport>}
 */
export async function run({ documents, rounds, shape }) {
  const folder = await mkdtemp(join(tmpdir(), "crossrank-causal-"));
  try {
    progress("making a causal model");
    const source = join(folder, "source");
    const size = shape === "tiny" ? "tiny" : "small";
    await promisify(execFile)(process.execPath, [here("../model/causal-weights.mjs"), fixture, source, size]);
    const dtypes = [...new Set(engines.map(({ dtype }) => dtype))];
    const artifacts = await makeArtifacts(
      source,
      join(folder, "artifacts"),
      dtypes.map((dtype) => `gguf:${dtype}`),
      progress,
    );
    /** @type {BenchModel} */
    const model = { name: "causal", folder: source, file: "", dtype: "", safetensors: true };
    const contestants = engines.map(({ name, title, dtype, module }) => {
      const artifact = artifacts.found[`gguf:${dtype}`];
      if (artifact === undefined)
        throw new Error(artifacts.missing[`gguf:${dtype}`] ?? `no ${dtype} was made`);
      const options =
        module === "crossrank"
          ? { backend: /** @type {const} */ ("llamacpp"), dtype, settings: { contexts: 1, threads: 1 } }
          : { threads: 1 };
      /** @type {Contestant} */
      const contestant = {
        ...inNode(name, title, module, options),
        setup: { model: { ...model, folder: artifact.folder, file: artifact.file, dtype } },
      };
      return contestant;
    });
    const texts = await makeDocuments(modelFolder, documents);
    // This fixture's tokenizer cuts words into more pieces than a real one's.
    const short = texts.documents.map((text) => text.split(" ").slice(0, 60).join(" "));
    const before = loadavg()[0] ?? 0;
    const { measured, failed } = await measure(
      model,
      contestants,
      { ...texts, documents: short },
      rounds,
      (text) => progress(`causal, ${text}`),
      { patience: { seconds: Number.POSITIVE_INFINITY, rounds } },
    );
    progress("");
    const rows = measured.map(({ contestant, scored, processorSeconds, seconds, peakMemory }) => {
      const dtype = engines.find(({ name }) => name === contestant.name)?.dtype;
      const own = measured.find((one) => one.contestant.name === `crossrank-${dtype}`);
      const [times, others] = [known(processorSeconds), own && known(own.processorSeconds)];
      return {
        name: contestant.name,
        title: contestant.title,
        processor: times && (1000 * median(times)) / scored.logits.length,
        wall: (1000 * median(seconds)) / scored.logits.length,
        ratio: times && others && own?.contestant !== contestant ? pairedRatio(times, others) : undefined,
        difference: own && largestDifference(scored.logits, own.scored.logits, own.scored.truncated),
        peakMemory,
      };
    });
    const [first] = measured;
    if (first === undefined)
      throw new Error(failed.map(({ title, reason }) => `${title}: ${reason}`).join("\n"));
    const { tokens } = describeScored(first.scored).documents;
    const versions = [...new Set(measured.map(({ version }) => version))].join(", ");
    const missing = failed.map(
      ({ title, reason }) => `- **Missing: ${title}**: ${reason.trim().split("\n").at(-1)}`,
    );
    for (const { title, reason } of failed) console.error(`missing: ${title}: ${reason}`);
    const onnx = existsSync(here("../prefix.mjs"))
      ? "ONNX, whose prompts' common beginning is computed once too: `node bench/prefix.mjs`."
      : "**Missing: ONNX**: `crossrank convert` writes none of causal models.";
    return {
      page: [
        `Eight layers of 384, ${short.length} prompts of ${tokens.least} to ${tokens.most} tokens (mean ${tokens.mean.toFixed(0)}), one thread. ${versions}. Load average before ${before.toFixed(1)}, after ${(loadavg()[0] ?? 0).toFixed(1)}.`,
        "",
        "| | processor ms a document | over crossrank's of the same file | wall ms a document | largest Δ logit to crossrank's | peak memory, MB |",
        "|---|---:|---:|---:|---:|---:|",
        ...rows.map(
          ({ title, processor, ratio, wall, difference, peakMemory }) =>
            `| ${[
              title,
              processor?.toPrecision(3) ?? "",
              ratioText(ratio),
              wall.toPrecision(3),
              difference === undefined || title.startsWith("crossrank") ? "" : difference.toExponential(0),
              peakMemory === undefined ? "" : (peakMemory / 1e6).toFixed(0),
            ].join(" | ")} |`,
        ),
        "",
        ...missing,
        onnx,
      ].join("\n"),
      kept: Object.fromEntries(
        rows.map(({ name, processor, ratio }) => [
          name,
          {
            ms: processor && Number(processor.toPrecision(4)),
            ...(ratio && {
              ratio: [ratio.lower, ratio.value, ratio.upper].map((one) => Number(one.toPrecision(4))),
            }),
          },
        ]),
      ),
      report: rows,
    };
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}

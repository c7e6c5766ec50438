// `node bench/gate.mjs`: crossrank's ONNX beside plain onnxruntime-node on the same files, one thread each, in turn. Ends with
// code 1 where crossrank surely costs more than it may. A part of `.ci/long`.
import { parseArgs } from "node:util";
import { modelFolder } from "@crossrank/model-nano";
import { progress } from "./command.mjs";
import { inNode } from "./contestants/contestants.mjs";
import { makeDocuments } from "./documents.mjs";
import { makeSource } from "./engines/play.mjs";
import { known } from "./engines/report.mjs";
import { measure } from "./measure.mjs";
import { readCount } from "./options.mjs";
import { judgePlain, leastRatio, pairedRatio } from "./paired.mjs";

const help = `Fails where plain onnxruntime-node surely takes less than ${leastRatio} × crossrank's processor time.

node bench/gate.mjs [options]
  --rounds N      default 15, each with both in turn
  --documents N   default 24
  --help
`;

const { values } = parseArgs({
  options: {
    rounds: { type: "string", default: "15" },
    documents: { type: "string", default: "24" },
    help: { type: "boolean", default: false },
    // For the tests: a model of this shape alone.
    shape: { type: "string", default: "minilm" },
  },
});
if (values.help) {
  console.log(help);
} else {
  const [rounds, documents] = [readCount("rounds", values.rounds), readCount("documents", values.documents)];
  const texts = await makeDocuments(modelFolder, documents);
  const nano = {
    name: "nano",
    folder: modelFolder,
    file: "onnx/model_int8.onnx",
    dtype: "int8",
    safetensors: false,
  };
  const models = values.shape === "tiny" ? [await makeSource("tiny")] : [await makeSource("minilm"), nano];
  for (const model of models) {
    const settings = { workers: 1, threads: 1 };
    const contestants = [
      inNode("crossrank", "crossrank", "crossrank", { backend: "onnx", dtype: model.dtype, settings }),
      inNode("plain", "plain onnxruntime-node", "onnxruntime", { rows: 1, workers: 0, threads: 1 }),
    ];
    const { measured, failed } = await measure(model, contestants, texts, rounds, progress, {
      patience: { seconds: Number.POSITIVE_INFINITY, rounds },
    });
    progress("");
    for (const { title, reason } of failed) console.error(`${title}: ${reason}`);
    const timesOf = (/** @type {string} */ name) =>
      known(measured.find(({ contestant }) => contestant.name === name)?.processorSeconds ?? []);
    const { passed, sentence } = judgePlain(pairedRatio(timesOf("plain") ?? [], timesOf("crossrank") ?? []));
    console.log(`${passed ? "passed" : "FAILED"}: ${model.name}, ${model.dtype}: ${sentence}`);
    if (!passed) process.exitCode = 1;
  }
}

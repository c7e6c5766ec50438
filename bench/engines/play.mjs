// Plays the tables of engines: one made model, its artifacts, rounds in turn with the floor in the middle of each.
/** @import { BenchModel, EngineTable, Floor, PartOptions, Scored } from "../types.js" */
/** @import { Table } from "./engines.mjs" */
import { execFile } from "node:child_process";
import { mkdtemp, rm } from "node:fs/promises";
import { loadavg, tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { modelFolder } from "@crossrank/model-nano";
import { progress } from "../command.mjs";
import { makeDocuments } from "../documents.mjs";
import { compileFloor, runFloor } from "../floor/floor.mjs";
import { describeScored } from "../judge.mjs";
import { measure } from "../measure.mjs";
import { shapes } from "../model/make-model.mjs";
import { makeArtifacts } from "./artifacts.mjs";
import { artifactsOf, chooseEngines } from "./engines.mjs";
import { judgeEngines } from "./report.mjs";

/** Whose logits the others' are held against. */
const exactName = "crossrank-onnx-fp32";
/** Nobody leaves early: on a busy machine wall-clock time says nothing about who is slow. */
const patience = { seconds: Number.POSITIVE_INFINITY, rounds: 0 };

/**
 * @param {PartOptions["shape"]} shape
 * @returns {Promise<BenchModel>}
 */
export async function makeSource(shape) {
  progress(`making the model ${shape}`);
  const maker = fileURLToPath(new URL("../model/make-model.mjs", import.meta.url));
  const { stdout: folder } = await promisify(execFile)(process.execPath, [maker, shape, modelFolder]);
  return { name: shape, folder, file: "onnx/model.onnx", dtype: "fp32", safetensors: true };
}

/**
 * @param {readonly Table[]} tables
 * @param {PartOptions} options `only` names engines; a table's reference always runs, and crossrank's fp32
 * @returns {Promise<{ tables: EngineTable[], texts: string }>} `texts` says what the documents were
 */
export async function playEngines(tables, { documents, rounds, only, shape }) {
  const playing = tables
    .map((table) => ({
      ...table,
      engines: table.engines.filter(
        ({ name }) =>
          only === undefined || name === table.reference || name === exactName || only.includes(name),
      ),
    }))
    .filter(({ engines }) => only === undefined || engines.some(({ name }) => only.includes(name)));
  const folder = await mkdtemp(join(tmpdir(), "crossrank-engines-"));
  try {
    const source = await makeSource(shape);
    const wanted = artifactsOf(playing.flatMap(({ engines }) => engines));
    const artifacts = await makeArtifacts(source.folder, folder, wanted, progress);
    const texts = await makeDocuments(modelFolder, documents);
    const { program, noFloor } = await compileFloor().then(
      (program) => ({ program, noFloor: undefined }),
      (/** @type {Error} */ error) => ({ program: undefined, noFloor: error.message }),
    );
    /** @type {Scored | undefined} */
    let exact;
    let described = "";
    /** @type {EngineTable[]} */
    const results = [];
    for (const table of playing) {
      const { contestants, missing } = chooseEngines(table.engines, { source, artifacts });
      /** @type {Floor[]} */
      const floors = [];
      const before = loadavg()[0] ?? 0;
      const { measured, failed } = await measure(
        source,
        contestants,
        texts,
        rounds,
        (text) => progress(`${table.title}, ${text}`),
        {
          patience,
          async onRound() {
            if (program !== undefined) floors.push(await runFloor(program));
          },
        },
      );
      progress("");
      exact ??= measured.find(({ contestant }) => contestant.name === exactName)?.scored;
      const first = measured.find(({ scored }) => scored.tokens !== undefined)?.scored;
      if (described === "" && first !== undefined) described = describeTexts(first);
      const load = /** @type {const} */ ([before, loadavg()[0] ?? 0]);
      for (const { title, reason } of [...missing, ...failed]) console.error(`missing: ${title}: ${reason}`);
      results.push(
        judgeEngines(
          table,
          { measured, missing: [...missing, ...failed], floors, noFloor, load },
          { artifacts, shape: shapes[shape], exact },
        ),
      );
    }
    const made = `\`${shape}\`, ${shapes[shape].layers} layers of ${shapes[shape].hidden}, random weights`;
    return { tables: results, texts: `${made}; ${described}` };
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}

/** @param {Scored} scored */
function describeTexts(scored) {
  const { documents, logits } = describeScored(scored);
  const { least, mean, most } = documents.tokens;
  return `${documents.count} documents, pairs of ${least} to ${most} tokens (mean ${mean.toFixed(0)}), logits from ${logits.least.toFixed(2)} to ${logits.most.toFixed(2)}`;
}

// Resident memory over many runs and many loads of a model, in this process.
//
//   node --expose-gc scripts/measure-leaks.mjs [--runs 10000] [--loads 200] FOLDER
//
// Runs come in a few dozen shapes. Prints megabytes after a warm-up and at every tenth, the growth a run and a load over
// the second half, in bytes, and on Linux the process's threads after the warm-up and at the end.
import { readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import { openFixtureFolder } from "@crossrank/conformance";
import { readProfile } from "@crossrank/core";
import { mlx } from "../dist/index.js";

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: { runs: { type: "string", default: "10000" }, loads: { type: "string", default: "200" } },
});
const { files } = openFixtureFolder(positionals[0]);
const { profile } = await readProfile(files);
const backend = mlx({ isolation: "thread" });
const load = (output = { kinds: ["class-logits"] }) => backend.load({ files, profile, output });

const session = await load();
await measure("run", Number(values.runs), async (index) => {
  const [rows, columns] = [1 + (index % 4), 5 + (index % 9)];
  await session.run({
    rows,
    columns,
    inputIds: new Int32Array(rows * columns).fill(7),
    attentionMask: new Int32Array(rows * columns).fill(1),
    segmentIds: new Int32Array(rows * columns),
    lengths: new Int32Array(rows).fill(columns),
  });
});
await session.dispose();
await measure("load", Number(values.loads), async () => (await load()).dispose());
// Weights are read and then refused: a file that was cut short behind what its header says.
const damaged = {
  id: files.id,
  revision: files.revision,
  list: (options) => files.list(options),
  readText: (path, options) => files.readText(path, options),
  readBytes: (path, range, options) => files.readBytes(path, range, options),
  localPath: async () => fileURLToPath(import.meta.url),
};
await measure("refused load", Number(values.loads), async () => {
  const output = { kinds: ["class-logits"] };
  await backend.load({ files: damaged, profile, output }).then(
    () => process.exit(1),
    () => undefined,
  );
});

async function measure(what, count, step) {
  const warmUp = Math.max(1, Math.floor(count / 10));
  for (let index = 0; index < warmUp; index += 1) await step(index);
  const samples = [[0, resident()]];
  const early = threads();
  for (let index = 1; index <= count; index += 1) {
    await step(index);
    if (index % Math.max(1, Math.floor(count / 10)) === 0) samples.push([index, resident()]);
  }
  // The least of three samples each: what is taken for a moment is no growth.
  const half = samples.slice(-6);
  const least = (some) => Math.min(...some.map(([, bytes]) => bytes));
  const [before, after] = [least(half.slice(0, 3)), least(half.slice(3))];
  const [from, to] = [half[0][0], half[3][0]];
  const megabytes = samples.map(([, bytes]) => (bytes / 1e6).toFixed(1)).join(" ");
  const growth = ((after - before) / (to - from)).toFixed(0);
  console.log(
    `${count} × ${what}: ${megabytes} MB; ${growth} bytes each at the end; threads ${early} to ${threads()}`,
  );
}

function threads() {
  if (process.platform !== "linux") return 0;
  return Number(/^Threads:\s*(\d+)/m.exec(readFileSync("/proc/self/status", "utf8"))[1]);
}

function resident() {
  globalThis.gc?.();
  return process.memoryUsage.rss();
}

// Resident memory over many runs and many loads of a model, in this process.
//
//   MALLOC_ARENA_MAX=1 node --expose-gc scripts/measure-leaks.mjs [--runs 10000] [--loads 200] FOLDER
//
// Runs come in a few dozen shapes. scripts/resident-growth.mjs says what is printed.
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import { openFixtureFolder } from "@crossrank/conformance";
import { readProfile } from "@crossrank/core";
import { printGrowth } from "../../../scripts/resident-growth.mjs";
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
await printGrowth("run", Number(values.runs), async (index) => {
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
await printGrowth("load", Number(values.loads), async () => (await load()).dispose());
// Weights are read and then refused: a file that was cut short behind what its header says.
const damaged = {
  id: files.id,
  revision: files.revision,
  list: (options) => files.list(options),
  readText: (path, options) => files.readText(path, options),
  readBytes: (path, range, options) => files.readBytes(path, range, options),
  localPath: async () => fileURLToPath(import.meta.url),
};
await printGrowth("refused load", Number(values.loads), async () => {
  const output = { kinds: ["class-logits"] };
  await backend.load({ files: damaged, profile, output }).then(
    () => process.exit(1),
    () => undefined,
  );
});

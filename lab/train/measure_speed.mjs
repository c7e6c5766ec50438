// Tokens a core-second of one training step, for measure_speed.py: FOLDER METHOD ROWS COLUMNS STEPS. Prints tokens and
// microseconds of processor time.
import { openTraining } from "@crossrank/backend-mlx/training";
import { readProfile } from "@crossrank/core";
import { openFolder } from "@crossrank/hub";

const [folder, method, rows, columns, steps] = process.argv.slice(2);
const [height, width] = [Number(rows), Number(columns)];
const files = await openFolder(folder);
const { profile } = await readProfile(files);
const session = await openTraining({
  ...{
    model: files,
    profile,
    method,
    rank: 16,
    alpha: 32,
    targets: ["query", "value"],
    dropout: 0,
    lowRankDropout: 0,
  },
  ...{ seed: 0, compute: "float32", decay: 0.01, checkpointing: false, threads: 1, isolation: "thread" },
});
const ids = Int32Array.from({ length: height * width }, (_, place) => 10 + ((place * 131) % 900));
const batch = {
  ...{ rows: height, columns: width, inputIds: ids, segmentIds: new Int32Array(ids.length) },
  ...{ attentionMask: new Int32Array(ids.length).fill(1), lengths: new Int32Array(height).fill(width) },
};
const labels = Float32Array.from({ length: height }, (_, row) => row % 2);
const step = async () => {
  await session.accumulate(batch, { loss: "binary", labels, share: 1 });
  await session.apply(2e-5, 1);
};
await step();
const before = process.cpuUsage();
for (let at = 0; at < Number(steps); at += 1) await step();
const { user, system } = process.cpuUsage(before);
process.stdout.write(`${Number(steps) * height * width} ${user + system}\n`);
await session.dispose();

// Resident memory over many runs and many loads of the addon, in this process.
//
//   node --expose-gc scripts/measure-leaks.mjs [--runs 10000] [--loads 200] [--threads 1] FILE
//
// Runs come in a few dozen shapes. Prints megabytes after a warm-up
// and at every tenth, and the growth a run and a load over the second half, in bytes.
import { createRequire } from "node:module";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    runs: { type: "string", default: "10000" },
    loads: { type: "string", default: "200" },
    threads: { type: "string", default: "1" },
  },
});
const [path] = positionals;
const require = createRequire(import.meta.url);
const { glibcVersionRuntime } = process.report.getReport().header;
const platform =
  process.platform === "linux"
    ? `linux-${process.arch}-${glibcVersionRuntime === undefined ? "musl" : "gnu"}`
    : `${process.platform}-${process.arch}${process.platform === "win32" ? "-msvc" : ""}`;
const addon = require(`../native/crossrank-backend-ctranslate2.${platform}.node`);
const options = { threads: Number(values.threads), epsilon: 1e-12, integers: false };

await measure("run", Number(values.runs), await runner());
await measure("load", Number(values.loads), loader());
await measure("refused load", Number(values.loads), refuser());

async function measure(what, count, step) {
  const warmUp = Math.max(1, Math.floor(count / 10));
  for (let index = 0; index < warmUp; index += 1) await step(index);
  const samples = [[0, resident()]];
  for (let index = 1; index <= count; index += 1) {
    await step(index);
    if (index % Math.max(1, Math.floor(count / 10)) === 0) samples.push([index, resident()]);
  }
  const half = samples.filter(([index]) => index >= count / 2);
  const [[from, before], [to, after]] = [half[0], half.at(-1)];
  const megabytes = samples.map(([, bytes]) => (bytes / 1e6).toFixed(1)).join(" ");
  console.log(
    `${count} × ${what}: ${megabytes} MB; ${((after - before) / (to - from)).toFixed(0)} bytes each at the end`,
  );
}

function resident() {
  globalThis.gc?.();
  return process.memoryUsage.rss();
}

async function runner() {
  const session = await addon.load(path, options);
  return (index) => run(session, 1 + (index % 5), 3 + ((index * 7) % 29));
}

function loader() {
  return async () => {
    const session = await addon.load(path, options);
    await run(session, 2, 16);
    await session.close();
  };
}

function refuser() {
  // This script itself, which is no model.
  const path = fileURLToPath(import.meta.url);
  return () =>
    addon.load(path, options).then(
      () => {
        throw new Error("loaded");
      },
      () => undefined,
    );
}

function run(session, rows, columns) {
  const ids = new Int32Array(rows * columns).fill(9);
  const lengths = new Int32Array(rows).fill(columns);
  const features = new Int32Array(rows * columns);
  return session.run({ rows, columns, ids, lengths, features }, "pooled");
}

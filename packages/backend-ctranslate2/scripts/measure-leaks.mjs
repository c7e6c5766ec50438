// Resident memory over many runs and many loads of the addon, in this process.
//
//   MALLOC_ARENA_MAX=1 node --expose-gc scripts/measure-leaks.mjs [--runs 10000] [--loads 200] [--threads 1] FILE
//
// Runs come in a few dozen shapes. scripts/resident-growth.mjs says what is printed.
import { createRequire } from "node:module";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import { printGrowth } from "../../../scripts/resident-growth.mjs";

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

await printGrowth("run", Number(values.runs), await runner());
await printGrowth("load", Number(values.loads), loader());
await printGrowth("refused load", Number(values.loads), refuser());

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

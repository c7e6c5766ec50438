// Resident memory over many runs and many loads of the addon, in this process.
//
//   MALLOC_ARENA_MAX=1 node --expose-gc scripts/measure-leaks.mjs [--runs 10000] [--loads 200] [--threads 1] FILE.mnn
//
// Runs come in a few dozen shapes, so that the graph is prepared anew for most of them.
// scripts/resident-growth.mjs says what is printed.
import { createRequire } from "node:module";
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
const addon = require(`../native/crossrank-backend-mnn.${platform}.node`);
const options = { threads: Number(values.threads), precision: "high", memory: "normal" };

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
  const bytes = new Uint8Array(1 << 20);
  return () =>
    addon.load(bytes, options).then(
      () => {
        throw new Error("loaded");
      },
      () => undefined,
    );
}

function run(session, rows, columns) {
  const inputs = session.inputs.map(({ name }) => ({
    shape: [rows, columns],
    data: new Int32Array(rows * columns).fill(name === "input_ids" ? 9 : name === "attention_mask" ? 1 : 0),
  }));
  return session.run(inputs, 0);
}

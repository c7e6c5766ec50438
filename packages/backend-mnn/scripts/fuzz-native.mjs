// Damages real .mnn files in many ways, and loads and runs each with the addon in child processes.
//
//   node scripts/fuzz-native.mjs [--count 3000] [--seed 1] FILE.mnn...
//
// Counts what came of it: refused with a typed error (by code), ran, or crashed the process. Prints the seed of every
// crash, so that `--only SEED` runs it again, alone and in this process.
import { fork } from "node:child_process";
import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";

const { values, positionals: paths } = parseArgs({
  allowPositionals: true,
  options: {
    count: { type: "string", default: "3000" },
    seed: { type: "string", default: "1" },
    only: { type: "string" },
    from: { type: "string" },
  },
});
const count = Number(values.count);
const firstSeed = Number(values.seed);

if (values.only !== undefined) {
  console.log(await outcomeOf(Number(values.only)));
} else if (values.from !== undefined) {
  for (let seed = Number(values.from); seed < firstSeed + count; seed += 1) {
    process.send({ starting: seed });
    process.send({ seed, outcome: await outcomeOf(seed) });
  }
  process.disconnect();
} else {
  await supervise();
}

async function supervise() {
  const outcomes = new Map();
  const crashes = [];
  const add = (outcome) => outcomes.set(outcome, (outcomes.get(outcome) ?? 0) + 1);
  for (let seed = firstSeed; seed < firstSeed + count; ) {
    const { at, how } = await runFrom(seed, add);
    if (at === undefined) break;
    add(how);
    crashes.push({ seed: at, how });
    seed = at + 1;
  }
  for (const [outcome, number] of [...outcomes].sort((a, b) => b[1] - a[1])) {
    console.log(`${String(number).padStart(6)}  ${outcome}`);
  }
  console.log(crashes.length === 0 ? "no crash" : `crashes: ${JSON.stringify(crashes)}`);
}

/** Runs seeds until one crashes the process; that seed and how, or nothing when all were run. */
function runFrom(seed, add) {
  const given = ["--count", values.count, "--seed", values.seed, "--from", String(seed), ...paths];
  const child = fork(fileURLToPath(import.meta.url), given, { stdio: ["ignore", "ignore", "ignore", "ipc"] });
  let current = seed;
  let timer;
  child.on("message", ({ starting, outcome }) => {
    if (starting === undefined) return add(outcome);
    current = starting;
    clearTimeout(timer);
    timer = setTimeout(() => child.kill("SIGKILL"), 30_000);
  });
  return new Promise((resolve) => {
    child.on("exit", (code, signal) => {
      clearTimeout(timer);
      const how =
        signal === "SIGKILL"
          ? "CRASH: hangs for 30 s, or out of memory"
          : `CRASH: ${signal ?? `exit code ${code}`}`;
      resolve(code === 0 ? {} : { at: current, how });
    });
  });
}

async function outcomeOf(seed) {
  const addon = loadAddon();
  const random = mulberry32(seed);
  const bytes = damage(Buffer.from(readFileSync(paths[seed % paths.length])), random);
  let session;
  try {
    session = await addon.load(bytes, { threads: 1, precision: "high", memory: "normal" });
    const shape = [2, 9];
    for (let run = 0; run < 2; run += 1) {
      const inputs = session.inputs.map(({ name }) => ({
        shape,
        data: new Int32Array(18).fill(name === "input_ids" ? 7 : 1),
      }));
      await session.run(inputs, 0);
    }
    return "ran";
  } catch (error) {
    return `refused: ${error.message.split(":", 1)[0]}`;
  } finally {
    await session?.close();
  }
}

function damage(bytes, random) {
  const integer = (end) => Math.floor(random() * end);
  // Tables lie between the numbers of the weights; the first quarter of a file and its end are rich in them.
  const place = () => (random() < 0.5 ? integer(bytes.length) : integer(Math.min(bytes.length, 20_000)));
  const wordPlace = () => Math.min(bytes.length - 4, place() & ~3);
  const interesting = [
    0,
    1,
    2,
    3,
    4,
    7,
    8,
    16,
    64,
    127,
    128,
    255,
    1000,
    65535,
    -1,
    -2,
    2 ** 31 - 1,
    -(2 ** 31),
  ];
  switch (integer(6)) {
    case 0:
      return bytes.subarray(0, integer(bytes.length));
    case 1:
      for (let i = 0; i < 1 + integer(8); i += 1) bytes[place()] = integer(256);
      return bytes;
    case 2:
      for (let i = 0; i < 1 + integer(4); i += 1) bytes[place()] ^= 1 << integer(8);
      return bytes;
    case 3:
      for (let i = 0; i < 1 + integer(3); i += 1)
        bytes.writeInt32LE(interesting[integer(interesting.length)], wordPlace());
      return bytes;
    case 4: {
      // A small number one more or less: an index, a kind, a dimension.
      for (let tries = 0, changed = 0; tries < 2000 && changed < 2; tries += 1) {
        const at = wordPlace();
        const value = bytes.readInt32LE(at);
        if (value < -1 || value > 4096) continue;
        bytes.writeInt32LE(value + (random() < 0.5 ? 1 : -1), at);
        changed += 1;
      }
      return bytes;
    }
    default: {
      const start = place();
      bytes.fill(integer(2) * 255, start, start + 1 + integer(64));
      return bytes;
    }
  }
}

function loadAddon() {
  const require = createRequire(import.meta.url);
  const { glibcVersionRuntime } = process.report.getReport().header;
  const name =
    process.platform === "linux"
      ? `linux-${process.arch}-${glibcVersionRuntime === undefined ? "musl" : "gnu"}`
      : `${process.platform}-${process.arch}${process.platform === "win32" ? "-msvc" : ""}`;
  return require(`../native/crossrank-backend-mnn.${name}.node`);
}

/** A small generator of numbers from 0 to 1 that begins anew from its seed. */
function mulberry32(seed) {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
}

// Runs commands one after the other in one process, whose modules are loaded once. Started by run-command.ts.
import { Readable } from "node:stream";
import { fileURLToPath } from "node:url";

const binary = fileURLToPath(new URL("../bin/crossrank.js", import.meta.url));
const main = new URL("../dist/main.js", import.meta.url);
const streams = ["stdout", "stderr"];
const emitters = [process, process.stdout, process.stderr];
/** Milliseconds that what a command used may take to let go of the process. */
const patience = 5000;
let runs = 0;

/** What would keep a process of its own alive, by kind. */
function resources() {
  const counts = new Map();
  for (const kind of process.getActiveResourcesInfo()) counts.set(kind, (counts.get(kind) ?? 0) + 1);
  return counts;
}

async function resourcesLeft(before) {
  const started = performance.now();
  for (;;) {
    const left = [...resources()].filter(([kind, count]) => count > (before.get(kind) ?? 0));
    if (left.length === 0 || performance.now() - started > patience) return left.map(([kind]) => kind);
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
}

/** The working directory and the environment, as they are between commands. */
const folderBetween = process.cwd();
const environmentBetween = { ...process.env };

function restore() {
  process.chdir(folderBetween);
  for (const name of Object.keys(process.env)) if (!(name in environmentBetween)) delete process.env[name];
  Object.assign(process.env, environmentBetween);
}

async function run({ args, input, folder, environment }) {
  const written = { stdout: "", stderr: "" };
  const originals = streams.map((name) => process[name].write);
  const listeners = emitters.map(
    (one) => new Map(one.eventNames().map((name) => [name, one.listeners(name)])),
  );
  const before = resources();
  for (const name of streams) {
    process[name].write = (chunk, encoding, done) => {
      written[name] += typeof chunk === "string" ? chunk : Buffer.from(chunk).toString("utf8");
      const callback = typeof encoding === "function" ? encoding : done;
      if (callback !== undefined) setImmediate(callback);
      return true;
    };
  }
  Object.defineProperty(process, "stdin", {
    value: Readable.from(input.length === 0 ? [] : [Buffer.from(input)]),
    configurable: true,
  });
  process.argv = [process.execPath, binary, ...args];
  process.exitCode = undefined;
  try {
    if (folder !== undefined) process.chdir(folder);
    Object.assign(process.env, environment);
    runs += 1;
    // Another address is another module, which runs again; what it imports is there already.
    await import(`${main}?run=${runs}`);
    const code = process.exitCode;
    return { code, ...written, left: await resourcesLeft(before) };
  } finally {
    process.exitCode = undefined;
    restore();
    for (const [index, name] of streams.entries()) process[name].write = originals[index];
    for (const [index, emitter] of emitters.entries()) {
      for (const name of emitter.eventNames()) {
        const kept = listeners[index].get(name) ?? [];
        for (const one of emitter.listeners(name)) if (!kept.includes(one)) emitter.off(name, one);
      }
    }
  }
}

process.on("message", async (command) => {
  process.send(await run(command));
});
process.on("disconnect", () => process.exit());

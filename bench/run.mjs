// `npm run bench`: the one command of the bench, which writes the one page, docs/bench.md. See README.md.
/** @import { PartOptions, PartReport } from "./types.js" */
import { writeFile } from "node:fs/promises";
import { loadavg } from "node:os";
import { describeMachine, progress } from "./command.mjs";
import { pythonCommand } from "./contestants/contestants.mjs";
import { addToHistory, renderHistory } from "./history.mjs";
import { help, readOptions } from "./options.mjs";
import { pagePath, writePage } from "./page.mjs";
import { installPython } from "./python.mjs";
import { renderMachine } from "./report.mjs";

/** @type {Readonly<Record<import("./options.mjs").Options["parts"][number], { documents: number, rounds: number }>>} */
const usual = {
  encoders: { documents: 16, rounds: 7 },
  mnn: { documents: 16, rounds: 7 },
  causal: { documents: 16, rounds: 7 },
  start: { documents: 10, rounds: 15 },
  latency: { documents: 1, rounds: 9 },
  defaults: { documents: 200, rounds: 5 },
};

/** @param {string[]} args */
async function main(args) {
  const options = readOptions(args);
  if (options.help) {
    console.log(help);
    return;
  }
  if (options.installPython) process.env["PYTHON"] = await installPython(progress);
  // Converters that are started by others read it there.
  process.env["PYTHON"] = options.python ?? pythonCommand();
  const machine = describeMachine();
  const machineLine = renderMachine(machine);
  console.log(`${machineLine}\n`);
  /** @type {Record<string, PartReport>} */
  const done = {};
  const failures = [];
  for (const name of options.parts) {
    /** @type {PartOptions} */
    const partOptions = {
      documents: options.documents ?? usual[name].documents,
      rounds: options.rounds ?? usual[name].rounds,
      only: options.engines,
      shape: options.shape,
    };
    /** @type {{ run: (options: PartOptions) => Promise<PartReport> }} */
    const part = await import(`./parts/${name}.mjs`);
    try {
      done[name] = await part.run(partOptions);
    } catch (error) {
      // The other parts took minutes, and are worth their place.
      failures.push(`${name}: ${error instanceof Error ? error.message : error}`);
      console.error(`the part ${failures.at(-1)}`);
      continue;
    }
    progress("");
    console.log(`## ${name}\n\n${done[name]?.page}\n`);
  }
  if (options.json !== undefined) {
    const reports = Object.fromEntries(Object.entries(done).map(([name, { report }]) => [name, report]));
    await writeFile(options.json, `${JSON.stringify({ machine, reports }, undefined, 2)}\n`);
  }
  const output = options.write ? pagePath : options.output;
  if (output !== undefined) {
    const command = `npm run bench -- ${shownArguments(args).join(" ")}`.trimEnd();
    const blocks = Object.fromEntries(
      Object.entries(done).map(([name, { page }]) => [
        name,
        `Written by \`${command}\` on ${machineLine}, Python's engines from ${pythonSaid(options)}.\n\n${page}`,
      ]),
    );
    if (options.write) await addToHistory(machine, command, loadavg()[0] ?? 0, done);
    await writePage(output, { ...blocks, history: await renderHistory(machine) });
  }
  if (failures.length > 0) process.exitCode = 1;
}

/**
 * Where its author keeps files and programs is nobody's business.
 *
 * @param {readonly string[]} args
 */
function shownArguments(args) {
  const paths = ["--json", "--output", "--python"];
  return args.filter(
    (arg, index) =>
      !paths.some((name) => arg.startsWith(`${name}=`) || arg === name || args[index - 1] === name),
  );
}

/** @param {import("./options.mjs").Options} options */
function pythonSaid({ python }) {
  return python === undefined ? "bench/requirements.txt or what PYTHON names" : "the Python that was named";
}

try {
  await main(process.argv.slice(2));
} catch (error) {
  progress("");
  console.error(error instanceof Error ? error.message : error);
  process.exitCode = 1;
}

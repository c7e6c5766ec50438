// Runs the projects of examples/ as a user would: packs every package, copies a project into an empty folder, points
// it to the tarballs, and runs plain `npm install`, `npm run build` and `npm test` there.
//
//   node scripts/examples.mjs                    every project, on this Node
//   node scripts/examples.mjs next express       those
//   node scripts/examples.mjs --node 20,22,24    on these versions of Node, of those that the project's engines allow
//   node scripts/examples.mjs --list             their names
//   node scripts/examples.mjs --keep             leaves the folders
import {
  cpSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import path from "node:path";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import { execute, nodeBinary, plainEnvironment, repository, succeed } from "./release/commands.mjs";
import { stage } from "./release/stage.mjs";

const folderOfExamples = path.join(repository, "examples");

/** The last of each line that is tried; 20 is the oldest that is supported. */
const versions = { 20: "20.20.2", 22: "22.23.3", 24: "24.21.0", 26: "26.10.0" };

/** @returns {string[]} names of the projects */
export function exampleNames() {
  return readdirSync(folderOfExamples)
    .filter((name) => existsSync(path.join(folderOfExamples, name, "package.json")))
    .sort();
}

/**
 * Every package as npm would get it, with the platform packages of this machine.
 *
 * @param {string} folder an empty folder
 * @returns {Promise<Map<string, string>>} package name → absolute path of its tarball
 */
export async function packTarballs(folder) {
  const { packages } = await stage({ root: repository, folder, platforms: "here" });
  return new Map(packages.map(({ name, tarball }) => [name, tarball]));
}

/**
 * Copies a project, points its crossrank packages to the tarballs, and installs it with npm.
 *
 * @param {string} source folder of the project inside of the repository
 * @param {string} target folder to make
 * @param {ReadonlyMap<string, string>} tarballs
 * @param {NodeJS.ProcessEnv} [env]
 * @returns {Promise<{ seconds: number }>}
 */
export async function installExample(source, target, tarballs, env = plainEnvironment()) {
  const { stdout } = await succeed("git", ["ls-files", "-z", "--cached", "--others", "--exclude-standard"], {
    cwd: source,
  });
  mkdirSync(target, { recursive: true });
  for (const file of stdout.split("\0")) {
    // Named by git, and deleted here.
    if (file === "" || !existsSync(path.join(source, file))) continue;
    cpSync(path.join(source, file), path.join(target, file), { recursive: true });
  }
  const file = path.join(target, "package.json");
  const manifest = JSON.parse(readFileSync(file, "utf8"));
  for (const kind of ["dependencies", "devDependencies", "optionalDependencies"]) {
    for (const name of Object.keys(manifest[kind] ?? {})) {
      const tarball = tarballs.get(name);
      if (tarball !== undefined) manifest[kind][name] = `file:${tarball}`;
      else if (/^(@crossrank\/|crossrank$)/.test(name))
        throw new Error(`${source}: there is no package ${name}.`);
    }
  }
  // What depends on ours in turn names versions that no registry has yet.
  const ours = Object.fromEntries([...tarballs].map(([name, tarball]) => [name, `file:${tarball}`]));
  writeFileSync(
    file,
    `${JSON.stringify({ ...manifest, overrides: { ...manifest.overrides, ...ours } }, null, 2)}\n`,
  );
  return succeed("npm", ["install", "--no-audit", "--no-fund"], { cwd: target, env, seconds: 900 });
}

/** Whether the project's engines allow a version of Node, e.g. `>=22.13` and `24.21.0`. */
export function allows(engines, version) {
  const wanted = /^>=\s*(\d+)(?:\.(\d+))?(?:\.(\d+))?$/.exec(engines ?? ">=0");
  if (wanted === null) throw new Error(`engines.node is ${JSON.stringify(engines)}: write it as ">=22.13".`);
  const found = version.replace(/^v/, "").split(".").map(Number);
  for (let part = 0; part < 3; part += 1) {
    const difference = (found[part] ?? 0) - Number(wanted[part + 1] ?? 0);
    if (difference !== 0) return difference > 0;
  }
  return true;
}

/**
 * One project on one Node.
 *
 * @returns {Promise<{ outcome: "ok" | "failed" | "skipped", words: string }>}
 */
export async function runExample({ name, tarballs, folder, version, binary = process.execPath }) {
  const source = path.join(folderOfExamples, name);
  const { engines } = JSON.parse(readFileSync(path.join(source, "package.json"), "utf8"));
  if (!allows(engines?.node, version)) return { outcome: "skipped", words: `it wants Node ${engines.node}` };
  const target = path.join(folder, `${name}-${version}`);
  // npm is a script for the first Node of the path, and so are the programs that it starts.
  const env = plainEnvironment({ PATH: [path.dirname(binary), process.env["PATH"]].join(path.delimiter) });
  try {
    const install = await installExample(source, target, tarballs, env);
    const build = await succeed("npm", ["run", "build", "--if-present"], { cwd: target, env });
    const test = await execute("npm", ["test"], { cwd: target, env, seconds: 300 });
    const line = /^ok .+$/m.exec(test.stdout)?.[0];
    if (test.code !== 0 || line === undefined) {
      const problem =
        test.code === 124
          ? "did not end"
          : test.code === 0
            ? "printed no line of ok"
            : `ended with ${test.code}`;
      return { outcome: "failed", words: `npm test ${problem}:\n${test.output.slice(-6000)}` };
    }
    return {
      outcome: "ok",
      words: `${line} (install ${install.seconds} s, build ${build.seconds} s, test ${test.seconds} s)`,
    };
  } catch (error) {
    return { outcome: "failed", words: String(error.message) };
  }
}

async function main() {
  const { values, positionals } = parseArgs({
    allowPositionals: true,
    options: { node: { type: "string" }, list: { type: "boolean" }, keep: { type: "boolean" } },
  });
  const names = exampleNames();
  if (values.list) {
    console.log(names.join("\n"));
    return;
  }
  const unknown = positionals.filter((name) => !names.includes(name));
  if (unknown.length > 0) {
    console.error(`There is no example ${unknown.join(", ")}: there are ${names.join(", ")}.`);
    process.exitCode = 2;
    return;
  }
  const wanted = positionals.length > 0 ? positionals : names;
  const folder = mkdtempSync(path.join(tmpdir(), "crossrank-examples-"));
  const counts = { ok: 0, failed: 0, skipped: 0 };
  try {
    const tarballs = await packTarballs(path.join(folder, "tarballs"));
    const nodes = [];
    for (const line of values.node?.split(",") ?? []) {
      const version = versions[line] ?? line;
      nodes.push({ version, binary: await nodeBinary(version) });
    }
    if (nodes.length === 0) nodes.push({ version: process.versions.node, binary: process.execPath });
    for (const name of wanted) {
      for (const node of nodes) {
        const { outcome, words } = await runExample({ name, tarballs, folder, ...node });
        counts[outcome] += 1;
        console.log(`${outcome.padEnd(7)} ${name} on Node ${node.version}: ${words}`);
        if (!values.keep)
          rmSync(path.join(folder, `${name}-${node.version}`), { recursive: true, force: true });
      }
    }
  } finally {
    if (values.keep) console.log(`The folders are in ${folder}.`);
    else rmSync(folder, { recursive: true, force: true });
  }
  console.log(`${counts.ok} examples passed, ${counts.failed} failed, ${counts.skipped} skipped`);
  process.exitCode = counts.failed > 0 || counts.ok === 0 ? 1 : 0;
}

if (process.argv[1] === fileURLToPath(import.meta.url)) await main();

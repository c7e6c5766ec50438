// Builds packages, those that others need first, in this one process: a process of pnpm, Turbo and tsup for each took
// longer than the building. Usage: node scripts/build.mjs [NAME…]; with names, those packages and what they need.
import { existsSync, readdirSync, readFileSync } from "node:fs";
import path from "node:path";
import { fileURLToPath } from "node:url";
import { build } from "tsup";

const root = fileURLToPath(new URL("..", import.meta.url));

/** Names of the workspace's packages, to their folders and the names of those that they need. */
const packages = new Map();
for (const name of readdirSync(path.join(root, "packages"))) {
  const folder = path.join(root, "packages", name);
  if (!existsSync(path.join(folder, "package.json"))) continue;
  const manifest = JSON.parse(readFileSync(path.join(folder, "package.json"), "utf8"));
  const needs = Object.entries({ ...manifest.dependencies, ...manifest.devDependencies })
    .filter(([, version]) => version.startsWith("workspace:"))
    .map(([needed]) => needed);
  packages.set(manifest.name, { folder, needs });
}

const built = new Set();

/** @param {string} name */
async function buildPackage(name) {
  if (built.has(name)) return;
  built.add(name);
  const one = packages.get(name);
  if (one === undefined)
    throw new Error(`There is no package ${name}. Name one of ${[...packages.keys()].join(", ")}.`);
  for (const needed of one.needs) await buildPackage(needed);
  // tsup reads package.json, the configuration and the entries from the working directory.
  process.chdir(one.folder);
  await build({ silent: true });
}

const names = process.argv.slice(2);
for (const name of names.length > 0 ? names : packages.keys()) await buildPackage(name);

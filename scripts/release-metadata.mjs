// Writes `repository`, `homepage` and `bugs` into every public package, from the one field `repository` of the root's
// package.json (e.g. "https://example.org/owner/name"). Publishing runs it first and stops where that field is empty,
// since npm refuses provenance for a package without an address.
// Usage: node scripts/release-metadata.mjs [--root FOLDER] [--repository ADDRESS]
import { readdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";

const { values } = parseArgs({ options: { root: { type: "string" }, repository: { type: "string" } } });
const root = values.root ?? fileURLToPath(new URL("..", import.meta.url));

/** @param {string} path */
const readJson = (path) => JSON.parse(readFileSync(path, "utf8"));

const address = String(values.repository ?? readJson(join(root, "package.json")).repository ?? "").trim();
if (!/^https:\/\/[^\s/]+\/\S+$/.test(address)) {
  const found = address === "" ? "is empty" : `is "${address}", which is no https address`;
  console.error(
    `The field "repository" of the root's package.json ${found}. ` +
      'Write the repository\'s address there, e.g. "repository": "https://example.org/owner/name", and run this again.',
  );
  process.exit(1);
}
const page = address.replace(/\.git$/, "").replace(/\/$/, "");
for (const name of readdirSync(join(root, "packages")).sort()) {
  const file = join(root, "packages", name, "package.json");
  const manifest = readJson(file);
  if (manifest.private === true) continue;
  const written = {
    ...manifest,
    homepage: `${page}/tree/main/packages/${name}#readme`,
    bugs: { url: `${page}/issues` },
    repository: { type: "git", url: `git+${page}.git`, directory: `packages/${name}` },
  };
  writeFileSync(file, `${JSON.stringify(written, null, 2)}\n`);
  console.log(`${manifest.name}: ${written.homepage}`);
}

// Publishes every package whose version is not on the registry yet, dependencies first. It can be run again: what is
// there is skipped. The release's workflow runs it, and scripts/rehearse-release.mjs runs it against a registry on
// this machine.
//
//   node scripts/publish.mjs --list               what would be published, a line each; nothing while changesets wait
//   node scripts/publish.mjs --dry-run            packs and examines all of it, and publishes nothing
//   node scripts/publish.mjs --stage FOLDER       packs into a folder that is empty or not there, and publishes nothing
//   node scripts/publish.mjs --from FOLDER        publishes what was packed so; needs neither dependencies nor a build
//
// With --dry-run and --stage: --addons FOLDER, with the addons that the native workflows built; --without-addons, which
// lets addons be absent: their packages stay named as optional; --repository ADDRESS, in place of the root
// package.json's. With the others: --registry URL, --no-provenance. --root FOLDER is another workspace.
import { createHash } from "node:crypto";
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import path from "node:path";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import { execute, repository } from "./release/commands.mjs";
import { addonFile, platformPackages } from "./release/platforms.mjs";
import { needs, publicPackages, stage } from "./release/stage.mjs";

/** What a person is to read, and no stack. */
class Refusal extends Error {}

const { values: options } = parseArgs({
  options: {
    root: { type: "string", default: repository },
    list: { type: "boolean", default: false },
    "dry-run": { type: "boolean", default: false },
    stage: { type: "string" },
    from: { type: "string" },
    addons: { type: "string", multiple: true, default: [] },
    "without-addons": { type: "boolean", default: false },
    registry: { type: "string" },
    repository: { type: "string" },
    "no-provenance": { type: "boolean", default: false },
  },
});
const { root } = options;
const toRegistry = options.registry === undefined ? [] : [`--registry=${options.registry}`];

/** Whether the registry has the version. */
async function isPublished({ name, version }) {
  const versions = await versionsOf(name);
  if (versions !== undefined) return versions.includes(version);
  const result = await execute("npm", ["view", `${name}@${version}`, "version", "--json", ...toRegistry], {
    seconds: 120,
  });
  if (result.code === 0) return result.stdout.trim() !== "";
  if (/\bE404\b/.test(result.output)) return false;
  throw new Refusal(
    `The registry does not say whether it has ${name}@${version}:\n${result.output.slice(-1000)}`,
  );
}

let registryAddress = options.registry;

/**
 * As the registry says to anybody, which takes a tenth of the time that npm takes to start. Undefined where it says
 * nothing to a stranger: npm has the credentials, and knows of proxies.
 */
async function versionsOf(name) {
  try {
    registryAddress ??= (await execute("npm", ["config", "get", "registry"])).stdout.trim();
    const base = registryAddress.endsWith("/") ? registryAddress : `${registryAddress}/`;
    const response = await fetch(new URL(name.replace("/", "%2f"), base), {
      headers: { accept: "application/vnd.npm.install-v1+json" },
      signal: AbortSignal.timeout(30_000),
    });
    if (response.status === 404) return [];
    if (!response.ok) return undefined;
    return Object.keys((await response.json()).versions ?? {});
  } catch {
    return undefined;
  }
}

/** Writes the address into every package.json; it refuses where there is none. */
async function writeMetadata() {
  const script = fileURLToPath(new URL("release-metadata.mjs", import.meta.url));
  const given = options.repository === undefined ? [] : ["--repository", options.repository];
  const { code, output } = await execute(process.execPath, [script, "--root", root, ...given]);
  if (code !== 0) throw new Refusal(output.trim());
}

/** What `changeset version` would still change. */
function waitingChangesets() {
  return readdirSync(path.join(root, ".changeset")).filter(
    (name) => name.endsWith(".md") && name !== "README.md",
  );
}

/** Every package and platform package, by name and version, without packing any. */
function everything() {
  return publicPackages(root).flatMap(({ manifest }) => [
    ...platformPackages(manifest).map(({ name, version }) => ({ name, version })),
    { name: manifest.name, version: manifest.version },
  ]);
}

/** @returns {string[]} platform packages that would have nothing to hold */
function addonsToBuild() {
  if (options["without-addons"]) return [];
  return publicPackages(root)
    .filter(({ manifest }) => manifest.napi !== undefined)
    .flatMap(({ directory, manifest }) => {
      const folders = [...options.addons, path.join(directory, "native")];
      return platformPackages(manifest).filter((one) => addonFile(manifest, one, folders) === undefined);
    })
    .map(({ name }) => `${name}: its addon was not built; give its folder with --addons`);
}

/** @returns {string[]} what is wrong with what would be published */
function problemsOf(packages, absent) {
  const problems = [];
  const staged = new Map(packages.map((one) => [one.name, one.version]));
  for (const { name, version, manifest } of packages) {
    const { repository: address, license, scripts = {}, publishConfig } = manifest;
    if (version === "0.0.0") problems.push(`${name}: it has no version; run changeset version first`);
    if (address?.url === undefined) problems.push(`${name}: it has no repository`);
    if (license === undefined) problems.push(`${name}: it has no licence`);
    if (publishConfig?.access !== "public") problems.push(`${name}: publishConfig.access is not "public"`);
    for (const script of ["preinstall", "install", "postinstall"]) {
      if (scripts[script] !== undefined)
        problems.push(`${name}: it would run a script where it is installed (${script})`);
    }
    for (const kind of ["dependencies", "optionalDependencies", "peerDependencies"]) {
      for (const [needed, range] of Object.entries(manifest[kind] ?? {})) {
        if (/^(workspace|file|link|catalog):/.test(range))
          problems.push(`${name}: it needs ${needed} as ${range}`);
      }
    }
    for (const needed of needs(manifest)) {
      const isOurs = needed === "crossrank" || needed.startsWith("@crossrank/");
      if (isOurs && !staged.has(needed) && !absent.includes(needed)) {
        problems.push(`${name}: it needs ${needed}, which is not published`);
      }
    }
  }
  return problems;
}

async function publish({ name, version, tarball }) {
  const provenance = options["no-provenance"] ? "--provenance=false" : "--provenance";
  const { code, output } = await execute(
    "npm",
    ["publish", tarball, "--access=public", "--ignore-scripts", provenance, ...toRegistry],
    { seconds: 900 },
  );
  if (code !== 0) {
    throw new Refusal(
      `${name}@${version} was not published. What came before it is: mend the cause and run this again, which goes on ` +
        `where it stopped.\n${output.slice(-2000)}`,
    );
  }
}

/** Packs everything into a folder, and refuses what is not fit to be published. */
async function pack(folder) {
  const waiting = waitingChangesets();
  if (waiting.length > 0 && !options["dry-run"]) {
    throw new Refusal(
      `${waiting.length} changesets have no version yet (${waiting.slice(0, 3).join(", ")}…): merge the pull request of ` +
        "versions first, or run changeset version.",
    );
  }
  const missing = publicPackages(root).filter(({ directory }) => !existsSync(path.join(directory, "dist")));
  if (missing.length > 0) {
    const names = missing.map(({ manifest }) => manifest.name).join(", ");
    throw new Refusal(`${names}: not built; run npm run build first.`);
  }
  const toBuild = addonsToBuild();
  if (toBuild.length > 0 && !options["dry-run"]) throw new Refusal(toBuild.join("\n"));
  const files = publicPackages(root).map(({ directory }) => path.join(directory, "package.json"));
  const before = files.map((file) => readFileSync(file, "utf8"));
  let staged;
  try {
    await writeMetadata();
    staged = await stage({ root, folder, addons: options.addons });
  } finally {
    // What is packed has the address; the repository stays as it was.
    for (const [index, file] of files.entries()) writeFileSync(file, before[index] ?? "");
  }
  const { packages, absent } = staged;
  const problems = [...toBuild, ...problemsOf(packages, absent)];
  if (problems.length > 0 && !options["dry-run"]) throw new Refusal(problems.join("\n"));
  return { packages, problems };
}

const index = "packages.json";
const sha256 = (file) => createHash("sha256").update(readFileSync(file)).digest("hex");

/** @param {string} folder with tarballs in the order of publishing, as `--stage` left it */
async function publishAll(folder) {
  const packages = JSON.parse(readFileSync(path.join(folder, index), "utf8")).map((one) => ({
    ...one,
    tarball: path.join(folder, one.file),
  }));
  const changed = packages.filter((one) => sha256(one.tarball) !== one.sha256);
  if (changed.length > 0) {
    throw new Refusal(
      `${changed.map(({ file }) => file).join(", ")}: changed since it was packed; pack again.`,
    );
  }
  let published = 0;
  for (const one of packages) {
    if (await isPublished(one)) {
      console.log(`is there  ${one.name}@${one.version}`);
      continue;
    }
    await publish(one);
    published += 1;
    console.log(`published ${one.name}@${one.version}`);
  }
  console.log(`${published} packages published, ${packages.length - published} were there`);
}

async function main() {
  if (options.list) {
    if (waitingChangesets().length > 0) return;
    for (const one of everything()) {
      if (!(await isPublished(one))) console.log(`${one.name}@${one.version}`);
    }
    return;
  }
  if (options.from !== undefined) return publishAll(path.resolve(options.from));
  if (options.stage !== undefined) {
    const folder = path.resolve(options.stage);
    if (existsSync(folder) && readdirSync(folder).length > 0) throw new Refusal(`${folder} is not empty.`);
    const { packages } = await pack(folder);
    const written = packages.map(({ name, version, tarball }) => ({
      name,
      version,
      file: path.basename(tarball),
      sha256: sha256(tarball),
    }));
    writeFileSync(path.join(folder, index), `${JSON.stringify(written, null, 2)}\n`);
    console.log(`${packages.length} packages packed`);
    return;
  }
  if (!options["dry-run"])
    throw new Refusal("Say what to do: --list, --dry-run, --stage FOLDER or --from FOLDER.");
  const folder = mkdtempSync(path.join(tmpdir(), "crossrank-publish-"));
  try {
    const { packages, problems } = await pack(folder);
    for (const { name, version } of packages) console.log(`would publish ${name}@${version}`);
    for (const problem of problems) console.log(`refused: ${problem}`);
    process.exitCode = problems.length > 0 ? 1 : 0;
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

try {
  await main();
} catch (error) {
  if (!(error instanceof Refusal)) throw error;
  console.error(error.message);
  process.exitCode = 1;
}

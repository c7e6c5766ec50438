// The tarballs that npm gets: every public package of the workspace, and their platform packages.
import { existsSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import path from "node:path";
import { pnpm, succeed } from "./commands.mjs";
import { isHere, platformPackages, writePlatformPackage } from "./platforms.mjs";

/**
 * @typedef {object} Staged
 * @property {string} name
 * @property {string} version
 * @property {string} tarball
 * @property {Record<string, any>} manifest as it is in the tarball
 */

/** @returns {{ directory: string, manifest: Record<string, any> }[]} the packages that are published */
export function publicPackages(root) {
  return readdirSync(path.join(root, "packages"))
    .sort()
    .map((name) => path.join(root, "packages", name))
    .filter((directory) => existsSync(path.join(directory, "package.json")))
    .map((directory) => ({
      directory,
      manifest: JSON.parse(readFileSync(path.join(directory, "package.json"), "utf8")),
    }))
    .filter(({ manifest }) => manifest.private !== true);
}

/**
 * Packs all packages as they are built.
 *
 * @param {object} options
 * @param {string} options.root of the workspace, installed and built
 * @param {string} options.folder an empty folder for the tarballs
 * @param {readonly string[]} [options.addons] folders that hold addons, beside each package's own `native/`
 * @param {"here" | "every"} [options.platforms] `here`: platform packages of this machine, and no others are named
 * @returns {Promise<{ packages: Staged[], absent: string[] }>} dependencies before those that need them; names of
 *   platform packages whose addon is not there
 */
export async function stage({ root, folder, addons = [], platforms = "every" }) {
  mkdirSync(folder, { recursive: true });
  await pnpm(root, ["--recursive", "--filter", "./packages/*", "pack", "--pack-destination", folder]);
  const packages = [];
  const absent = [];
  for (const { directory, manifest: source } of publicPackages(root)) {
    const tarball = path.join(folder, tarballName(source));
    const manifest = await manifestIn(tarball);
    const own = platformPackages(source);
    if (own.length === 0) {
      packages.push({ name: manifest.name, version: manifest.version, tarball, manifest });
      continue;
    }
    const named = [];
    for (const platform of own) {
      if (platforms === "here" && !isHere(platform)) continue;
      const place = path.join(folder, "platforms", platform.name);
      const isThere = writePlatformPackage({
        root,
        folder: place,
        owner: manifest,
        platform,
        addons: [...addons, path.join(directory, "native")],
      });
      if (!isThere) absent.push(platform.name);
      if (isThere) packages.push(await pack(place, folder));
      if (isThere || platforms === "every") named.push(platform);
    }
    const place = path.join(folder, "named", source.name);
    mkdirSync(place, { recursive: true });
    await succeed("tar", ["-xzf", tarball, "-C", place, "--strip-components=1"]);
    const optionalDependencies = Object.fromEntries(named.map(({ name, version }) => [name, version]));
    writeFileSync(
      path.join(place, "package.json"),
      `${JSON.stringify({ ...manifest, optionalDependencies }, null, 2)}\n`,
    );
    packages.push(await pack(place, folder));
  }
  return { packages: dependenciesFirst(packages), absent };
}

/** As npm and pnpm name it. */
function tarballName({ name, version }) {
  return `${name.replace("@", "").replace("/", "-")}-${version}.tgz`;
}

async function manifestIn(tarball) {
  const { stdout } = await succeed("tar", ["-xzOf", tarball, "package/package.json"]);
  return JSON.parse(stdout);
}

/** @returns {Promise<Staged>} */
async function pack(place, folder) {
  await succeed("npm", ["pack", "--ignore-scripts", "--pack-destination", folder], { cwd: place });
  const manifest = JSON.parse(readFileSync(path.join(place, "package.json"), "utf8"));
  return {
    name: manifest.name,
    version: manifest.version,
    tarball: path.join(folder, tarballName(manifest)),
    manifest,
  };
}

/** Names of packages that one of ours needs, in whatever way. */
export function needs({ dependencies, optionalDependencies, peerDependencies }) {
  return Object.keys({ ...peerDependencies, ...optionalDependencies, ...dependencies });
}

/** @param {Staged[]} packages */
function dependenciesFirst(packages) {
  const byName = new Map(packages.map((one) => [one.name, one]));
  const ordered = new Set();
  const visit = (one, path) => {
    if (ordered.has(one)) return;
    if (path.includes(one.name))
      throw new Error(`Packages need each other: ${[...path, one.name].join(" → ")}.`);
    for (const name of needs(one.manifest)) {
      const needed = byName.get(name);
      if (needed !== undefined) visit(needed, [...path, one.name]);
    }
    ordered.add(one);
  };
  for (const one of packages) visit(one, []);
  return [...ordered];
}

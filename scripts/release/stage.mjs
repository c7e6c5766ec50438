// The tarballs that npm gets: every public package of the workspace, and their platform packages.
import { existsSync, mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import path from "node:path";
import { pnpm, succeed } from "./commands.mjs";
import { bringCrates } from "./crates.mjs";
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
 * Packs all packages as they are built, without their source maps: those are a fifth of our own files, and say nothing
 * that a user of a package needs.
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
  const packed = path.join(folder, "packed");
  mkdirSync(packed, { recursive: true });
  await pnpm(root, ["--recursive", "--filter", "./packages/*", "pack", "--pack-destination", packed]);
  const places = [];
  const absent = [];
  for (const { directory, manifest: source } of publicPackages(root)) {
    const place = path.join(folder, "unpacked", source.name);
    mkdirSync(place, { recursive: true });
    await succeed("tar", [
      "-xzf",
      path.join(packed, tarballName(source)),
      "-C",
      place,
      "--strip-components=1",
    ]);
    dropSourceMaps(place);
    bringCrates(place, directory);
    const file = path.join(place, "package.json");
    const manifest = JSON.parse(readFileSync(file, "utf8"));
    const named = [];
    for (const platform of platformPackages(source)) {
      if (platforms === "here" && !isHere(platform)) continue;
      const own = path.join(folder, "unpacked", platform.name);
      const isThere = writePlatformPackage({
        root,
        folder: own,
        owner: manifest,
        platform,
        addons: [...addons, path.join(directory, "native")],
      });
      if (isThere) places.push(own);
      else absent.push(platform.name);
      if (isThere || platforms === "every") named.push([platform.name, platform.version]);
    }
    if (named.length > 0) {
      const written = { ...manifest, optionalDependencies: Object.fromEntries(named) };
      writeFileSync(file, `${JSON.stringify(written, null, 2)}\n`);
    }
    places.push(place);
  }
  // One npm for all: it takes longer to start than to pack.
  await succeed("npm", ["pack", "--ignore-scripts", "--pack-destination", folder, ...places], {
    cwd: folder,
  });
  const packages = places.map((place) => {
    const manifest = JSON.parse(readFileSync(path.join(place, "package.json"), "utf8"));
    const tarball = path.join(folder, tarballName(manifest));
    return { name: manifest.name, version: manifest.version, tarball, manifest };
  });
  for (const one of ["packed", "unpacked"]) rmSync(path.join(folder, one), { recursive: true });
  return { packages: dependenciesFirst(packages), absent };
}

/** As npm and pnpm name it. */
function tarballName({ name, version }) {
  return `${name.replace("@", "").replace("/", "-")}-${version}.tgz`;
}

/** Also the comments that name them, which some bundlers follow. */
function dropSourceMaps(place) {
  const dist = path.join(place, "dist");
  if (!existsSync(dist)) return;
  for (const name of readdirSync(dist, { recursive: true })) {
    const file = path.join(dist, name);
    if (name.endsWith(".map")) rmSync(file);
    else if (/\.[cm]?js$/.test(name)) {
      const text = readFileSync(file, "utf8");
      const without = text.replace(/\n\/\/# sourceMappingURL=\S+\s*$/, "\n");
      if (without !== text) writeFileSync(file, without);
    }
  }
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

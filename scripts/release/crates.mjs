// Crates of this repository that a package's addon is built with, in the package that is published.
import { cpSync, existsSync, readFileSync, writeFileSync } from "node:fs";
import path from "node:path";

/** Of a crate: all that Cargo builds it from. */
const parts = ["Cargo.toml", "src"];

/**
 * Puts the crates that an addon's Cargo.toml names by a path outside of the package into its `native` folder, and names
 * them there: on a platform that has no package, users build the addon from what npm gave them. Cargo.lock has no paths.
 *
 * @param {string} place the package as it will be packed
 * @param {string} directory the package in the workspace
 */
export function bringCrates(place, directory) {
  const manifest = path.join(place, "native", "Cargo.toml");
  if (!existsSync(manifest)) return;
  const text = readFileSync(manifest, "utf8");
  const names = [];
  const written = text.replace(/\bpath = "(\.\.[^"]+)"/g, (_, named) => {
    const crate = path.join(directory, "native", named);
    const name = path.basename(crate);
    for (const part of parts) {
      cpSync(path.join(crate, part), path.join(place, "native", name, part), { recursive: true });
    }
    names.push(name);
    return `path = "${name}"`;
  });
  if (names.length === 0) return;
  writeFileSync(manifest, written);
  const file = path.join(place, "package.json");
  const { files, ...others } = JSON.parse(readFileSync(file, "utf8"));
  const all = [...files, ...names.map((name) => `native/${name}`)];
  writeFileSync(file, `${JSON.stringify({ ...others, files: all }, null, 2)}\n`);
}

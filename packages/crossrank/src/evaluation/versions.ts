import { createHash } from "node:crypto";
import { existsSync, readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { availableParallelism, cpus, totalmem } from "node:os";
import { basename, join } from "node:path";
import type { EnvironmentReport } from "@crossrank/eval";
import { outsiderFile, packageFolder } from "../backend-names.js";
import { backendPackages } from "../backends.js";

/** @param backends their names, without a precision. */
export function environmentOf(backends: readonly string[]): EnvironmentReport {
  const packages = ["@crossrank/core", "@crossrank/eval", ...new Set(backends.flatMap(backendPackages))];
  const ownManifest = new URL("../package.json", import.meta.url);
  return {
    node: process.version,
    platform: `${process.platform} ${process.arch}`,
    cpu: cpus()[0]?.model.trim() || null,
    cores: availableParallelism(),
    memory: totalmem(),
    packages: {
      crossrank: versionIn(ownManifest),
      ...versionsOf(packages.sort()),
      ...Object.assign({}, ...backends.map(contentOfFile)),
    },
  };
}

/** What the scores of a backend depend on. */
export function versionsBehind(backend: string): Record<string, string> {
  return { ...versionsOf(["@crossrank/core", ...backendPackages(backend)]), ...contentOfFile(backend) };
}

function versionsOf(packages: readonly string[]): Record<string, string> {
  return Object.fromEntries(packages.map((name) => [name, installedVersion(name)]));
}

/** A backend that is a file has no version: its content stands for it, though not what it imports. */
function contentOfFile(backend: string): Record<string, string> {
  const path = outsiderFile(backend);
  if (path === undefined || !existsSync(path)) return {};
  return { [basename(path)]: `sha256 ${createHash("sha256").update(readFileSync(path)).digest("hex")}` };
}

function installedVersion(name: string): string {
  try {
    return versionIn(createRequire(import.meta.url).resolve(`${name}/package.json`));
  } catch {
    // One that is installed where the command is run, and does not have to export its manifest.
    const folder = packageFolder(name);
    // Loading the backend will say what to install.
    return folder === undefined ? "not installed" : versionIn(join(folder, "package.json"));
  }
}

function versionIn(manifest: string | URL): string {
  return (JSON.parse(readFileSync(manifest, "utf8")) as { version?: string }).version ?? "unversioned";
}

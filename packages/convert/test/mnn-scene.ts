import { spawnSync } from "node:child_process";
import { mkdir, mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { mnn } from "@crossrank/backend-mnn";
import type { Backend } from "@crossrank/core";
import { describe } from "vitest";
import { afterFile } from "../../../test/after-file.js";

export const fixtures: string = fileURLToPath(new URL("../../conformance/fixtures", import.meta.url));

/** What MNN's converter 3.6.1 really made, some time: see lab/mnn/build-fixtures.mjs. */
export const recorded = (file: string): string =>
  fileURLToPath(new URL(`../../backend-mnn/test/fixtures/${file}`, import.meta.url));

/** One session: its shapes are set anew for every batch. */
export const backend = (): Backend => mnn({ sessions: 1, threads: 1 });

const { available, detail } = await backend().diagnose();

/** `describe` of what loads .mnn files. With CROSSRANK_REQUIRE_MNN=1 it is never skipped. */
export const describeWithAddon: typeof describe.skip = describeIf(
  available || process.env["CROSSRANK_REQUIRE_MNN"] === "1",
  `verification of .mnn files. ${detail}`,
);

const python = process.env["PYTHON"] || "python3";
const imported = spawnSync(python, ["-c", "import _tools; _tools.mnnconvert"], { encoding: "utf8" });

/** `describe` of what runs MNN's converter and the addon. With CROSSRANK_REQUIRE_MNN_CONVERTER=1 it is never skipped. */
export const describeWithConverter: typeof describe.skip = describeIf(
  (available && imported.status === 0) || process.env["CROSSRANK_REQUIRE_MNN_CONVERTER"] === "1",
  `conversions by MNN itself. ${imported.status === 0 ? detail : `${python} has no package MNN, which PYTHON may name another for`}`,
);

function describeIf(condition: boolean, what: string): typeof describe.skip {
  if (condition) return describe;
  console.warn(`SKIPPED: ${what}`);
  return describe.skip;
}

/** `describe` of what needs any Python 3.8 or later. */
export const describeWithPython: typeof describe.skip = describeIf(
  spawnSync("python3", ["-c", "import importlib.metadata"]).status === 0,
  "messages about a Python without MNN. There is no python3",
);

/** A new folder, removed after the test file. */
export async function newFolder(): Promise<string> {
  const folder = await mkdtemp(join(tmpdir(), "crossrank-convert-mnn-"));
  afterFile(() => rm(folder, { recursive: true, force: true }));
  return folder;
}

/** A folder for PYTHONPATH that has a package MNN of this version, with this `_tools.py` (default: none). */
export async function pythonPackage(version: string, tools?: string): Promise<string> {
  const folder = await newFolder();
  const facts = join(folder, `MNN-${version}.dist-info`);
  await mkdir(facts);
  await writeFile(join(facts, "METADATA"), `Metadata-Version: 2.1\nName: MNN\nVersion: ${version}\n`);
  if (tools !== undefined) await writeFile(join(folder, "_tools.py"), tools);
  return folder;
}

/**
 * `_tools.py` that gives, for any graph, a file that the real converter made before: what it does wrong it does at
 * random, and a test cannot wait for it.
 */
export function replay(file: string): string {
  return `
import shutil
def mnnconvert(arguments):
    shutil.copyfile(${JSON.stringify(file)}, arguments[arguments.index("--MNNModel") + 1])
    print("Converted Success!")
    return True
`;
}

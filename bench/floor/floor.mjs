// The floor of this processor: what floor.c measures, compiled here, once for each compiler's version of it.
/** @import { Floor, FloorKind } from "../types.js" */
import { execFile, spawnSync } from "node:child_process";
import { createHash } from "node:crypto";
import { mkdir, readFile, rename } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";

const run = promisify(execFile);
const source = fileURLToPath(new URL("floor.c", import.meta.url));

export const floorKinds = /** @type {const} */ (["fp32", "bf16", "int8"]);

/**
 * Compiles the loops.
 *
 * @returns {Promise<string>} the program
 * @throws {Error} without a C compiler, and where this one refuses the loops
 */
export async function compileFloor() {
  const compiler = findCompiler();
  const identity = createHash("sha256")
    .update(`${compiler}\n${await readFile(source)}`)
    .digest("hex");
  const folder = join(tmpdir(), "crossrank-bench");
  await mkdir(folder, { recursive: true });
  const program = join(folder, `floor-${identity.slice(0, 12)}`);
  const draft = `${program}.${process.pid}`;
  await run(compiler, ["-O2", source, "-o", draft]);
  await rename(draft, program);
  return program;
}

/**
 * Runs the loops: some 0.2 s for each instruction.
 *
 * @param {string} program
 * @returns {Promise<Floor>} of each kind the instruction that does most; kinds that the processor lacks are missing
 */
export async function runFloor(program) {
  const { stdout } = await run(program);
  return readFloor(stdout);
}

/**
 * @param {string} text what the program prints
 * @returns {Floor}
 */
export function readFloor(text) {
  /** @type {{ kind: FloorKind, instruction: string, perSecond: number, missing?: string }[]} */
  const rows = text
    .trim()
    .split("\n")
    .map((line) => JSON.parse(line));
  const [missing] = rows.flatMap((row) => row.missing ?? []);
  if (missing !== undefined) throw new Error(`no floor: ${missing}`);
  /** @type {Floor} */
  const floor = {};
  for (const { kind, instruction, perSecond } of rows) {
    if (perSecond > (floor[kind]?.perSecond ?? 0)) floor[kind] = { instruction, perSecond };
  }
  return floor;
}

function findCompiler() {
  const candidates = process.env["CC"] ? [process.env["CC"]] : ["cc", "gcc", "clang"];
  const found = candidates.find((name) => spawnSync(name, ["--version"], { stdio: "ignore" }).status === 0);
  if (found === undefined) {
    throw new Error(
      `the floor needs a C compiler, and ${candidates.join(", ")} did not run: install gcc, or name one in CC`,
    );
  }
  return found;
}

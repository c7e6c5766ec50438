// The environment of the engines that are Python's.
import { execFile } from "node:child_process";
import { existsSync } from "node:fs";
import { mkdir } from "node:fs/promises";
import { homedir } from "node:os";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";

const run = promisify(execFile);
const requirements = fileURLToPath(new URL("requirements.txt", import.meta.url));
const folder = join(process.env["XDG_CACHE_HOME"] || join(homedir(), ".cache"), "crossrank-bench", "python");
const python = join(
  folder,
  ...(process.platform === "win32" ? ["Scripts", "python.exe"] : ["bin", "python"]),
);

/** @returns {string | undefined} the environment's Python, where it was made */
export function installedPython() {
  return existsSync(python) ? python : undefined;
}

/**
 * Makes the environment, or brings it to what requirements.txt says.
 *
 * @param {(text: string) => void} progress
 * @returns {Promise<string>} its Python
 */
export async function installPython(progress) {
  if (installedPython() === undefined) {
    await mkdir(dirname(folder), { recursive: true });
    await run(process.env["PYTHON"] || "python3", ["-m", "venv", folder]);
  }
  progress("installing Python's engines");
  await run(python, ["-m", "pip", "install", "--quiet", "-r", requirements], { maxBuffer: 1 << 26 });
  return python;
}

import { spawn } from "node:child_process";
import { resolve as resolvePath } from "node:path";
import { ExternalConverterError } from "../errors.js";

/** Series of MNN whose converter writes for the runtime that crossrank has. */
const series = "3.6";
const release = "3.6.1";

/**
 * Python programs. The first lines keep modules of the working folder out.
 *
 * Only the converter's native module is loaded. The command `mnnconvert` of the same package installs a further package
 * with pip and reports each conversion to its makers (MNN/tools/utils/log.py of 3.6.1), and the package itself loads the
 * whole runtime.
 */
const programs = {
  version: `
import sys
sys.path[:] = [folder for folder in sys.path if folder]
import json
facts = {"python": ".".join(map(str, sys.version_info[:3])), "mnn": None, "problem": None}
try:
    from importlib.metadata import version
    facts["mnn"] = version("MNN")
    import _tools
    _tools.mnnconvert
except Exception as error:
    facts["problem"] = str(error)
sys.stdout.write("\\n" + json.dumps(facts))
`,
  convert: `
import sys
sys.path[:] = [folder for folder in sys.path if folder]
import _tools
_tools.mnnconvert(["mnnconvert", *sys.argv[1:]])
`,
} as const;

/** MNN's own converter, in a Python of this machine. */
export interface MnnConverter {
  /** The interpreter: a name to be looked up, or an absolute path. */
  readonly python: string;
  /** Versions, for provenance.json. */
  readonly versions: Readonly<Record<string, string>>;
}

/**
 * @param python an interpreter. Default: the environment's PYTHON, else `python3` (`python` on Windows).
 * @throws {ExternalConverterError} when there is no such interpreter, or it has no MNN of the right version.
 * @throws the signal's reason, once aborted.
 */
export async function findConverter(
  python: string | undefined,
  signal: AbortSignal | undefined,
): Promise<MnnConverter> {
  const named = python ?? (process.env["PYTHON"] || defaultPython);
  // The converter runs in a folder of its own.
  const interpreter = /[\\/]/.test(named) ? resolvePath(named) : named;
  const remedy =
    `Install it with \`${interpreter} -m pip install MNN==${release}\`, or name a Python that has it in the ` +
    "option `python` or in the environment's PYTHON";
  const refuse = (problem: string, fix: string, reason: ExternalConverterError["reason"]): Error =>
    new ExternalConverterError({ converter: "MNN", reason, problem, fix, output: "" });
  const outcome = await runPython(interpreter, programs.version, [], { signal });
  if (outcome.notStarted !== undefined) {
    const why = outcome.notStarted === "ENOENT" ? "is not there" : `does not start (${outcome.notStarted})`;
    throw refuse(
      `MNN's converter is a Python package, and ${interpreter} ${why}`,
      `Install Python 3.8 or later and then \`python3 -m pip install MNN==${release}\`, or name a Python that has it ` +
        "in the option `python` or in the environment's PYTHON",
      "missing",
    );
  }
  const facts = parseFacts(outcome.output);
  if (facts === undefined) {
    throw refuse(`${interpreter} is no Python that works: ${lastLine(outcome)}`, remedy, "missing");
  }
  if (facts.mnn === null) {
    throw refuse(
      `MNN's converter is a Python package, and ${interpreter} (Python ${facts.python}) does not have it`,
      remedy,
      "missing",
    );
  }
  if (facts.mnn !== series && !facts.mnn.startsWith(`${series}.`)) {
    throw refuse(
      `${interpreter} has the package MNN ${facts.mnn}, and crossrank runs files of ${series}`,
      remedy,
      "version",
    );
  }
  if (facts.problem !== null) {
    throw refuse(
      `the package MNN ${facts.mnn} of ${interpreter} does not load: ${facts.problem}`,
      remedy,
      "missing",
    );
  }
  return { python: interpreter, versions: { MNN: facts.mnn, python: facts.python } };
}

/**
 * Runs the converter. That it returns says nothing: it reports success also where it wrote no file, or half of one.
 *
 * @returns what it printed.
 * @throws {ExternalConverterError} when it crashed.
 * @throws the signal's reason, once aborted; the converter has ended by then.
 */
export async function runConverter(
  { python }: MnnConverter,
  args: readonly string[],
  /** `folder`: where it may leave files that nobody asked for. */
  options: { readonly folder: string; readonly signal: AbortSignal | undefined },
): Promise<string> {
  const outcome = await runPython(python, programs.convert, args, options);
  if (outcome.code === 0) return outcome.output;
  const ended = outcome.killedBy === null ? `with code ${outcome.code}` : `by ${outcome.killedBy}`;
  throw new ExternalConverterError({
    converter: "MNN",
    reason: "failed",
    problem: `MNN's converter ended ${outcome.notStarted ?? ended}: ${lastLine(outcome)}`,
    fix: "Its output is in the error's `output`",
    output: outcome.output,
  });
}

const defaultPython = process.platform === "win32" ? "python" : "python3";

/** What is kept of a converter that talks without end. */
const mostOutput = 1 << 20;

interface Outcome {
  readonly code: number | null;
  readonly killedBy: NodeJS.Signals | null;
  /** Both streams, in the order in which they came. */
  readonly output: string;
  /** Code of the error when there was nothing to start. */
  readonly notStarted: string | undefined;
}

function runPython(
  python: string,
  program: string,
  args: readonly string[],
  { folder, signal }: { readonly folder?: string; readonly signal: AbortSignal | undefined },
): Promise<Outcome> {
  return new Promise((resolve, reject) => {
    signal?.throwIfAborted();
    const child = spawn(python, ["-c", program, ...args], {
      cwd: folder,
      stdio: ["ignore", "pipe", "pipe"],
      windowsHide: true,
      env: { ...process.env, PYTHONIOENCODING: "utf-8", PYTHONUTF8: "1", PIP_NO_INDEX: "1" },
    });
    let output = "";
    let notStarted: string | undefined;
    const keep = (text: string): void => {
      output = (output + text).slice(-mostOutput);
    };
    child.stdout.setEncoding("utf8").on("data", keep);
    child.stderr.setEncoding("utf8").on("data", keep);
    const kill = (): void => void child.kill("SIGKILL");
    signal?.addEventListener("abort", kill, { once: true });
    child.on("error", ({ code }: NodeJS.ErrnoException) => {
      notStarted = code ?? "unknown";
    });
    child.on("close", (code, killedBy) => {
      signal?.removeEventListener("abort", kill);
      if (signal?.aborted) reject(signal.reason);
      else resolve({ code, killedBy, output, notStarted });
    });
  });
}

function parseFacts(
  output: string,
): { readonly python: string; readonly mnn: string | null; readonly problem: string | null } | undefined {
  const line = output.split("\n").find((one) => one.startsWith('{"python"'));
  return line === undefined ? undefined : JSON.parse(line);
}

/** The last line that somebody could read, in a message. */
export function lastLine({ output }: { readonly output: string }): string {
  const lines = output.split("\n").map((line) => line.trim());
  return (
    lines
      .filter((line) => line !== "")
      .at(-1)
      ?.slice(0, 200) ?? "it printed nothing"
  );
}

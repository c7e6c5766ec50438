import { type ChildProcess, fork, spawn } from "node:child_process";
import { once } from "node:events";
import { existsSync } from "node:fs";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { afterAll, beforeAll } from "vitest";

export const binary: string = fileURLToPath(new URL("../bin/crossrank.js", import.meta.url));
export const fixtures: string = fileURLToPath(new URL("../../backend-onnx/test/fixtures", import.meta.url));

if (!existsSync(fileURLToPath(new URL("../dist/main.js", import.meta.url)))) {
  throw new Error(
    "The command is not built, and these tests run the built one: npx turbo run build --filter=crossrank",
  );
}

export function fixture(name: string): string {
  return join(fixtures, name);
}

const conformanceFixtures = fileURLToPath(new URL("../../conformance/fixtures", import.meta.url));

/** A tiny model of a family, with its goldens. */
export function conformanceFixture(name: string): string {
  return join(conformanceFixtures, name);
}

/** What Node is told for as many cores as the tests run on, which the processes that a command forks are told too. */
const coreArguments: readonly string[] =
  process.env["CROSSRANK_TEST_CORES"] === undefined
    ? []
    : ["--import", new URL("../../../test/cores.mjs", import.meta.url).href];

/** Vitest sets colours for itself. */
const { NO_COLOR: _noColor, FORCE_COLOR: _forceColor, CI: _ci, ...inherited } = process.env;

export interface Outcome {
  readonly code: number | null;
  readonly stdout: string;
  readonly stderr: string;
}

export interface RunOptions {
  /** Standard input; `"open"` leaves it open without a byte. */
  readonly input?: string | Uint8Array | "open";
  /** Called with everything on standard error so far. */
  readonly onStandardError?: (text: string, child: ReturnType<typeof spawn>) => void;
  readonly onStart?: (child: ReturnType<typeof spawn>) => void;
  readonly command?: string;
  readonly environment?: Readonly<Record<string, string>>;
  /** Working directory. Default: this process's. */
  readonly folder?: string;
}

/** Runs the real command as a process of its own, without network. */
export function crossrank(args: readonly string[], options: RunOptions = {}): Promise<Outcome> {
  return new Promise((resolve, reject) => {
    const own = [...coreArguments, binary, ...args];
    const child = spawn(options.command ?? process.execPath, options.command ? args : own, {
      cwd: options.folder,
      env: { ...commandEnvironment, ...options.environment },
    });
    let stdout = "";
    let stderr = "";
    child.stdout.setEncoding("utf8").on("data", (text: string) => {
      stdout += text;
    });
    child.stderr.setEncoding("utf8").on("data", (text: string) => {
      stderr += text;
      options.onStandardError?.(stderr, child);
    });
    child.on("error", reject);
    child.on("close", (code) => resolve({ code, stdout, stderr }));
    // A command that fails early does not read its input.
    child.stdin.on("error", () => undefined);
    options.onStart?.(child);
    if (options.input !== "open") child.stdin.end(options.input ?? "");
  });
}

const server = fileURLToPath(new URL("./command-server.mjs", import.meta.url));

/** What of {@link RunOptions} a command can have that is no process of its own. */
export interface TurnOptions {
  readonly input?: string | Uint8Array;
  readonly environment?: Readonly<Record<string, string>>;
  readonly folder?: string;
}

export interface Commands {
  /**
   * Runs a command after those before it, and fails where it leaves something that would keep a process of its own
   * alive.
   */
  run(args: readonly string[], options?: TurnOptions): Promise<Outcome>;
  /** Resolves when the process is gone. */
  close(): Promise<void>;
}

/**
 * A process that runs one command after the other, so that only the first loads the modules: for what commands answer,
 * and not for how their process starts, ends, or is interrupted. It starts with the first.
 */
export function openCommands(place: { readonly cwd?: string; readonly env: NodeJS.ProcessEnv }): Commands {
  let serving: ChildProcess | undefined;
  let before: Promise<unknown> = Promise.resolve();
  const runNow = async (
    args: readonly string[],
    { input = "", ...others }: TurnOptions,
  ): Promise<Outcome> => {
    const execArgv = [...process.execArgv, ...coreArguments];
    serving ??= fork(server, { serialization: "advanced", execArgv, ...place });
    const own = serving;
    own.ref();
    own.channel?.ref();
    const stop = new AbortController();
    const answered = once(own, "message", stop);
    const ended = once(own, "exit", stop).then(([code]) => {
      serving = undefined;
      throw new Error(`the process of the commands ended with ${code} in ${args.join(" ")}`);
    });
    try {
      own.send({ args, input, ...others });
      const [{ left, ...outcome }] = (await Promise.race([answered, ended])) as [
        Outcome & { readonly left: readonly string[] },
      ];
      if (left.length > 0) throw new Error(`left by ${args.join(" ")}: ${left.join(", ")}`);
      return outcome;
    } finally {
      // Both end with it: neither is left for others to hear of.
      stop.abort();
      await Promise.allSettled([answered, ended]);
      // Between commands it keeps nothing alive, and ends with the process that has started it.
      own.unref();
      own.channel?.unref();
    }
  };
  return {
    run(args, options = {}) {
      const running = before.then(() => runNow(args, options));
      before = running.catch(() => undefined);
      return running;
    },
    async close() {
      if (serving === undefined) return;
      const gone = once(serving, "exit");
      serving.ref();
      serving.disconnect();
      serving = undefined;
      await gone;
    },
  };
}

/** Of a command: without network. */
export const commandEnvironment: NodeJS.ProcessEnv = { ...inherited, HF_HUB_OFFLINE: "1" };

/** One for all files of a worker: most of what a command costs is its modules. */
const commands = openCommands({ env: commandEnvironment });

/** The same by {@link openCommands}; with an option that it does not take it is a process of its own all the same. */
export function crossrankInTurn(args: readonly string[], options: RunOptions = {}): Promise<Outcome> {
  const { input, folder, environment, ...others } = options;
  if (input === "open" || Object.keys(others).length > 0) return crossrank(args, options);
  return commands.run(args, {
    ...(input === undefined ? {} : { input }),
    ...(folder === undefined ? {} : { folder }),
    ...(environment === undefined ? {} : { environment }),
  });
}

export interface TemporaryFolder {
  path(name: string): string;
  /** @returns the absolute path. */
  write(name: string, content: string | Uint8Array): Promise<string>;
}

/** A folder for the tests of one file, removed after them. Call at the top level of the file. */
export function temporaryFolder(): TemporaryFolder {
  let folder = "";
  beforeAll(async () => {
    folder = await mkdtemp(join(tmpdir(), "crossrank-cli-"));
  });
  afterAll(async () => {
    await rm(folder, { recursive: true, force: true });
  });
  const write = async (name: string, content: string | Uint8Array): Promise<string> => {
    const path = join(folder, name);
    await writeFile(path, content);
    return path;
  };
  return { path: (name) => join(folder, name), write };
}

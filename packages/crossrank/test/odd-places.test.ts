import { execFileSync, spawn } from "node:child_process";
import { mkdir, readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { sampleOf } from "../../../test/sample.js";
import { binary, crossrank, fixture, temporaryFolder } from "./run-command.js";

const folder = temporaryFolder();
const isWindows = process.platform === "win32";

interface Ended {
  readonly code: number | null;
  readonly signal: NodeJS.Signals | null;
  readonly stderr: string;
  readonly milliseconds: number;
}

/** Runs the command by a shell's line, in which `crossrank` stands for it. */
function shell(
  line: string,
  options: { readonly cwd?: string | undefined; readonly env?: NodeJS.ProcessEnv } = {},
): Promise<Ended> {
  const started = performance.now();
  const { NO_COLOR: _noColor, FORCE_COLOR: _forceColor, ...inherited } = process.env;
  const child = spawn(
    "/bin/sh",
    ["-c", `crossrank() { "$CROSSRANK_NODE" "$CROSSRANK_BIN" "$@"; }\n${line}`],
    {
      cwd: options.cwd,
      env: {
        ...inherited,
        HF_HUB_OFFLINE: "1",
        CROSSRANK_NODE: process.execPath,
        CROSSRANK_BIN: binary,
        ...options.env,
      },
      stdio: ["pipe", "ignore", "pipe"],
    },
  );
  child.stdin?.on("error", () => undefined).end();
  let stderr = "";
  child.stderr?.setEncoding("utf8").on("data", (text: string) => {
    stderr += text;
  });
  return new Promise((resolve, reject) => {
    child.on("error", reject);
    child.on("close", (code, signal) =>
      resolve({ code, signal, stderr, milliseconds: performance.now() - started }),
    );
  });
}

describe.skipIf(isWindows)("in odd places", () => {
  /** What ranks one document and writes the result into out.json. */
  const line = 'crossrank rerank -q paris -d "$DOCUMENTS" --format json > "$OUT"';
  let plain: unknown;

  async function rank(
    name: string,
    { cwd, env, command = line }: { cwd?: string; env?: NodeJS.ProcessEnv; command?: string },
  ): Promise<{ readonly ended: Ended; readonly results: unknown }> {
    await mkdir(folder.path(name), { recursive: true });
    const out = join(folder.path(name), "out.json");
    const documents = join(folder.path(name), "documents.txt");
    await writeFile(documents, "paris is a city\nthe cat sat\n");
    const ended = await shell(command, { cwd, env: { OUT: out, DOCUMENTS: documents, ...env } });
    const text = await readFile(out, "utf8").catch(() => "");
    return { ended, results: text === "" ? undefined : JSON.parse(text).results };
  }

  const places: readonly (readonly [string, { cwd?: string; env?: NodeJS.ProcessEnv; command?: string }])[] =
    [
      // Several at once: each must do no harm, and so must all.
      [
        "no HOME, LANG=C, 0 columns, a time zone that is not there",
        {
          env: {
            ...{ HOME: undefined, XDG_CACHE_HOME: undefined, LANG: "C", LC_ALL: "C" },
            ...{ COLUMNS: "0", TZ: "Nowhere/Land" },
          },
        },
      ],
      [
        "an empty HOME, a locale that is not there, 20 columns, TERM=dumb, a time zone of three quarters of an hour",
        {
          env: {
            ...{ HOME: "", LANG: "xx_YY.UTF-9", LC_ALL: "xx_YY.UTF-9" },
            ...{ COLUMNS: "20", TERM: "dumb", TZ: "Pacific/Chatham" },
          },
        },
      ],
      [
        "a HOME that is not there, Turkish, a working directory that cannot be written",
        { cwd: "/proc/self", env: { HOME: "/no/such/home", LANG: "tr_TR.UTF-8", LC_ALL: "tr_TR.UTF-8" } },
      ],
      [
        "a HOME that is a file, no PATH, no temporary folder, a limit of 256 open files",
        {
          env: { HOME: "/dev/null", PATH: "", TMPDIR: "/no/such/tmp" },
          command: `ulimit -n 256; ${line}`,
        },
      ],
      ["standard input closed", { command: `${line} <&-` }],
      ["standard error closed", { command: `${line} 2>&-` }],
      ["standard input and error closed", { command: `${line} <&- 2>&-` }],
      ["a path with spaces, ünïcode, 日本語, a newline\nand a quote'", {}],
    ];

  it.each(sampleOf(places, { name: "places", every: 2 }))("ranks alike: %s", async (name, options) => {
    plain ??= (await rank("plain", {})).results;
    expect(plain).toHaveLength(2);
    const { ended, results } = await rank(name, options);
    expect(ended.code, ended.stderr).toBe(0);
    expect(results).toEqual(plain);
  });

  it("ranks in a working directory that was removed, or says so", async () => {
    const gone = folder.path("gone");
    await mkdir(gone);
    const { ended } = await rank("beside", { cwd: gone, command: `rmdir "$PWD" && ${line}` });
    if (ended.code !== 0) expect(ended.stderr).toMatch(/^crossrank: [^\n]+\n$|uv_cwd/);
  });

  it.each([
    ["closed", "crossrank inspect >&-", 0],
    ["a pipe that has seen enough", "crossrank inspect --format json | head -c 10", 0],
    ["a pipe that closes at once", "crossrank inspect --format json | true", 0],
  ])("ends well with standard output %s", async (_, command, code) => {
    const ended = await shell(command);
    expect(ended.code, ended.stderr).toBe(code);
    expect(ended.stderr).toBe("");
  });

  it.skipIf(process.platform !== "linux")("says that a disk is full", async () => {
    const ended = await shell("crossrank inspect > /dev/full");
    expect(ended.code).toBe(1);
    expect(ended.stderr).toMatch(/^crossrank: cannot write the output: [^\n]*ENOSPC[^\n]*\n$/);
  });

  it.each([24, 40])("says that %i open files are too few", async (limit) => {
    const ended = await shell(`ulimit -n ${limit}; crossrank verify nano`);
    // How many a Node itself needs differs between its versions.
    if (limit > 24 && ended.code === 0) return;
    expect(ended.code).toBe(1);
    expect(ended.stderr).toMatch(/^crossrank: [^\n]*too many files are open[^\n]*\n$/);
  });

  it("prints a table for a terminal of 20 columns", async () => {
    const outcome = await crossrank(["rerank", "-q", "paris", "-d", "-"], {
      input: "paris is a city\n",
      environment: { COLUMNS: "20" },
    });
    expect(outcome.code, outcome.stderr).toBe(0);
    expect(outcome.stdout).toContain("paris is");
  });
});

// Most of their time they wait.
describe.skipIf(isWindows).concurrent("a command that is asked to stop", () => {
  /** Generous: the machine may be busy. The command has 3 seconds. */
  const soon = 30_000;

  /** Starts the command, waits until it is at it, and sends the signal. */
  async function stop(
    args: readonly string[],
    signals: readonly NodeJS.Signals[],
    { wait = 2500, read = true }: { readonly wait?: number; readonly read?: boolean } = {},
  ): Promise<Ended> {
    const child = spawn(process.execPath, [binary, ...args], {
      env: { ...process.env, HF_HUB_OFFLINE: "1" },
      stdio: ["pipe", "pipe", "pipe"],
    });
    let stderr = "";
    child.stderr.setEncoding("utf8").on("data", (text: string) => {
      stderr += text;
    });
    if (read) child.stdout.resume();
    const ended = new Promise<Omit<Ended, "milliseconds">>((resolve) => {
      child.on("exit", (code, signal) => resolve({ code, signal, stderr }));
    });
    await new Promise((resolve) => setTimeout(resolve, wait));
    const started = performance.now();
    for (const signal of signals) {
      child.kill(signal);
      await new Promise((resolve) => setTimeout(resolve, 200));
    }
    const result = { ...(await ended), milliseconds: performance.now() - started };
    child.stdout.destroy();
    return result;
  }

  /** By its own exit, or by the signal, which a shell reports alike. */
  function codeOf({ code, signal }: Ended): number | null {
    return signal === "SIGTERM" ? 143 : signal === "SIGINT" ? 130 : code;
  }

  it.each([
    ["SIGTERM", 143],
    ["SIGINT", 130],
  ] as const)("ends with %s while it waits for its input", async (signal, code) => {
    const ended = await stop(["rerank", "-q", "x", "-d", "-"], [signal]);
    expect(codeOf(ended)).toBe(code);
    expect(ended.milliseconds).toBeLessThan(soon);
    expect(ended.stderr).toBe("");
  });

  it.each([
    ["documents", (pipe: string) => ["rerank", "-q", "x", "-d", pipe]],
    ["a profile", (pipe: string) => ["inspect", "--profile", pipe]],
    ["goldens", (pipe: string) => ["verify", "--goldens", pipe]],
    ["a compute plan", (pipe: string) => ["residency", pipe, "--baseline", pipe]],
  ])("ends while it opens a pipe that nobody writes for %s", async (name, args) => {
    const pipe = folder.path(`pipe-${name.replace(/ /g, "-")}`);
    execFileSync("mkfifo", [pipe]);
    const ended = await stop(args(pipe), ["SIGTERM"]);
    expect(codeOf(ended)).toBe(143);
    expect(ended.milliseconds).toBeLessThan(soon);
  });

  it("ends at once when it is asked twice", async () => {
    const pipe = folder.path("pipe-twice");
    execFileSync("mkfifo", [pipe]);
    const ended = await stop(["rerank", "-q", "x", "-d", pipe], ["SIGTERM", "SIGTERM"]);
    expect(codeOf(ended)).toBe(143);
    expect(ended.milliseconds).toBeLessThan(soon);
  });

  it("ends while nobody reads what it prints", async () => {
    // More than a pipe and both ends hold of it.
    const documents = await folder.write("many.txt", `${"paris is a city ".repeat(40)}\n`.repeat(800));
    const args = ["rerank", "-q", "x", "-d", documents, "--format", "json", "--return-documents"];
    // A model that has scored them all long before it is asked to stop.
    args.push("--model", fixture("cross-encoder"));
    const ended = await stop(args, ["SIGTERM"], { wait: 6000, read: false });
    expect(codeOf(ended)).toBe(143);
    expect(ended.milliseconds).toBeLessThan(soon);
  });
});

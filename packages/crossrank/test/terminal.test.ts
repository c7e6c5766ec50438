import { spawnSync } from "node:child_process";
import { describe, expect, it } from "vitest";
import { binary, crossrank, fixture, type Outcome, temporaryFolder } from "./run-command.js";

const folder = temporaryFolder();
const common = ["rerank", "--query", "what is the capital of france", "--model", fixture("cross-encoder")];

function longInput(documents: number): string {
  return Array.from({ length: documents }, (_, index) => `paris is the capital of france ${index % 10}`).join(
    "\n",
  );
}

describe("interruption", () => {
  it("ends with 130 while it scores, without output", async () => {
    const file = await folder.write("long.txt", longInput(60_000));
    const { code, stdout, stderr } = await crossrank([...common, "--documents", file, "--verbose"], {
      onStandardError: (text, child) => {
        if (text.includes("scoring 60000 documents")) child.kill("SIGINT");
      },
    });
    expect({ code, stdout }).toEqual({ code: 130, stdout: "" });
    expect(stderr.split("\n").filter((line) => !/^crossrank: (reading|loaded) /.test(line))).toEqual([""]);
  });

  it("ends with 130 while it waits for standard input", async () => {
    const { code, stdout, stderr } = await crossrank([...common, "--documents", "-", "--verbose"], {
      input: "open",
      onStandardError: (text, child) => {
        if (text.includes("reading standard input")) child.kill("SIGINT");
      },
    });
    expect({ code, stdout, stderr }).toEqual({
      code: 130,
      stdout: "",
      stderr: "crossrank: reading standard input\n",
    });
  });

  it("ends with 143 on SIGTERM", async () => {
    const { code } = await crossrank([...common, "--documents", "-", "--verbose"], {
      input: "open",
      onStandardError: (_, child) => {
        child.kill("SIGTERM");
      },
    });
    expect(code).toBe(143);
  });
});

describe("a pipe", () => {
  it.each(["table", "json", "jsonl"])("that closes early ends the command quietly: %s", async (format) => {
    const { code, stderr } = await crossrank(
      [...common, "--documents", "-", "--return-documents", "--format", format],
      {
        input: longInput(2000),
        onStart: (child) => {
          child.stdout?.once("data", () => child.stdout?.destroy());
        },
      },
    );
    expect({ code, stderr }).toEqual({ code: 0, stderr: "" });
  });

  it.skipIf(process.platform === "win32")("gives its reader the first line", () => {
    const command = `"${process.execPath}" "${binary}" ${common
      .map((part) => `'${part}'`)
      .join(" ")} --documents - --format jsonl | head -n 1`;
    const { stdout, stderr } = spawnSync("sh", ["-c", command], { input: longInput(2000), encoding: "utf8" });
    expect(stderr).toBe("");
    expect(JSON.parse(stdout)).toMatchObject({ truncatedTokens: 0 });
  });

  it.skipIf(process.platform !== "linux")("that cannot be written is a failure", () => {
    const command = [process.execPath, binary, ...common].map((part) => `'${part}'`).join(" ");
    const { status, stderr } = spawnSync("sh", ["-c", `${command} --documents - > /dev/full`], {
      input: "paris",
      encoding: "utf8",
    });
    expect(status).toBe(1);
    expect(stderr).toMatch(/^crossrank: cannot write the output: ENOSPC[^\n]*\n$/);
  });

  it("gets no progress and no colour", async () => {
    const { code, stdout, stderr } = await crossrank([...common, "--documents", "-"], {
      input: longInput(500),
    });
    expect({ code, stderr }).toEqual({ code: 0, stderr: "" });
    expect(stdout).not.toContain("\u001b");
    expect(stdout).not.toContain("\r");
  });
});

const scriptWorks =
  process.platform === "linux" && spawnSync("script", ["-qec", "true", "/dev/null"]).status === 0;
if (!scriptWorks) {
  console.warn("SKIPPED: the tests on a pseudo-terminal, because util-linux's script is not there");
}

describe.skipIf(!scriptWorks)("a terminal (skipped where util-linux's script is not there)", () => {
  function onTerminal(
    args: readonly string[],
    environment: Readonly<Record<string, string>> = {},
  ): Promise<Outcome> {
    const command = [process.execPath, binary, ...args].map((part) => `'${part}'`).join(" ");
    return crossrank(["-qec", command, "/dev/null"], {
      command: "script",
      environment: { TERM: "xterm", ...environment },
    });
  }

  it("shows progress, and takes it away before the result", async () => {
    const file = await folder.write("terminal.txt", longInput(3000));
    const { code, stdout } = await onTerminal([...common, "--documents", file, "--top-n", "3"]);
    expect(code).toBe(0);
    // The end of a long path is cut at the width of the terminal.
    expect(stdout).toMatch(/loading \S/);
    expect(stdout).toMatch(/scoring 3,000 of 3,000 documents \[#{20}\] 100 %/);
    const lastErased = stdout.lastIndexOf("\r\u001b[2K");
    expect(stdout.slice(lastErased).startsWith("\r\u001b[2Kquery ")).toBe(true);
    expect(stdout.slice(0, lastErased)).not.toContain("\n");
  });

  it("has a bold heading, unless NO_COLOR is set", async () => {
    const file = await folder.write("few.txt", "paris\nthe cat");
    const bold = "\u001b[1mrank";
    expect((await onTerminal([...common, "--documents", file])).stdout).toContain(bold);
    const plain = await onTerminal([...common, "--documents", file], { NO_COLOR: "1" });
    expect(plain.stdout).toMatch(/rank +index +score/);
    expect(plain.stdout).not.toContain(bold);
  });

  it("shows no progress when it is dumb", async () => {
    const file = await folder.write("dumb.txt", "paris\nthe cat");
    const { stdout } = await onTerminal([...common, "--documents", file], { TERM: "dumb", NO_COLOR: "1" });
    expect(stdout).not.toContain("\u001b");
  });

  it("is asked for documents when they come from it", async () => {
    const command = [process.execPath, binary, ...common, "--documents", "-"]
      .map((part) => `'${part}'`)
      .join(" ");
    const { code, stdout } = await crossrank(["-qec", command, "/dev/null"], {
      command: "script",
      // Ctrl-D ends what is typed.
      input: "paris\nthe cat\n\u0004",
    });
    expect(code).toBe(0);
    expect(stdout).toContain("reading documents from this terminal");
    expect(stdout).toContain("scored 2 documents");
  });

  it("keeps Ctrl-C's exit code", async () => {
    const file = await folder.write("long-terminal.txt", longInput(60_000));
    const command = [process.execPath, binary, ...common, "--documents", file]
      .map((part) => `'${part}'`)
      .join(" ");
    let sent = false;
    const { code, stdout } = await crossrank(["-qec", command, "/dev/null"], {
      command: "script",
      input: "open",
      environment: { TERM: "xterm" },
      onStart: (child) => {
        let seen = "";
        child.stdout?.on("data", (text: string) => {
          seen += text;
          if (sent || !seen.includes("scoring ")) return;
          sent = true;
          child.stdin?.end("\u0003");
        });
      },
    });
    expect(code).toBe(130);
    // The heading of the table; the progress line may show a path with "rank" in it.
    expect(stdout).not.toMatch(/rank +index +score/);
    expect(stdout.endsWith("\r\u001b[2K")).toBe(true);
  });
});

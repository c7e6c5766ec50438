import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtemp, readFile, rm, utimes, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { Host, type HostFacts, rememberFiles } from "@crossrank/backend-kit";
import type { RuntimeFailure } from "@crossrank/backend-kit/runtime";
import { afterAll, describe, expect, onTestFinished, test } from "vitest";
import { sampleOf } from "../../../test/sample.js";
import { endWithThisProcess, mostChildren, requireRoomForChild } from "../src/child-processes.js";

interface Calls {
  load: {
    argument: { readonly name: string; readonly crashFile?: string; readonly hangs?: boolean };
    result: { readonly name: string; readonly pid: number };
  };
  run: {
    argument: { readonly how?: string; readonly numbers?: Float32Array };
    result: { readonly name: string; readonly pid: number; readonly numbers?: Float32Array };
  };
  release: { argument: undefined; result: undefined };
}

const folder = await mkdtemp(join(tmpdir(), "crossrank-host-"));
afterAll(() => rm(folder, { recursive: true, force: true }));

function openHost(facts: Partial<HostFacts<Calls>> = {}): Host<Calls> {
  const host = new Host<Calls>({
    isolation: "process",
    entry: new URL("./programs/toy-runtime.mjs", import.meta.url),
    runtime: "toy",
    ...facts,
  });
  onTestFinished(() => host.close());
  return host;
}

async function loadedHost(
  facts: Partial<HostFacts<Calls>> = {},
): Promise<{ host: Host<Calls>; pid: number }> {
  const host = openHost(facts);
  const { pid } = await host.call("load", { name: "one" });
  return { host, pid };
}

async function failureOf(promise: Promise<unknown>): Promise<RuntimeFailure> {
  const outcome = await promise.then(
    () => undefined,
    (error: unknown) => error,
  );
  if (!(outcome instanceof Error)) throw new Error("expected a rejection");
  return outcome as RuntimeFailure;
}

function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch {
    return false;
  }
}

async function untilGone(pid: number): Promise<boolean> {
  for (let tries = 0; tries < 300 && isAlive(pid); tries += 1) {
    await new Promise((resolve) => setTimeout(resolve, 100));
  }
  return !isAlive(pid);
}

const environments = [{ TOY_BLOCKING: "0" }, { TOY_BLOCKING: "1" }] as const;

describe.each(environments)("a child process, %j", (environment) => {
  /** Three ways, of which one kind of process tries two and the other kind the third. */
  const tried = (name: string, ways: readonly string[]): string[] =>
    sampleOf(
      environments.flatMap((one) => ways.map((way) => ({ one, way }))),
      { name, every: 2 },
    ).flatMap(({ one, way }) => (one === environment ? [way] : []));

  test.each(tried("dies", ["segv", "abort", "exit"]))(
    "that dies by %s: the call fails, and the next one has a new one",
    async (how) => {
      const { host, pid } = await loadedHost({ environment });
      const failure = await failureOf(host.call("run", { how }));
      expect(failure).toMatchObject({ name: "RuntimeFailure", stage: "crash" });
      expect(failure.message).toMatch(/toy's process (ended with code 3|was ended by SIG(SEGV|ABRT))/);
      const after = await host.call("run", {});
      expect(after.name).toBe("one");
      expect(after.pid).not.toBe(pid);
    },
  );

  test("that hangs is killed at the deadline, also where it is stopped", async () => {
    for (const how of tried("hangs", ["block", "stop", "never"])) {
      const { host, pid } = await loadedHost({ environment, deadlines: { run: 500 } });
      const failure = await failureOf(host.call("run", { how }));
      expect(failure.stage).toBe("deadline");
      expect(failure.message).toMatch(/toy did not answer within 0\.5 s, so its process was ended/);
      expect(await untilGone(pid)).toBe(true);
      expect((await host.call("run", {})).name).toBe("one");
    }
  });

  test("that hangs while it loads is killed at the deadline", async () => {
    const host = openHost({ environment, deadlines: { load: 700 } });
    const failure = await failureOf(host.call("load", { name: "one", hangs: true }));
    expect(failure.stage).toBe("deadline");
  });

  test.each(tried("close", ["block", "stop", "never"]))(
    "close ends where a call does not: %s",
    async (how) => {
      const { host, pid } = await loadedHost({ environment, deadlines: { close: 500 } });
      const failure = failureOf(host.call("run", { how }));
      await host.close();
      expect((await failure).stage).toBe("crash");
      expect(await untilGone(pid)).toBe(true);
    },
  );

  test("close ends where the idle process is stopped", async () => {
    const { host, pid } = await loadedHost({ environment });
    process.kill(pid, "SIGSTOP");
    await host.close();
    expect(await untilGone(pid)).toBe(true);
  });

  test("a call's own failure is no death", async () => {
    const { host, pid } = await loadedHost({ environment });
    const failure = await failureOf(host.call("run", { how: "throw" }));
    expect(failure).toMatchObject({ stage: "run", message: "this batch is not to my liking" });
    expect((await host.call("run", {})).pid).toBe(pid);
  });

  test("many calls at once after a death start one process, and all are answered", async () => {
    const { host, pid } = await loadedHost({ environment });
    process.kill(pid, "SIGKILL");
    expect(await untilGone(pid)).toBe(true);
    // The first may still find the dead one.
    await host.call("run", {}).catch(() => undefined);
    const pids = await Promise.all(Array.from({ length: 20 }, async () => (await host.call("run", {})).pid));
    expect(new Set(pids).size).toBe(1);
    expect(pids[0]).not.toBe(pid);
  });
});

test("what the process said last is in the failure", async () => {
  const { host } = await loadedHost();
  const failure = await failureOf(host.call("run", { how: "last words" }));
  expect(failure.message).toMatch(/its last words: the last words/);
});

test("a process that dies again and again is left alone for a while", async () => {
  const crashFile = join(folder, "crash");
  const host = openHost();
  await host.call("load", { name: "one", crashFile });
  await writeFile(crashFile, "");
  await failureOf(host.call("run", { how: "abort" }));
  const messages: string[] = [];
  for (let tries = 0; tries < 6; tries += 1) messages.push((await failureOf(host.call("run", {}))).message);
  expect(messages.slice(0, 2).every((message) => message.includes("was ended by SIGABRT"))).toBe(true);
  expect(messages.slice(3).every((message) => message.includes("is not started again for a minute"))).toBe(
    true,
  );
  expect(host.isResting).toBe(true);
});

test("one that lives again after two deaths goes on", async () => {
  const crashFile = join(folder, "crash twice");
  const host = openHost();
  await host.call("load", { name: "one", crashFile });
  await writeFile(crashFile, "");
  await failureOf(host.call("run", { how: "abort" }));
  await failureOf(host.call("run", {}));
  await rm(crashFile);
  expect((await host.call("run", {})).name).toBe("one");
  expect(host.isResting).toBe(false);
});

test("a death while it loads for the first time is the load's failure", async () => {
  const crashFile = join(folder, "crash at first");
  await writeFile(crashFile, "");
  const host = openHost();
  expect((await failureOf(host.call("load", { name: "one", crashFile }))).stage).toBe("crash");
  expect((await failureOf(host.call("run", {}))).stage).toBe("crash");
});

test("a file that changed since is not loaded again", async () => {
  const path = join(folder, "model");
  await writeFile(path, "one");
  const { host } = await loadedHost({ checkUnchanged: await rememberFiles([path]) });
  await failureOf(host.call("run", { how: "abort" }));
  await utimes(path, new Date(), new Date(1e12));
  const failure = await failureOf(host.call("run", {}));
  expect(failure.stage).toBe("model");
  expect(failure.message).toMatch(/has changed since it was loaded/);
});

test("arrays cross as they are", async () => {
  const numbers = Float32Array.from({ length: 300_000 }, (_, index) => index / 7);
  const bytes = Buffer.from(numbers.buffer);
  for (const isolation of ["process", "thread"] as const) {
    const { host } = await loadedHost({ isolation });
    const { numbers: back } = await host.call("run", { numbers });
    expect(
      Buffer.compare(Buffer.from(back?.buffer as ArrayBuffer, back?.byteOffset, back?.byteLength), bytes),
    ).toBe(0);
  }
});

test("a thread that dies is started anew", async () => {
  const { host } = await loadedHost({ isolation: "thread" });
  // In a thread this ends the thread alone.
  expect((await failureOf(host.call("run", { how: "exit" }))).message).toMatch(
    /toy's thread ended with code 3/,
  );
  expect((await host.call("run", {})).name).toBe("one");
});

test("close ends where a thread does not", async () => {
  const { host } = await loadedHost({ isolation: "thread", deadlines: { close: 300 } });
  void host.call("run", { how: "never" }).catch(() => undefined);
  await host.close();
});

describe("an abort", () => {
  const reason = new Error("enough");

  test("rejects with its reason at once, whatever the call is at", async () => {
    for (const isolation of ["process", "thread"] as const) {
      const { host } = await loadedHost({ isolation, deadlines: { close: 300 } });
      const controller = new AbortController();
      const failure = failureOf(host.call("run", { how: "never" }, { signal: controller.signal }));
      controller.abort(reason);
      expect(await failure).toBe(reason);
      expect(await failureOf(host.call("run", {}, { signal: AbortSignal.abort(reason) }))).toBe(reason);
      expect((await host.call("run", {})).name).toBe("one");
    }
  });

  test("300 calls with one signal leave no listener behind and warn of none", async () => {
    const warnings: Error[] = [];
    const keep = (warning: Error): void => void warnings.push(warning);
    process.on("warning", keep);
    const { signal } = new AbortController();
    for (const isolation of ["process", "thread"] as const) {
      const { host } = await loadedHost({ isolation });
      await Promise.all(Array.from({ length: 300 }, () => host.call("run", { how: "wait" }, { signal })));
    }
    await new Promise((resolve) => setTimeout(resolve, 50));
    process.off("warning", keep);
    expect(warnings).toEqual([]);
  });
});

test("there is a bound on processes, with an error above it", async () => {
  const children = Array.from({ length: mostChildren() }, () => {
    requireRoomForChild();
    const child = spawn("sleep", ["600"], { stdio: "ignore" });
    endWithThisProcess(child);
    return child;
  });
  expect(requireRoomForChild).toThrow(/the most that it may have: dispose of models/);
  for (const child of children) child.kill("SIGKILL");
  await Promise.all(children.map(async (child) => child.signalCode ?? once(child, "exit")));
  requireRoomForChild();
});

describe("a child in the midst of native work ends with its parent", () => {
  async function run(ending: string): Promise<{ parent: ReturnType<typeof spawn>; pid: number }> {
    const program = fileURLToPath(new URL("./programs/parent.mjs", import.meta.url));
    const parent = spawn(process.execPath, [program, ending], { stdio: ["ignore", "pipe", "ignore"] });
    let output = "";
    for await (const text of parent.stdout) {
      output += text;
      if (output.endsWith("\n")) break;
    }
    return { parent, pid: Number(output) };
  }

  test.each([
    ["idle", 0],
    ["aborted", 0],
    ["exit", 5],
    ["throw", 1],
  ])("that ends by %s, with code %d", async (ending, wanted) => {
    const { parent, pid } = await run(ending);
    const code = parent.exitCode ?? (await once(parent, "exit"))[0];
    expect(code).toBe(wanted);
    expect(await untilGone(pid)).toBe(true);
  });

  test.each(["SIGKILL", "SIGTERM", "SIGINT"] as const)("that is ended by %s", async (signal) => {
    const { parent, pid } = await run("wait");
    await new Promise((resolve) => setTimeout(resolve, 400));
    parent.kill(signal);
    if (parent.signalCode === null) await once(parent, "exit");
    expect(await untilGone(pid)).toBe(true);
  });
});

test.runIf(process.platform === "linux")(
  "a process asks for large pages, beside what its parent's variables say",
  async () => {
    const before = process.env["GLIBC_TUNABLES"];
    onTestFinished(() => {
      if (before === undefined) delete process.env["GLIBC_TUNABLES"];
      else process.env["GLIBC_TUNABLES"] = before;
    });
    for (const [given, expected] of [
      [undefined, "glibc.malloc.hugetlb=1"],
      ["glibc.malloc.check=0", "glibc.malloc.check=0:glibc.malloc.hugetlb=1"],
      ["glibc.malloc.hugetlb=0", "glibc.malloc.hugetlb=0"],
    ] as const) {
      if (given === undefined) delete process.env["GLIBC_TUNABLES"];
      else process.env["GLIBC_TUNABLES"] = given;
      const { pid } = await loadedHost();
      // glibc parts them in place when it has read them.
      const variables = (await readFile(`/proc/${pid}/environ`, "utf8")).replaceAll("\0", ":");
      expect(variables).toContain(`GLIBC_TUNABLES=${expected}:`);
    }
  },
);

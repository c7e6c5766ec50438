import { appendFileSync, readFileSync } from "node:fs";
import path from "node:path";
import { afterAll, beforeAll, expect } from "vitest";

// What a test file costs, in seconds of processor time: a setup file that vitest.config.ts adds when
// CROSSRANK_TEST_TIMES names a file, for scripts/test-times.mjs. A worker that is not isolated runs several files; each
// is charged with what was spent since the one before it.

interface Spent {
  /** Of this process: user and system. */
  readonly own: number;
  /** Of the child processes, and of theirs that have ended. */
  readonly children: number;
}

/** In seconds, of a process and of its children that have ended. Linux alone says it, at 100 ticks a second. */
function ticked(process: string): readonly [own: number, children: number] {
  // The name of the program, in parentheses, may hold spaces.
  const fields = readFileSync(`/proc/${process}/stat`, "utf8").split(") ")[1]?.split(" ") ?? [];
  const [user, system, childrenUser, childrenSystem] = fields.slice(11, 15).map(Number) as number[];
  return [((user ?? 0) + (system ?? 0)) / 100, ((childrenUser ?? 0) + (childrenSystem ?? 0)) / 100];
}

function spent(): Spent {
  const { user, system } = process.cpuUsage();
  let [, children] = ticked("self");
  for (const child of readFileSync(`/proc/self/task/${process.pid}/children`, "utf8").split(" ")) {
    if (child === "") continue;
    try {
      const [own, ended] = ticked(child);
      children += own + ended;
    } catch {
      // It has just ended.
    }
  }
  return { own: (user + system) / 1e6, children };
}

const key = Symbol.for("crossrank.processor-time");
const shared = globalThis as { [key]?: Spent };

const before = shared[key] ?? { own: 0, children: 0 };
const atSetup = spent();
let atTests = atSetup;

beforeAll(() => {
  atTests = spent();
});

afterAll(() => {
  const end = spent();
  shared[key] = end;
  const rounded = (seconds: number) => Math.round(seconds * 1000) / 1000;
  const line = {
    file: path.relative(process.cwd(), expect.getState().testPath ?? ""),
    start: rounded(atSetup.own - before.own),
    import: rounded(atTests.own - atSetup.own),
    tests: rounded(end.own - atTests.own),
    children: rounded(end.children - before.children),
  };
  appendFileSync(process.env["CROSSRANK_TEST_TIMES"] ?? "", `${JSON.stringify(line)}\n`);
});

import { spawnSync } from "node:child_process";
import { describe, expect, test } from "vitest";
import { describeNative, fixtureFolder } from "./fixtures.js";

/**
 * Trains a tiny model on a batch, then with the address space of MLX's process limited to some megabytes more than it has
 * on one that needs more, and then on the first again. Prints the losses and the error.
 */
const program = (isolation: string, room: number, rows: number): string => `
  import { execFileSync } from "node:child_process";
  import { readdirSync, readFileSync } from "node:fs";
  import { openTraining } from ${JSON.stringify(new URL("../dist/training.js", import.meta.url).href)};
  import { openFixtureFolder } from ${JSON.stringify(new URL("../../conformance/dist/index.js", import.meta.url).href)};
  import { readProfile } from ${JSON.stringify(new URL("../../core/dist/index.js", import.meta.url).href)};
  const { files } = openFixtureFolder(${JSON.stringify(fixtureFolder("bert-logit"))});
  const { profile } = await readProfile(files);
  const session = await openTraining({
    model: files, profile, method: "full", rank: 4, alpha: 4, targets: ["query", "value"], dropout: 0, lowRankDropout: 0,
    seed: 0, compute: "float32", decay: 0, checkpointing: false, threads: 1, isolation: "${isolation}",
  });
  const columns = 48;
  const batch = (rows) => ({
    rows, columns, inputIds: new Int32Array(rows * columns).fill(9),
    attentionMask: new Int32Array(rows * columns).fill(1), segmentIds: new Int32Array(rows * columns),
    lengths: new Int32Array(rows).fill(columns),
  });
  const lossOf = (rows) =>
    session.accumulate(batch(rows), { loss: "binary", labels: new Float32Array(rows).fill(1), share: 1 });
  const before = await lossOf(2);
  const children = readdirSync("/proc/self/task").flatMap((task) =>
    readFileSync("/proc/self/task/" + task + "/children", "utf8").trim().split(" ").filter(Boolean));
  const pid = "${isolation}" === "thread" ? process.pid : Number(children[0]);
  const pages = Number(readFileSync("/proc/" + pid + "/statm", "utf8").split(" ")[0]);
  execFileSync("prlimit", ["--pid", String(pid), "--as=" + (pages * 4096 + ${room} * 2 ** 20)]);
  const { code, reason, message } = await lossOf(${rows}).then(() => ({}), (error) => error);
  const after = await lossOf(2).catch((error) => error.code + " " + error.reason);
  console.log(JSON.stringify({ code, reason, message, before, after }));
  await session.dispose();
`;

function trained(
  isolation: string,
  room: number,
  rows: number,
): Readonly<Record<"code" | "reason" | "message" | "before" | "after", unknown>> {
  const given = ["--input-type=module", "-e", program(isolation, room, rows)];
  const { stdout, stderr, signal } = spawnSync(process.execPath, given, { encoding: "utf8" });
  expect(signal, stderr).toBeNull();
  return JSON.parse(stdout);
}

const fix = "Take a smaller batch size with more accumulation, fewer tokens a pair, gradient checkpointing";

// Linux alone limits another process's memory.
const describeLinux = process.platform === "linux" ? describeNative : describe.skip;

describeLinux("a batch for which there is no memory", () => {
  test.each(["process", "thread"])(
    "one array too large is an error, and training goes on: %s",
    (isolation) => {
      const { code, reason, message, before, after } = trained(isolation, 300, 20_000);
      expect({ code, reason }).toEqual({ code: "mlx-training", reason: "memory" });
      expect(message).toContain("there is not enough memory");
      expect(message).toContain(fix);
      expect(after).toBe(before);
    },
  );

  test("many arrays that are too large together are one too, and at worst the end of MLX's process", () => {
    const { code, reason, message, before, after } = trained("process", 100, 1200);
    expect({ code, reason }).toEqual({ code: "mlx-training", reason: "memory" });
    expect(message).toContain(fix);
    expect([before, "mlx-training memory"]).toContain(after);
  });
});

import { spawnSync } from "node:child_process";
import { fileURLToPath } from "node:url";
import { describe, expect, test } from "vitest";

const program = fileURLToPath(new URL("../scripts/soak.mjs", import.meta.url));

describe("400 calls of 1 to 3 short documents, a few large ones between, leave everything flat", () => {
  // `.ci/long soak` makes 100,000 of each.
  test.each(["process", "thread"])("isolation %s", (isolation) => {
    const { status, stdout, stderr } = spawnSync(
      process.execPath,
      [program, "--calls", "400", "--isolation", isolation, "--json"],
      { encoding: "utf8" },
    );
    expect(stdout, stderr).not.toBe("");
    const { calls, problems } = JSON.parse(stdout);
    expect(problems).toEqual([]);
    expect(calls).toBe(400);
    expect(status, stderr).toBe(0);
  });
});

import { spawnSync } from "node:child_process";
import { fileURLToPath } from "node:url";
import { describe, expect, test } from "vitest";
import { sampleOf } from "./sample.js";

const program = fileURLToPath(new URL("../scripts/soak.mjs", import.meta.url));

describe("500 calls of 1 to 3 short documents, a few large ones between, leave everything flat", () => {
  // `.ci/long soak` makes 100,000 of each, and CI's second run the one that the first does not.
  test.each(sampleOf(["process", "thread"], { name: "soak", every: 2 }))("isolation %s", (isolation) => {
    const { status, stdout, stderr } = spawnSync(
      process.execPath,
      [program, "--calls", "500", "--isolation", isolation, "--json"],
      { encoding: "utf8" },
    );
    expect(stdout, stderr).not.toBe("");
    const { calls, problems } = JSON.parse(stdout);
    expect(problems).toEqual([]);
    expect(calls).toBe(500);
    expect(status, stderr).toBe(0);
  });
});

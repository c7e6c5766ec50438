import { execFile } from "node:child_process";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { expect, test } from "vitest";

const run = promisify(execFile);
const scale = fileURLToPath(new URL("../scale.mjs", import.meta.url));

test("a killed evaluation goes on where it was, and ends with the same scores", async () => {
  const { stdout } = await run(process.execPath, [scale, "--pairs", "10000"]);
  expect(stdout).toMatch(/together 10,000 of 10,000\./);
  expect(stdout).toContain("The scores of the killed run and of one that was left alone are the same.");
});

test("too few pairs are refused", async () => {
  const failure = await run(process.execPath, [scale, "--pairs", "3"]).catch((error: unknown) => error);
  expect(failure).toMatchObject({ code: 1, stderr: expect.stringContaining("--pairs must be") });
});

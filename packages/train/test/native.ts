import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { mlx } from "@crossrank/backend-mlx";
import { describe } from "vitest";
import { afterFile } from "../../../test/after-file.js";

const { available, detail } = await mlx().diagnose();
if (!available) {
  if (process.env["CROSSRANK_REQUIRE_MLX"] === "1") throw new Error(detail);
  console.warn(`SKIPPED: every test of @crossrank/train that needs MLX. ${detail}`);
}

/** `describe` of what needs MLX's addon; with CROSSRANK_REQUIRE_MLX=1 it has to be there. */
export const describeNative: typeof describe.skip = available ? describe : describe.skip;

/** A folder that is removed after the test file. */
export function temporaryFolder(): string {
  const folder = mkdtempSync(join(tmpdir(), "crossrank-train-"));
  afterFile(() => rmSync(folder, { recursive: true, force: true }));
  return folder;
}

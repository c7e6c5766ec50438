import { spawnSync } from "node:child_process";
import { fileURLToPath } from "node:url";
import { expect, test } from "vitest";

// The Mac's half, compiled for Apple Silicon and linked. The first run takes a minute, and fetches crates.

const script = fileURLToPath(new URL("../scripts/check-native.mjs", import.meta.url));

function check(...options: string[]): { status: number | null; output: string } {
  const { status, stdout, stderr } = spawnSync(process.execPath, [script, ...options], { encoding: "utf8" });
  return { status, output: `${stdout}${stderr}` };
}

const tools = check("--tools");
const required = process.env["CROSSRANK_REQUIRE_COREML_CHECK"] === "1";
const skipped = tools.status !== 0 && !required;
if (skipped) console.warn(`SKIPPED: the addon for Core ML is not checked here.\n${tools.output}`);

test.skipIf(skipped)(
  "the addon compiles and links for Apple Silicon",
  () => {
    const { status, output } = check();
    expect(output).toContain("check-native: all is well");
    expect(status).toBe(0);
  },
  900_000,
);

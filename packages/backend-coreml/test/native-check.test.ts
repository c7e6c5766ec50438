import { spawnSync } from "node:child_process";
import { homedir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { expect, test } from "vitest";

// The Mac's half, compiled for Apple Silicon and linked. The first run takes two minutes, and fetches crates.

const script = fileURLToPath(new URL("../scripts/check-native.mjs", import.meta.url));

/** Where CI keeps what was compiled (.ci/native.sh): another clone of the repository compiles its own crates alone. */
const { CROSSRANK_CI_CACHE, XDG_CACHE_HOME, CARGO_TARGET_DIR } = process.env;
const cache = CROSSRANK_CI_CACHE || join(XDG_CACHE_HOME || join(homedir(), ".cache"), "crossrank-ci");
const env = { ...process.env, CARGO_TARGET_DIR: CARGO_TARGET_DIR || join(cache, "coreml-target") };

function check(...options: string[]): { status: number | null; output: string } {
  const { status, stdout, stderr } = spawnSync(process.execPath, [script, ...options], {
    encoding: "utf8",
    env,
  });
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

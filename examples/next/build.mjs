// Turbopack, with crossrank left out as the configuration has it, and webpack with everything in the bundle.
import { execFileSync } from "node:child_process";

for (const [folder, flags, environment] of [
  [".next-standalone", [], { NEXT_STANDALONE: "1" }],
  [".next-webpack", ["--webpack"], { NEXT_BUNDLED: "1" }],
]) {
  const env = { ...process.env, ...environment, NEXT_DIST: folder, NEXT_TELEMETRY_DISABLED: "1" };
  execFileSync("next", ["build", ...flags], { env, stdio: "inherit" });
}

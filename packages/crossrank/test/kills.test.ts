import { spawn } from "node:child_process";
import { once } from "node:events";
import { readdirSync, readFileSync } from "node:fs";
import { rm } from "node:fs/promises";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { createRandom } from "@crossrank/eval";
import { beforeAll, describe, expect, it } from "vitest";
import { isLong, sampleOf } from "../../../test/sample.js";
import { tinyModel, writeTask } from "./evaluation-scene.js";
import { binary, crossrank, temporaryFolder } from "./run-command.js";

/** Folders that are begun anew, and kills of each before it is let finish. */
const [folders, kills] = isLong ? [50, 10] : [1, 2];

const folder = temporaryFolder();
const model = tinyModel(folder);
let task = "";
let config = "";
beforeAll(async () => {
  // Twenty queries that are scored alone, and a call of fourteen.
  task = await writeTask(folder, "task", { queries: 34, candidates: 12, words: 20 });
  config = await folder.write(
    "crossrank.config.json",
    JSON.stringify({
      models: [{ model: "./tiny", threads: 1, workers: 1 }],
      backends: ["onnx:fp32", "onnx:fp16"],
      tasks: ["./task"],
      gates: 1,
    }),
  );
});

const commands = {
  eval: (report: string) => [
    ...["eval", "--model", model(), "--threads", "1", "--workers", "1", "--task", task],
    ...["--backend", "onnx:fp32", "--report", report, "--format", "json"],
  ],
  ci: (report: string) => ["ci", "--config", config, "--report", report, "--format", "json"],
};

/** What a clock, a memory meter or the way there can change. */
const measured =
  /^(?:created|date|speed|memory|evaluation_time|kg_co2_emissions|milliseconds|\w*Milliseconds|crossrank)$/;

function withoutMeasures(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(withoutMeasures);
  if (typeof value !== "object" || value === null) return value;
  return Object.fromEntries(
    Object.entries(value)
      .filter(([key]) => !measured.test(key))
      .map(([key, entry]) => [key, withoutMeasures(entry)]),
  );
}

/** Every file of a report by its path: what is in it but for times. Drawn reports are made of report.json. */
function contentOf(report: string): Record<string, unknown> {
  const names = readdirSync(report, { recursive: true, encoding: "utf8" }).sort();
  return Object.fromEntries(
    names.map((name) => {
      const path = join(report, name);
      if (name.endsWith(".json")) return [name, withoutMeasures(JSON.parse(readFileSync(path, "utf8")))];
      if (name.endsWith(".trec")) return [name, readFileSync(path, "utf8")];
      if (!name.endsWith(".jsonl")) return [name, "there"];
      const [, ...rows] = readFileSync(path, "utf8").trimEnd().split("\n");
      return [name, rows.map((row) => withoutMeasures(JSON.parse(row.slice(row.indexOf(" ")))))];
    }),
  );
}

/** @returns whether it was killed, and had not ended. */
async function killAfter(args: readonly string[], milliseconds: number): Promise<boolean> {
  const child = spawn(process.execPath, [binary, ...args], {
    stdio: "ignore",
    env: { ...process.env, HF_HUB_OFFLINE: "1" },
  });
  const exit = once(child, "exit");
  await Promise.race([sleep(milliseconds), exit]);
  child.kill("SIGKILL");
  const [, signal] = await exit;
  return signal === "SIGKILL";
}

describe.each(sampleOf(Object.entries(commands), { name: "kills", every: 2 }))(
  "crossrank %s that is killed at any moment",
  (name, command) => {
    it("ends with what it would have had", { timeout: isLong ? 6_000_000 : 600_000 }, async () => {
      const undisturbed = folder.path(`${name}-undisturbed`);
      const started = performance.now();
      const whole = await crossrank(command(undisturbed));
      const duration = performance.now() - started;
      expect(whole.code, whole.stderr).toBe(0);
      const expected = contentOf(undisturbed);
      const random = createRandom(17);
      let killed = 0;
      let ended = 0;
      for (let round = 0; round < folders; round += 1) {
        const report = folder.path(`${name}-${round}`);
        for (let kill = 0; kill < kills; kill += 1) {
          // Past the start of Node, where nothing happens yet, up to the end.
          if (await killAfter(command(report), duration * (0.1 + 0.9 * (random.below(1000) / 1000))))
            killed += 1;
          else ended += 1;
        }
        const last = await crossrank(command(report));
        expect(last.code, last.stderr).toBe(0);
        expect(last.stderr).not.toContain("damaged");
        expect(contentOf(report), `round ${round}`).toEqual(expected);
        await rm(report, { recursive: true });
      }
      console.log(`${name}: ${killed} killed, ${ended} had ended before, in ${folders} folders`);
      expect(killed + ended).toBe(folders * kills);
      expect(killed).toBeGreaterThan(0);
    });
  },
);

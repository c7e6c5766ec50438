import { spawnSync } from "node:child_process";
import { mkdir } from "node:fs/promises";
import { beforeAll, describe, expect, it } from "vitest";
import { sampleOf } from "../../../test/sample.js";
import { tinyModel, writeTask } from "./evaluation-scene.js";
import { binary, crossrank, temporaryFolder } from "./run-command.js";

const folder = temporaryFolder();
const model = tinyModel(folder);
let task = "";
beforeAll(async () => {
  task = await writeTask(folder, "task", { queries: 12, candidates: 8, words: 12 });
});

/** A file system of its own, of so many KiB, seen by one process and gone with it. */
const small = (kibibytes: number, script: string): string[] => [
  ...["unshare", "--mount", "bash", "-c"],
  `mount -t tmpfs -o size=${kibibytes}k tmpfs "$0" && ${script}`,
];
const [program = "", ...options] = small(64, "true");
const canMount = spawnSync(program, [...options, "/mnt"]).status === 0;

/** Lists what is there, and what of it is not whole. */
const check = `const fs = require("node:fs");
  for (const name of fs.readdirSync(process.argv[1])) {
    if (name.endsWith(".json")) JSON.parse(fs.readFileSync(process.argv[1] + "/" + name, "utf8"));
    if (name.endsWith(".tmp")) throw new Error(name);
  }`;

describe.runIf(canMount)("a report on a disk that is full", () => {
  // Full while scores are stored, at report.json, and at a file behind it.
  it.each(sampleOf([8, 24, 64], { name: "disk", every: 3 }))(
    "of %d KiB is an error with the path and what to do, and no file is cut",
    async (size) => {
      const report = folder.path(`report-${size}`);
      await mkdir(report);
      const script = `"$@"; code=$?; "$1" -e '${check}' "$0" || exit 99; exit $code`;
      const [command = "", ...before] = small(size, script);
      const evaluation = ["eval", "--model", model(), "--threads", "1", "--workers", "1", "--task", task];
      const { code, stdout, stderr } = await crossrank(
        [
          ...before,
          report,
          process.execPath,
          binary,
          ...evaluation,
          "--backend",
          "onnx:fp32",
          "--report",
          report,
        ],
        { command },
      );
      expect({ code, stdout }, stderr).toEqual({ code: 1, stdout: "" });
      expect(stderr).toMatch(/^crossrank: Cannot write \S+report-\d+\/\S+: the disk is full\. Make room/);
      expect(stderr).toContain(report);
      expect(stderr).not.toMatch(/not expected/);
    },
  );
});

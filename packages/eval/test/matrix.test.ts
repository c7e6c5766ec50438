import { execFile } from "node:child_process";
import { mkdir, mkdtemp, readdir, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { promisify } from "node:util";
import { openFolder } from "@crossrank/hub";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import {
  BaselineFileError,
  type EvaluationHost,
  type Matrix,
  MatrixConfigError,
  matrixOverview,
  matrixPassed,
  openTask,
  planMatrix,
  runMatrix,
  writeReportFolder,
} from "../src/index.js";
import { type Asked, environment, source, useModels, wordTask } from "./run-data/scene.js";

const models = useModels();
let root = "";

beforeAll(async () => {
  root = await mkdtemp(join(tmpdir(), "crossrank-matrix-"));
  for (const [path, content] of Object.entries(wordTask())) {
    await mkdir(join(root, "task", path, ".."), { recursive: true });
    await writeFile(join(root, "task", path), content);
  }
});
afterAll(() => rm(root, { recursive: true, force: true }));

/** All that a caller has to bring: no command, no hub. */
function createHost(): EvaluationHost & { readonly asked: Asked[] } {
  const asked: Asked[] = [];
  return {
    asked,
    openTask: async ({ task }) => openTask(await openFolder(task.task)),
    systemOf: ({ model }, backend) => {
      const system = source(backend, model.model, { dtype: backend.slice("onnx:".length) });
      asked.push(system.asked);
      return system;
    },
    familyOf: async () => "cross-encoder",
    environment: () => environment,
  };
}

async function plan(config: object = {}): Promise<Matrix> {
  return planMatrix(
    {
      models: [{ model: models.tiny, name: "tiny" }],
      backends: ["onnx:fp32", "onnx:fp16"],
      tasks: ["./task"],
      metrics: ["ndcg@10"],
      gates: 1,
      report: "./report",
      ...config,
    },
    { folder: root },
  );
}

describe("a matrix as a library", () => {
  it("is planned, run, resumed, reported and compared with a baseline", async () => {
    const matrix = await plan();
    expect(matrix.cells.map(({ name, systems }) => [name, systems])).toEqual([
      ["tiny on task", ["onnx:fp32", "onnx:fp16"]],
    ]);
    const host = createHost();
    const messages: string[] = [];
    const updateBaseline = join(root, "baseline.json");
    const report = await runMatrix(matrix, host, {
      updateBaseline,
      onMessage: (text) => messages.push(text),
    });
    expect(matrixPassed(report), JSON.stringify(matrixOverview(report))).toBe(true);
    expect(host.asked.map(({ pairs }) => pairs)).toEqual([120, 120]);
    expect(messages).toEqual(["1 of 1: tiny on task", expect.stringMatching(/^wrote the baseline /)]);
    const folder = join(root, "report");
    expect((await readdir(folder)).sort()).toEqual([
      "index.html",
      "junit.xml",
      "report.json",
      "summary.md",
      "tiny-on-task",
    ]);
    expect((await readdir(join(folder, "tiny-on-task"))).sort()).toEqual(
      ["junit.xml", "mteb", "report.html", "report.json", "report.md", "runs", "scores"].sort(),
    );
    expect(JSON.parse(await readFile(join(folder, "report.json"), "utf8"))).toEqual(
      JSON.parse(JSON.stringify(matrixOverview(report))),
    );

    const again = createHost();
    const compared = await runMatrix(matrix, again, { baseline: updateBaseline });
    expect(again.asked.map(({ pairs }) => pairs)).toEqual([0, 0]);
    expect(compared.cells[0]?.baseline?.systems.map(({ status }) => status)).toEqual([
      "compared",
      "compared",
    ]);
    const fresh = createHost();
    await runMatrix(matrix, fresh, { fresh: true });
    expect(fresh.asked.map(({ pairs }) => pairs)).toEqual([120, 120]);
  });

  it("says everything that is wrong, each with its place, as a typed error", async () => {
    const error = await plan({ tasks: [{ task: "./nowhere", limit: 0 }], metrics: ["ndgc"] }).catch(
      (caught: unknown) => caught,
    );
    expect(MatrixConfigError.isInstance(error)).toBe(true);
    expect((error as MatrixConfigError).faults).toEqual([
      expect.stringMatching(/^tasks\[0\]\.limit must be a whole number above 0/),
    ]);
    expect(
      ((await plan({ backends: undefined }).catch((caught: unknown) => caught)) as Error).message,
    ).toContain("backends is missing");
    const host = createHost();
    const filter = await runMatrix(await plan(), host, { filter: "other" }).catch(
      (caught: unknown) => caught,
    );
    expect(MatrixConfigError.isInstance(filter)).toBe(true);
    const baseline = await runMatrix(await plan(), host, { baseline: join(root, "none.json") }).catch(
      (caught: unknown) => caught,
    );
    expect(BaselineFileError.isInstance(baseline)).toBe(true);
    expect(host.asked).toEqual([]);
  });

  it("takes the paths of backends from the configuration's folder, wherever they stand", async () => {
    const matrix = await planMatrix(
      {
        models: [models.tiny],
        backends: ["onnx", "./mine.mjs:fp32"],
        reference: "./other.mjs",
        tasks: ["./task"],
        gates: { systems: { "./mine.mjs:fp32": { margin: 1 } } },
        exclude: [{ backend: "onnx" }],
      },
      { folder: root },
    );
    const at = (name: string): string => expect.stringMatching(new RegExp(`crossrank-matrix-\\w+/${name}$`));
    expect(matrix.cells[0]?.systems).toEqual([at("other\\.mjs"), at("mine\\.mjs:fp32")]);
    expect(Object.keys(matrix.cells[0]?.gates?.systems ?? {})).toEqual([at("mine\\.mjs:fp32")]);
  });
});

describe("the files of a report", () => {
  it("are the old ones, whole, where the disk takes no new ones, and the error names the path", async () => {
    const folder = join(root, "full");
    const host = createHost();
    const matrix = await plan();
    await runMatrix(matrix, host, { report: folder });
    const cell = join(folder, "tiny-on-task");
    const names = ["report.json", "report.md", "report.html", "junit.xml"];
    const before = await Promise.all(names.map((name) => readFile(join(cell, name), "utf8")));
    const script = `
      process.on("SIGXFSZ", () => undefined);
      const { writeReportFolder } = await import(process.argv[1]);
      const { readFileSync } = await import("node:fs");
      const report = JSON.parse(readFileSync(process.argv[2] + "/report.json", "utf8"));
      try {
        await writeReportFolder(process.argv[2], { ...report, created: "2000-01-01T00:00:00.000Z" });
      } catch ({ code, path, message }) {
        console.log(JSON.stringify({ code, path, message }));
      }`;
    const built = new URL("../dist/index.js", import.meta.url).href;
    // In blocks of 1,024 bytes: less than any of the reports has.
    const command = `ulimit -f 1 && exec "$0" --input-type=module -e "$1" "$2" "$3"`;
    const { stdout } = await promisify(execFile)("bash", [
      "-c",
      command,
      process.execPath,
      script,
      built,
      cell,
    ]);
    expect(JSON.parse(stdout)).toEqual({
      code: "file-write",
      path: join(cell, "report.json"),
      message: `Cannot write ${join(cell, "report.json")}: the file system or this process allows no file so large. Choose a folder on another disk.`,
    });
    expect(await Promise.all(names.map((name) => readFile(join(cell, name), "utf8")))).toEqual(before);
    expect((await readdir(cell)).filter((name) => name.endsWith(".tmp"))).toEqual([]);
    // What a writer that was killed left behind goes with the next report.
    await writeFile(join(cell, "report.json.0123456789ab.tmp"), "half");
    await writeReportFolder(cell, JSON.parse(before[0] ?? ""));
    expect((await readdir(cell)).filter((name) => name.endsWith(".tmp"))).toEqual([]);
    expect(await readFile(join(cell, "report.md"), "utf8")).toBe(before[1]);
  });
});

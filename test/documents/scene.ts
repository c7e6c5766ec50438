import { execFile } from "node:child_process";
import { cp, mkdir, mkdtemp, readdir, rm, symlink, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { root } from "./blocks.js";
import { frameworks } from "./frameworks.js";

const command: string = join(root, "packages", "crossrank", "bin", "crossrank.js");

export interface Outcome {
  readonly code: number | string;
  readonly stdout: string;
  readonly stderr: string;
}

/** A reader's shell: without a network, a terminal or colours. */
export function environmentIn(folder: string): NodeJS.ProcessEnv {
  const { NO_COLOR: _noColor, FORCE_COLOR: _forceColor, ...environment } = process.env;
  return { ...environment, HF_HUB_OFFLINE: "1", HF_HUB_CACHE: join(folder, "hub") };
}

/** Runs Node as from a reader's shell. */
export function node(args: readonly string[], folder: string): Promise<Outcome> {
  const options = {
    cwd: folder,
    env: environmentIn(folder),
    timeout: 300_000,
    maxBuffer: 2 ** 26,
  };
  return new Promise((resolve) => {
    execFile(process.execPath, [...args], options, (error, stdout, stderr) => {
      resolve({ code: error === null ? 0 : (error.code ?? String(error.signal)), stdout, stderr });
    });
  });
}

/**
 * What the documents assume: this repository's folders, packages that are installed, a model in ./my-model with an
 * artifact of each kind, tasks, pairs, and a compute plan.
 */
export async function makeScene(): Promise<string> {
  const scene = await mkdtemp(join(tmpdir(), "crossrank-documents-"));
  const modules = join(scene, "node_modules");
  await mkdir(join(modules, "@crossrank"), { recursive: true });
  const packages = await readdir(join(root, "packages"));
  await Promise.all([
    ...packages.map((name) =>
      symlink(
        join(root, "packages", name),
        join(modules, name === "crossrank" ? name : join("@crossrank", name)),
      ),
    ),
    ...[...frameworks].map(([name, folder]) => linkFramework(modules, name, folder)),
    ...["packages", "docs", "bench", "scripts", "lab", "README.md", "package.json"].map((name) =>
      symlink(join(root, name), join(scene, name)),
    ),
    cp(join(root, "examples"), join(scene, "examples"), { recursive: true }),
    ...["scifact", "faq"].map((name) =>
      cp(join(root, "examples", "task"), join(scene, name), { recursive: true }),
    ),
    writeFile(join(scene, "crossrank.config.json"), '{ "models": ["nano"], "tasks": ["./faq"] }\n'),
    writeFile(join(scene, "report.json"), computePlan()),
    cp(
      join(root, "packages/formats/test/fixtures/range.mlpackage"),
      join(scene, "mlpackage/model.mlpackage"),
      {
        recursive: true,
      },
    ),
    writeFile(join(scene, "fingerprint.json"), fingerprint),
    writeFile(
      join(scene, "questions.jsonl"),
      '{"query": "capital of France", "document": "Paris is the capital."}\n{"query": "capital of France", "document": "Lyon."}\n',
    ),
    writeFile(
      join(scene, "pairs.jsonl"),
      '{"query": "capital of France", "documents": ["Paris is the capital.", "Lyon."]}\n',
    ),
    ...["my-model", "my-mnn", "bge"].map((name) => putModel(join(scene, name))),
  ]);
  for (const [name, format, ...rest] of [
    ["my-model", "mlpackage"],
    ["my-model", "onnx", "--dtype", "int8"],
  ] as const) {
    const { code, stderr } = await node(
      [command, "convert", name, "--to", format, ...rest, "--no-verify"],
      scene,
    );
    if (code !== 0) throw new Error(`The scene has no ${format}: ${stderr}`);
  }
  // The same model by another name.
  await cp(join(scene, "my-model", "mlpackage"), join(scene, "bge", "mlpackage"), { recursive: true });
  for (const name of ["my-model", "my-mnn"]) {
    await mkdir(join(scene, name, "mnn"));
    for (const dtype of ["fp32", "fp16"]) {
      const file = dtype === "fp32" ? "model.mnn" : `model_${dtype}.mnn`;
      const fixture = join(root, "packages/backend-mnn/test/fixtures", `bert-logit_${dtype}.mnn`);
      await cp(fixture, join(scene, name, "mnn", file));
    }
  }
  return scene;
}

async function linkFramework(modules: string, name: string, folder: string): Promise<void> {
  const link = join(modules, name);
  await mkdir(dirname(link), { recursive: true });
  await symlink(folder, link);
}

export async function removeScene(scene: string): Promise<void> {
  await rm(scene, { recursive: true, force: true });
}

async function putModel(folder: string): Promise<void> {
  await cp(join(root, "packages/conformance/fixtures/bert-logit"), folder, { recursive: true });
}

/** What planNative gives on a Mac, with the totals of the guide. */
function computePlan(): string {
  const operations = [
    ...Array.from({ length: 924 }, () => ({ operator: "ios18.conv", preferred: "neuralEngine" })),
    ...Array.from({ length: 31 }, () => ({ operator: "ios18.cast", preferred: "cpu" })),
  ];
  return JSON.stringify({ operations });
}

const fingerprint = JSON.stringify({
  schema: "crossrank.residency/1",
  neuralEngine: { total: 924 },
  cpu: { total: 31, operators: { "ios18.cast": 31 } },
  gpu: { total: 0 },
});

/** A copy that one document may change. */
export async function copyScene(scene: string, name: string): Promise<string> {
  const copy = join(dirname(scene), `${scene.split(/[\\/]/).at(-1)}-${name}`);
  await cp(scene, copy, { recursive: true, verbatimSymlinks: true });
  return copy;
}

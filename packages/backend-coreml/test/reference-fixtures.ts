import { cpSync, mkdirSync, mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { onnx } from "@crossrank/backend-onnx";
import { openFixtureFolder } from "@crossrank/conformance";
import {
  type Backend,
  type BackendSession,
  type Batch,
  type LoadRequest,
  readProfile,
} from "@crossrank/core";
import { afterFile } from "../../../test/after-file.js";
import { coreml } from "../src/coreml.js";
import type { Arithmetic } from "../src/reference/translation.js";

const models = fileURLToPath(new URL("../../conformance/fixtures/", import.meta.url));
const own = fileURLToPath(new URL("./fixtures/", import.meta.url));

/** A folder that is removed after the test file. */
export function temporaryFolder(): string {
  const folder = mkdtempSync(join(tmpdir(), "crossrank-coreml-test-"));
  afterFile(() => rmSync(folder, { recursive: true, force: true }));
  return folder;
}

/** A conformance fixture without its artifacts, and packages of this folder's fixtures: path in the model → name. */
export function modelFolder(name: string, packages: Readonly<Record<string, string>> = {}): string {
  const folder = join(temporaryFolder(), name);
  const filter = (path: string): boolean => !/[\\/]onnx$|\.safetensors$/.test(path);
  cpSync(join(models, name), folder, { recursive: true, filter });
  for (const [path, fixture] of Object.entries(packages)) {
    mkdirSync(join(folder, path), { recursive: true });
    cpSync(join(own, `${fixture}.mlpackage`), join(folder, path), { recursive: true });
  }
  return folder;
}

export const usual = "mlpackage/model.mlpackage";

/** What core's ids are fed to, without core: fixed sequences and what they should give. */
export interface RoundedGolden {
  readonly ids: readonly number[];
  readonly segmentIds: readonly number[];
  readonly logit: number;
}

export function readFixture(name: string): unknown {
  return JSON.parse(readFileSync(join(own, name), "utf8"));
}

export function reference(arithmetic?: Arithmetic): Backend {
  return coreml({
    reference: { backend: onnx({ workers: 1, threads: 1, isolation: "thread" }), arithmetic },
  });
}

/** Loads a folder as it is; class logits, unless the request says otherwise. */
export async function load(
  backend: Backend,
  folder: string,
  request: Partial<LoadRequest> = {},
): Promise<BackendSession> {
  const { files } = openFixtureFolder(folder);
  const { profile } = await readProfile(files);
  return backend.load({ files, profile, output: { kinds: ["class-logits"] }, ...request });
}

/** Rows of tokens, filled up with rows of padding. */
export function batchOf(
  sequences: readonly Pick<RoundedGolden, "ids" | "segmentIds">[],
  shape: { readonly rows: number; readonly columns: number; readonly padding?: number },
): Batch {
  const { rows, columns, padding = 0 } = shape;
  const inputIds = new Int32Array(rows * columns).fill(padding);
  const attentionMask = new Int32Array(rows * columns);
  const segmentIds = new Int32Array(rows * columns);
  const lengths = new Int32Array(rows);
  for (const [row, sequence] of sequences.entries()) {
    inputIds.set(sequence.ids, row * columns);
    segmentIds.set(sequence.segmentIds, row * columns);
    attentionMask.fill(1, row * columns, row * columns + sequence.ids.length);
    lengths[row] = sequence.ids.length;
  }
  return { rows, columns, inputIds, attentionMask, segmentIds, lengths };
}

/** The error that a promise rejects with; fails when it resolves. */
export async function rejection(promise: Promise<unknown>): Promise<Error> {
  try {
    await promise;
  } catch (error) {
    return error as Error;
  }
  throw new Error("expected a rejection");
}

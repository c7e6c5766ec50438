import { cp, mkdtemp, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import type { Backend, BackendSession, Batch, LoadRequest, ModelProfile, OutputKind } from "@crossrank/core";
import { afterFile } from "../../../test/after-file.js";
import { folderFiles } from "./folder-files.js";

/** One entry of a goldens.json, as Python's onnxruntime answered, or numpy (decoder). */
export interface Golden {
  readonly inputIds: readonly number[];
  readonly segmentIds: readonly number[];
  readonly logits?: readonly number[];
  readonly hiddenStates?: readonly (readonly number[])[];
  readonly pooled?: readonly number[];
  /** After the last token, of the tokens that the goldens name. */
  readonly tokenLogits?: readonly number[];
  /** At every marker that the goldens name. */
  readonly markedStates?: readonly (readonly number[])[];
}

export const fixturesFolder: string = fileURLToPath(new URL("./fixtures/", import.meta.url));

export function fixture(name: string): string {
  return join(fixturesFolder, name);
}

export async function readGoldens(name: string): Promise<readonly Golden[]> {
  const text = await readFile(join(fixture(name), "goldens.json"), "utf8");
  return (JSON.parse(text) as { sequences: Golden[] }).sequences;
}

/** The fixtures' profile; a backend reads little of it. */
export const profile: ModelProfile = {
  specificationVersion: "1",
  family: "cross-encoder",
  architecture: "bert",
  pairTemplate: [],
  singleTemplate: [],
  readsSegments: true,
  maxLength: 128,
  truncation: "document-only",
  paddingId: 0,
  head: { kind: "logit" },
  activation: "identity",
  queryPrefix: "",
  documentPrefix: "",
};

/** Loads a folder; class logits, unless the request says otherwise. */
export function load(
  backend: Backend,
  folder: string,
  request: Partial<LoadRequest> & { kinds?: readonly OutputKind[]; tokens?: readonly number[] } = {},
): Promise<BackendSession> {
  const { kinds = ["class-logits"], tokens, ...others } = request;
  const output = { kinds, ...(tokens === undefined ? {} : { tokens }) };
  return backend.load({ files: folderFiles(folder), profile, output, ...others });
}

/** Right-padded to the longest, or to `size`. */
export function makeBatch(
  sequences: readonly Pick<Golden, "inputIds" | "segmentIds">[],
  size: { rows?: number; columns?: number } = {},
): Batch {
  const rows = size.rows ?? sequences.length;
  const columns = size.columns ?? Math.max(...sequences.map(({ inputIds }) => inputIds.length));
  const batch = {
    rows,
    columns,
    inputIds: new Int32Array(rows * columns),
    attentionMask: new Int32Array(rows * columns),
    segmentIds: new Int32Array(rows * columns),
    lengths: new Int32Array(rows),
  };
  for (const [row, { inputIds, segmentIds }] of sequences.entries()) {
    batch.inputIds.set(inputIds, row * columns);
    batch.attentionMask.fill(1, row * columns, row * columns + inputIds.length);
    batch.segmentIds.set(segmentIds, row * columns);
    batch.lengths[row] = inputIds.length;
  }
  return batch;
}

/** A folder that is removed after the test file. */
export async function temporaryFolder(): Promise<string> {
  const folder = await mkdtemp(join(tmpdir(), "crossrank-onnx-"));
  afterFile(() => rm(folder, { recursive: true, force: true }));
  return folder;
}

/** A temporary folder with one fixture's model.onnx under each of the given names. */
export async function folderWith(names: readonly string[], source = "cross-encoder"): Promise<string> {
  const folder = await temporaryFolder();
  for (const name of names) {
    await cp(join(fixture(source), "onnx/model.onnx"), join(folder, name));
  }
  return folder;
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

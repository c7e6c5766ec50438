import { cp, mkdir, mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { openFixtureFolder, openFixtures } from "@crossrank/conformance";
import { describeModel, ggufWriter } from "@crossrank/convert";
import {
  type Backend,
  type BackendSession,
  type Batch,
  type LoadRequest,
  type ModelFiles,
  readProfile,
} from "@crossrank/core";
import { readGoldens } from "@crossrank/core/verify";
import { afterFile } from "../../../test/after-file.js";

/** A folder that is removed after the test file. */
export async function temporaryFolder(): Promise<string> {
  const folder = await mkdtemp(join(tmpdir(), "crossrank-llamacpp-"));
  afterFile(() => rm(folder, { recursive: true, force: true }));
  return folder;
}

const converted = new Map<string, Promise<string>>();

/** A folder with one of conformance's models and its GGUF file of each precision, written by convert; once a test file. */
export function convertedFolder(name: string, dtypes: readonly string[] = ["F32"]): Promise<string> {
  const key = `${name} ${dtypes.join(" ")}`;
  const before = converted.get(key);
  if (before !== undefined) return before;
  const made = convertFixture(name, dtypes);
  converted.set(key, made);
  afterFile(() => converted.delete(key));
  return made;
}

async function convertFixture(name: string, dtypes: readonly string[]): Promise<string> {
  const [fixture] = openFixtures([name]);
  if (fixture === undefined) throw new Error(`no fixture ${name}`);
  const { files } = fixture;
  const folder = await temporaryFolder();
  for (const { path } of await files.list()) {
    if (!/\.(json|jinja|txt)$/.test(path) && !/^\d+_/.test(path)) continue;
    await mkdir(join(folder, path, ".."), { recursive: true });
    await cp(await files.localPath(path), join(folder, path));
  }
  const { profile } = await readProfile(files);
  const description = await describeModel(files, profile);
  await mkdir(join(folder, "gguf"));
  for (const dtype of dtypes) {
    const path = join(folder, "gguf", `model-${dtype}.gguf`);
    await ggufWriter.write({ files, description, profile, dtype, path, metadata: { id: name } });
  }
  return folder;
}

/** A copy of a converted model whose GGUF file is changed. */
export async function folderWith(
  name: string,
  change: (bytes: Buffer) => Buffer,
  path = "gguf/model-F32.gguf",
): Promise<string> {
  const source = await convertedFolder(name);
  const folder = await temporaryFolder();
  await cp(source, folder, { recursive: true });
  await rm(join(folder, "gguf"), { recursive: true });
  await mkdir(join(folder, path, ".."), { recursive: true });
  await writeFile(join(folder, path), change(await readFile(join(source, "gguf/model-F32.gguf"))));
  return folder;
}

export function openFolder(folder: string, name?: string): ModelFiles {
  return openFixtureFolder(folder, name).files;
}

/** Loads a folder as core would ask for it. */
export async function load(
  backend: Backend,
  folder: string,
  request: Partial<LoadRequest> = {},
): Promise<BackendSession> {
  const files = openFolder(folder);
  const { profile } = await readProfile(files);
  return backend.load({ files, profile, output: outputFor(profile.head), ...request });
}

type Head = Awaited<ReturnType<typeof readProfile>>["profile"]["head"];

function outputFor(head: Head): LoadRequest["output"] {
  switch (head.kind) {
    case "answer-tokens":
      return {
        kinds: ["token-logits"],
        tokens: [head.positive, ...(head.negative === undefined ? [] : [head.negative])],
      };
    case "cosine":
      return { kinds: ["pooled"] };
    default:
      return { kinds: ["class-logits", "pooled"] };
  }
}

export interface GoldenSequence {
  readonly ids: readonly number[];
  readonly segmentIds: readonly number[];
  readonly logit: number;
}

/** Sequences of the fixture's goldens, with their logits. */
export async function goldenSequences(folder: string): Promise<GoldenSequence[]> {
  const goldens = await readGoldens(openFolder(folder));
  return (goldens?.cases ?? [])
    .flatMap(({ expected }) => Object.values(expected))
    .flatMap((score): GoldenSequence[] => {
      const { ids = [], segmentIds, logit } = score ?? {};
      if (ids.length === 0 || typeof logit !== "number") return [];
      return [{ ids, segmentIds: segmentIds ?? ids.map(() => 0), logit }];
    });
}

/** Right-padded to the longest. */
export function makeBatch(
  sequences: readonly { readonly ids: readonly number[]; readonly segmentIds?: readonly number[] }[],
): Batch {
  const rows = sequences.length;
  const columns = Math.max(...sequences.map(({ ids }) => ids.length));
  const batch = {
    rows,
    columns,
    inputIds: new Int32Array(rows * columns),
    attentionMask: new Int32Array(rows * columns),
    segmentIds: new Int32Array(rows * columns),
    lengths: new Int32Array(rows),
  };
  for (const [row, { ids, segmentIds = [] }] of sequences.entries()) {
    batch.inputIds.set(ids, row * columns);
    batch.attentionMask.fill(1, row * columns, row * columns + ids.length);
    batch.segmentIds.set(segmentIds, row * columns);
    batch.lengths[row] = ids.length;
  }
  return batch;
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

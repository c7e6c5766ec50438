import { cp, mkdir, mkdtemp, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { BinaryReader, WireType } from "@bufbuild/protobuf/wire";
import { type Fixture, openFixtureFolder } from "@crossrank/conformance";
import { type ModelFiles, type ModelProfile, readProfile } from "@crossrank/core";
import { openModel } from "@crossrank/hub";
import type { ArtifactWriter } from "../src/artifact-writer.js";
import { describeModel } from "../src/source/describe-model.js";
import type { ModelDescription } from "../src/source/description.js";

const fixturesFolder: string = fileURLToPath(new URL("../../conformance/fixtures/", import.meta.url));

/** Those whose graph we write: all encoders, and the bi-encoder that is a decoder without its vocabulary. */
export const encoderFixtures: readonly string[] = [
  "bert-cosine-cls",
  "bert-cosine-mean",
  "bert-logit",
  "bert-two-class",
  "roberta-logit",
  "xlm-roberta-logit",
  "modernbert-chain",
  "modernbert-cls",
  "modernbert-mean",
  "deberta-v2-logit",
  "qwen3-cosine-last",
];

/** File names as backend-onnx looks for them. */
export const fileNames: Readonly<Record<string, string>> = {
  fp32: "model.onnx",
  fp16: "model_fp16.onnx",
  int8: "model_int8.onnx",
};

export interface Described {
  readonly files: ModelFiles;
  readonly description: ModelDescription;
  readonly profile: ModelProfile;
}

export async function describeFixture(name: string): Promise<Described> {
  const files = await openModel(join(fixturesFolder, name));
  const { profile } = await readProfile(files);
  return { files, description: await describeModel(files, profile), profile };
}

export async function temporaryFolder(): Promise<{ path: string; close: () => Promise<void> }> {
  const path = await mkdtemp(join(tmpdir(), "crossrank-convert-onnx-"));
  return { path, close: () => rm(path, { recursive: true, force: true }) };
}

/** The fixture with our artifact in the place of its own ONNX file, and without its weights. */
export async function convertedFixture(
  folder: string,
  name: string,
  writer: ArtifactWriter,
  dtype: string,
): Promise<Fixture> {
  const target = join(folder, name);
  await cp(join(fixturesFolder, name), target, {
    recursive: true,
    filter: (source) =>
      !source.includes(join(name, "onnx")) && !source.endsWith(join(name, "model.safetensors")),
  });
  await mkdir(join(target, "onnx"));
  const path = join(target, "onnx", fileNames[dtype] as string);
  await writer.write({
    ...(await describeFixture(name)),
    dtype,
    path,
    metadata: { "crossrank.source": name },
  });
  return openFixtureFolder(target, name);
}

/** What a file's graph holds, as far as the tests ask. */
export interface ReadGraph {
  readonly metadata: Readonly<Record<string, string>>;
  readonly operators: readonly string[];
  readonly domains: readonly string[];
  readonly tensors: readonly { readonly name: string; readonly type: number; readonly external: boolean }[];
  readonly inputs: readonly string[];
}

/** Reads a file by the field numbers of onnx.proto, apart from the writer's own tables. */
export async function readGraph(path: string): Promise<ReadGraph> {
  const metadata: Record<string, string> = {};
  const operators: string[] = [];
  const found = new Set<string>();
  const tensors: { name: string; type: number; external: boolean }[] = [];
  const inputs: string[] = [];
  const text = (bytes: Uint8Array): string => new TextDecoder().decode(bytes);
  const first = (fields: Field[], number: number): string =>
    text((fields.find((field) => field.number === number)?.bytes as Uint8Array) ?? new Uint8Array());
  for (const { number, bytes } of fieldsOf(await readFile(path))) {
    if (number === 14) metadata[first(fieldsOf(bytes), 1)] = first(fieldsOf(bytes), 2);
    if (number !== 7) continue;
    for (const part of fieldsOf(bytes)) {
      const inner = part.number === 1 || part.number === 5 || part.number === 11 ? fieldsOf(part.bytes) : [];
      if (part.number === 1) {
        operators.push(first(inner, 4));
        found.add(first(inner, 7));
      }
      if (part.number === 5) {
        tensors.push({
          name: first(inner, 8),
          type: inner.find((field) => field.number === 2)?.value ?? 0,
          external: inner.find((field) => field.number === 14)?.value === 1,
        });
      }
      if (part.number === 11) inputs.push(first(inner, 1));
    }
  }
  return { metadata, operators, domains: [...found].sort(), tensors, inputs };
}

interface Field {
  readonly number: number;
  readonly bytes: Uint8Array;
  readonly value?: number;
}

function fieldsOf(message: Uint8Array): Field[] {
  const reader = new BinaryReader(message);
  const fields: Field[] = [];
  while (reader.pos < reader.len) {
    const [number, wireType] = reader.tag();
    if (wireType === WireType.LengthDelimited) fields.push({ number, bytes: reader.bytes() });
    else if (wireType === WireType.Varint) {
      fields.push({ number, bytes: new Uint8Array(), value: Number(reader.int64()) });
    } else reader.skip(wireType, number);
  }
  return fields;
}

import { cpSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { type Fixture, openFixtureFolder } from "@crossrank/conformance";
import {
  type Backend,
  type BackendSession,
  type Batch,
  type LoadRequest,
  type OutputKind,
  readProfile,
} from "@crossrank/core";
import { listVocabulary } from "@crossrank/formats/ctranslate2";
import { describe, test } from "vitest";
import { afterFile } from "../../../test/after-file.js";
import { AddonMissingError, loadAddon } from "../src/native.js";

export const conformanceFixtures: string = fileURLToPath(
  new URL("../../conformance/fixtures/", import.meta.url),
);
const ownFixtures = fileURLToPath(new URL("./fixtures/", import.meta.url));

/**
 * Whether there is an addon to test with. Where there is none the tests that need it are skipped, and say so; with
 * CROSSRANK_REQUIRE_CTRANSLATE2=1, as CI sets it once it has built the addon, that is a failure.
 */
export const hasAddon: boolean = findAddon();

/** `describe` and `test` of what needs the addon. */
export const describeNative: typeof describe.skip = hasAddon ? describe : describe.skip;
export const testNative: typeof test.skip = hasAddon ? test : test.skip;

function findAddon(): boolean {
  try {
    loadAddon();
    return true;
  } catch (error) {
    if (!(error instanceof AddonMissingError) || process.env["CROSSRANK_REQUIRE_CTRANSLATE2"] === "1")
      throw error;
    console.warn(
      `SKIPPED: every test of @crossrank/backend-ctranslate2 that needs CTranslate2. ${error.message}`,
    );
    return false;
  }
}

/** A folder that is removed after the test file. */
export function temporaryFolder(): string {
  const folder = mkdtempSync(join(tmpdir(), "crossrank-ctranslate2-"));
  afterFile(() => rmSync(folder, { recursive: true, force: true }));
  return folder;
}

const suffixes = { fp32: "", fp16: "_fp16", int8: "_int8" };

/** A conformance fixture, with its CTranslate2 folders in place of the .onnx. */
export function fixtureFolder(name: string, dtypes: readonly (keyof typeof suffixes)[] = ["fp32"]): string {
  const folder = join(temporaryFolder(), name);
  cpSync(join(conformanceFixtures, name), folder, {
    recursive: true,
    filter: (path) => !/[\\/]onnx$|\.safetensors$/.test(path),
  });
  for (const dtype of dtypes) {
    const artifact = join(folder, `ctranslate2/model${suffixes[dtype]}.ctranslate2`);
    cpSync(join(ownFixtures, `${name}_${dtype}`), artifact, { recursive: true });
    writeFileSync(join(artifact, "vocabulary.json"), JSON.stringify(vocabularyOf(folder)));
  }
  return folder;
}

const readJson = (path: string) => JSON.parse(readFileSync(path, "utf8"));

/** As the converters write it: packages/convert/test/ctranslate2.test.ts holds its bytes against CTranslate2's own. */
export function vocabularyOf(folder: string): readonly string[] {
  const { vocab_size: rows } = readJson(join(folder, "config.json"));
  return listVocabulary(readJson(join(folder, "tokenizer.json")), rows);
}

export function fixture(name: string, dtypes?: readonly (keyof typeof suffixes)[]): Fixture {
  return openFixtureFolder(fixtureFolder(name, dtypes), name);
}

/** The model.bin of a fixture. */
export function modelBytes(name: string): Buffer {
  return readFileSync(join(ownFixtures, name, "model.bin"));
}

/** Where {@link fixtureFolder} puts the model.bin in fp32. */
export function modelPath(folder: string): string {
  return join(folder, "ctranslate2/model.ctranslate2/model.bin");
}

/** Loads a folder as it is; class logits, unless the request says otherwise. */
export async function load(
  backend: Backend,
  folder: string,
  request: Partial<LoadRequest> & { kinds?: readonly OutputKind[] } = {},
): Promise<BackendSession> {
  const { files } = openFixtureFolder(folder);
  const { profile } = await readProfile(files);
  const { kinds = ["class-logits"], ...others } = request;
  return backend.load({ files, profile, output: { kinds }, ...others });
}

/** Rows of the same made-up ids, all of one length. */
export function batchOf(rows: number, columns: number, offset = 0): Batch {
  return {
    rows,
    columns,
    inputIds: Int32Array.from({ length: rows * columns }, (_, place) => 5 + ((place * 7 + offset) % 1000)),
    attentionMask: new Int32Array(rows * columns).fill(1),
    segmentIds: new Int32Array(rows * columns),
    lengths: new Int32Array(rows).fill(columns),
  };
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

import { cpSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { openFixtureFolder } from "@crossrank/conformance";
import {
  type Backend,
  type BackendSession,
  type Batch,
  type LoadRequest,
  type OutputKind,
  readProfile,
} from "@crossrank/core";
import { describe, test } from "vitest";
import { afterFile } from "../../../test/after-file.js";
import { AddonMissingError, loadAddon } from "../src/native.js";

const conformanceFixtures = fileURLToPath(new URL("../../conformance/fixtures/", import.meta.url));
const ownFixtures = fileURLToPath(new URL("./fixtures/", import.meta.url));

/**
 * Whether there is an addon to test with. Where there is none the tests that need it are skipped, and say so; with
 * CROSSRANK_REQUIRE_MLX=1, as CI sets it once it has built the addon, that is a failure.
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
    if (!(error instanceof AddonMissingError) || process.env["CROSSRANK_REQUIRE_MLX"] === "1") throw error;
    console.warn(`SKIPPED: every test of @crossrank/backend-mlx that needs MLX. ${error.message}`);
    return false;
  }
}

/** A folder that is removed after the test file. */
export function temporaryFolder(): string {
  const folder = mkdtempSync(join(tmpdir(), "crossrank-mlx-"));
  afterFile(() => rmSync(folder, { recursive: true, force: true }));
  return folder;
}

/**
 * A copy of a conformance fixture, without what other backends run.
 *
 * @param quantised a folder of test/fixtures whose weights and configuration it gets, as MLX has quantised them.
 */
export function fixtureFolder(name: string, quantised?: string): string {
  const folder = join(temporaryFolder(), name);
  cpSync(join(conformanceFixtures, name), folder, {
    recursive: true,
    filter: (path) => !/[\\/]onnx$/.test(path),
  });
  if (quantised !== undefined) cpSync(join(ownFixtures, quantised), folder, { recursive: true });
  return folder;
}

/** Loads a folder as it is; class logits, unless the request says otherwise. */
export async function load(
  backend: Backend,
  folder: string,
  request: Partial<LoadRequest> & { kinds?: readonly OutputKind[]; tokens?: readonly number[] } = {},
): Promise<BackendSession> {
  const { files } = openFixtureFolder(folder);
  const { profile } = await readProfile(files);
  const { kinds = ["class-logits"], tokens, ...others } = request;
  const output = tokens === undefined ? { kinds } : { kinds, tokens };
  return backend.load({ files, profile, output, ...others });
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

/** One sequence, without padding. */
export function rowOf(ids: readonly number[]): Batch {
  return { ...batchOf(1, ids.length), inputIds: Int32Array.from(ids) };
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

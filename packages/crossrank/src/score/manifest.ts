import { createHash } from "node:crypto";
import type { LongDocuments, ScoreResult } from "@crossrank/core";
import { ScoreJobError } from "./errors.js";
import type { InputMark, OutputFolder } from "./storage.js";

export const manifestName = "manifest.json";
export const indexName = "index.bin";
export const scoresName = "scores.jsonl";
export const errorsName = "errors.jsonl";
export const summaryName = "summary.json";
export const shardsFolder = "shards";

/** Of a manifest. */
const mostBytes = 1 << 20;

/** Everything on which a job's scores depend. Written once, when it begins. */
export interface ScoreManifest {
  readonly version: 1;
  readonly model: {
    readonly id: string;
    readonly revision: string | null;
    readonly artifact: ScoreResult["model"]["artifact"];
    /** sha256 over the reranker's cache key and the packages' version. */
    readonly fingerprint: string;
  };
  readonly backend: ScoreResult["backend"];
  readonly settings: ScoreResult["settings"];
  readonly scale: ScoreResult["scale"];
  readonly input: {
    readonly place: string;
    readonly format: "jsonl" | "parquet";
    readonly size: number;
    readonly mark: InputMark;
    /** Of its bytes; null for Parquet that lies behind an etag. */
    readonly sha256: string | null;
    readonly rows: number;
  };
  readonly options: {
    readonly queryField: string;
    /** Null where a document has its text as `document` or `text`. */
    readonly textFields: readonly string[] | null;
    readonly shardPairs: number;
    readonly batchPairs: number;
  };
  readonly shards: number;
  /** sha256 of the index; null where there is none. */
  readonly index: string | null;
}

/** What the calls of a job are told. */
export interface ScoreCallOptions {
  readonly activation?: "model" | "probability" | undefined;
  readonly instruction?: string | undefined;
  readonly longDocuments?: LongDocuments | undefined;
}

/** @throws {ScoreJobError} where the folder holds a manifest that is none, or one of a newer version. */
export async function readManifest(output: OutputFolder): Promise<ScoreManifest | undefined> {
  const bytes = await output.read(manifestName, mostBytes);
  if (bytes === undefined) return undefined;
  const path = `${output.place}/${manifestName}`;
  const fix = "Name another folder with --output, or remove this one";
  let value: unknown;
  try {
    value = JSON.parse(Buffer.from(bytes).toString("utf8"));
  } catch (cause) {
    throw new ScoreJobError("output", path, `is not JSON. ${fix}`, { cause });
  }
  if (!isManifest(value)) throw new ScoreJobError("output", path, `is no manifest of score. ${fix}`);
  return value;
}

function isManifest(value: unknown): value is ScoreManifest {
  if (!isObject(value) || value["version"] !== 1) return false;
  const { model, input, options, shards, index } = value;
  if (!isObject(model) || !isObject(input) || !isObject(options) || !isObject(value["backend"])) return false;
  const { textFields } = options;
  return (
    typeof model["fingerprint"] === "string" &&
    typeof input["place"] === "string" &&
    (input["format"] === "jsonl" || input["format"] === "parquet") &&
    isObject(input["mark"]) &&
    [input["size"], input["rows"], shards].every(isCount) &&
    [options["shardPairs"], options["batchPairs"]].every((one) => isCount(one) && one > 0) &&
    typeof options["queryField"] === "string" &&
    (textFields === null ||
      (Array.isArray(textFields) && textFields.every((one) => typeof one === "string"))) &&
    (index === null || typeof index === "string") &&
    shards === Math.ceil((input["rows"] as number) / (options["shardPairs"] as number))
  );
}

function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

function isCount(value: unknown): value is number {
  return Number.isSafeInteger(value) && (value as number) >= 0;
}

/**
 * That a job goes on as it was begun.
 * @throws {ScoreJobError} which names what is another now.
 */
export function requireSame(before: ScoreManifest, now: ScoreManifest, output: string): void {
  const fix = "Name another folder with --output, or go on with what it was begun with";
  const fail = (reason: "model" | "input" | "options", what: string): never => {
    throw new ScoreJobError(reason, output, `${what}. ${fix}`);
  };
  if (before.model.fingerprint !== now.model.fingerprint) {
    const name = ({ model, backend }: ScoreManifest): string =>
      `${model.id} as ${model.artifact.format} ${model.artifact.dtype} on ${backend.name}`;
    const same = name(before) === name(now) ? ", with other content, settings or another version" : "";
    fail("model", `was scored with ${name(before)}, and the model is ${name(now)} now${same}`);
  }
  const { input } = before;
  if (input.size !== now.input.size || input.sha256 !== now.input.sha256 || input.rows !== now.input.rows) {
    fail("input", `is of another content of ${input.place} than the file has now`);
  }
  // The sha256 says more where there is one: a file that was touched or moved is the same file.
  if (input.sha256 === null && input.mark.etag !== now.input.mark.etag) {
    fail("input", `is of another content of ${input.place} than the file has now`);
  }
  for (const name of ["shardPairs", "batchPairs", "queryField", "textFields"] as const) {
    const [was, is] = [before.options[name], now.options[name]].map((one) => JSON.stringify(one));
    if (was !== is) fail("options", `was begun with ${name} ${was}, and it is ${is} now`);
  }
  if (before.index !== now.index) fail("input", `has another index than ${input.place} gives`);
}

/** A job's identity: the same model, the same pairs in the same shards, into the same place. */
export function jobIdentity({ model, input, options }: ScoreManifest, output: string): string {
  const content = input.sha256 ?? input.mark.etag ?? null;
  return hash(["job", 1, model.fingerprint, content, options, output]);
}

/** sha256 of a value's JSON, as hex. */
export function hash(value: unknown): string {
  return createHash("sha256").update(JSON.stringify(value)).digest("hex");
}

/** Relative to the job's folder. At most a thousand lie in one folder. */
export function shardName(shard: number): string {
  return `${shardsFolder}/${digits(Math.floor(shard / 1000))}/${digits(shard)}.jsonl`;
}

function digits(value: number): string {
  return String(value).padStart(9, "0");
}

/** The number in a name of {@link shardName}; undefined for another file. */
export function shardOf(name: string): number | undefined {
  const [, number] = /\/(\d{9,})\.jsonl$/.exec(name) ?? [];
  const shard = Number(number);
  return number !== undefined && shardName(shard) === name ? shard : undefined;
}

import { ScoreJobError } from "./errors.js";
import type { PairFields, PairRow } from "./pair-row.js";
import type { InputFile } from "./storage.js";

/** A shard of a file of pairs, by its number. */
export interface PairFile {
  /**
   * The rows of a shard, in order. Ends with an error where they are not those that the job began with.
   * @throws {ScoreJobError}
   */
  rows(shard: number, signal?: AbortSignal): AsyncIterable<PairRow>;
}

export interface PairFileOptions extends PairFields {
  readonly shardPairs: number;
}

/** Bytes at the beginning that tell what a file is. */
const signs: readonly (readonly [sign: string, what: string])[] = [
  ["\x1f\x8b", "packed with gzip. Unpack it first: a shard is read from its middle"],
  ["\x28\xb5\x2f\xfd", "packed with zstd. Unpack it first: a shard is read from its middle"],
  ["PK\x03\x04", "a zip archive. Unpack it first"],
  ["PARE", "an encrypted Parquet file. Write it without encryption"],
  ["ARROW1", "an Arrow file. Write it as Parquet or JSONL"],
];

/**
 * What the file is, by its content.
 * @throws {ScoreJobError} for what is neither JSONL nor Parquet.
 */
export async function formatOf(input: InputFile, signal?: AbortSignal): Promise<"jsonl" | "parquet"> {
  const head = Buffer.from(await readAll(input, 0, Math.min(64, input.size), signal)).toString("latin1");
  if (head.startsWith("PAR1")) return "parquet";
  const known = signs.find(([sign]) => head.startsWith(sign));
  if (known !== undefined) throw new ScoreJobError("input", input.place, `is ${known[1]}`);
  const text = head.replace(/^\u00ef\u00bb\u00bf/, "").trimStart();
  if (text.startsWith("[")) {
    throw new ScoreJobError(
      "input",
      input.place,
      "is a JSON array. Write one object a line: jq -c '.[]' makes them of an array",
    );
  }
  return "jsonl";
}

/** A range at once. */
export async function readAll(
  input: InputFile,
  start: number,
  end: number,
  signal?: AbortSignal,
): Promise<Uint8Array> {
  const pieces: Uint8Array[] = [];
  for await (const piece of input.read(start, end, signal)) pieces.push(piece);
  const bytes = Buffer.concat(pieces);
  if (bytes.length !== end - start) throw changed(input);
  return bytes;
}

/** What is thrown where an input is no more what it was. */
export function changed(input: InputFile): ScoreJobError {
  return new ScoreJobError(
    "input",
    input.place,
    "has changed since the job began. Begin a new one in another folder",
  );
}

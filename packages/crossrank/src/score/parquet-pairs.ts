import type { AsyncBuffer, FileMetaData } from "hyparquet";
import { ScoreJobError } from "./errors.js";
import { changed, type PairFile, type PairFileOptions, readAll } from "./pair-file.js";
import { fieldsOf, readPair } from "./pair-row.js";
import type { InputFile } from "./storage.js";

/** Bytes of the largest footer, and of the largest row group, unpacked, that is read. */
const mostFooterBytes = 256 * 1024 * 1024;
const mostGroupBytes = 2 ** 31;

/** A Parquet file, opened. */
export interface ParquetFile {
  readonly rows: number;
  pairs(options: PairFileOptions): PairFile;
}

/** @throws {ScoreJobError} for a damaged file. */
export async function openParquet(input: InputFile, signal?: AbortSignal): Promise<ParquetFile> {
  const damaged = (error: unknown): ScoreJobError =>
    new ScoreJobError("input", input.place, `cannot be read as Parquet (${reasonOf(error)})`, {
      cause: error,
    });
  const tail = Buffer.from(await readAll(input, Math.max(0, input.size - 8), input.size, signal));
  if (tail.length < 8 || tail.toString("latin1", 4) !== "PAR1") throw damaged("it ends in the middle");
  if (tail.readUInt32LE(0) > Math.min(mostFooterBytes, input.size)) throw damaged("its footer is too large");
  // Loaded where there is such a file.
  const [{ parquetMetadataAsync, parquetReadObjects }, { compressors }] = await Promise.all([
    import("hyparquet"),
    import("hyparquet-compressors"),
  ]);
  const file: AsyncBuffer = {
    byteLength: input.size,
    slice: async (start, end = input.size) => {
      const bytes = await readAll(input, start < 0 ? input.size + start : start, end);
      const own = new Uint8Array(bytes);
      return own.buffer;
    },
  };
  const metadata: FileMetaData = await parquetMetadataAsync(file).catch((error: unknown) => {
    throw damaged(error);
  });
  const starts: number[] = [0];
  for (const group of metadata.row_groups) {
    const rows = Number(group.num_rows);
    if (!Number.isSafeInteger(rows) || rows < 0) throw damaged("a row group has no count of rows");
    starts.push((starts.at(-1) as number) + rows);
  }
  const rows = starts.at(-1) as number;
  if (rows !== Number(metadata.num_rows)) throw damaged("its row groups have not the rows that it says");
  const names = new Set(metadata.schema.slice(1).map(({ name }) => name));
  return {
    rows,
    pairs(options) {
      const columns = fieldsOf(options).filter((name) => names.has(name));
      // A row group is read at once, and shards of it come one after the other.
      let kept: { readonly group: number; readonly rows: Promise<Record<string, unknown>[]> } | undefined;
      const groupRows = (group: number): Promise<Record<string, unknown>[]> => {
        if (kept?.group === group) return kept.rows;
        const [rowStart, rowEnd] = [starts[group] as number, starts[group + 1] as number];
        const bytes = (metadata.row_groups[group]?.columns ?? [])
          .filter(({ meta_data: facts }) => columns.includes(facts?.path_in_schema[0] ?? ""))
          .reduce((sum, { meta_data: facts }) => sum + Number(facts?.total_uncompressed_size ?? 0), 0);
        if (bytes > mostGroupBytes) {
          throw new ScoreJobError(
            "input",
            input.place,
            `has a row group of ${bytes} bytes, which is read at once. Write it with smaller ones, e.g. of 10,000 rows`,
          );
        }
        const read = parquetReadObjects({ file, metadata, compressors, columns, rowStart, rowEnd }).then(
          async (read) => {
            // The footer in memory says nothing of a file that another one took the place of.
            if (!(await input.isSame())) throw changed(input);
            if (read.length !== rowEnd - rowStart) throw damaged("a row group has other rows than it says");
            return read;
          },
          async (error: unknown) => {
            if (!(await input.isSame())) throw changed(input);
            throw ScoreJobError.isInstance(error) ? error : damaged(error);
          },
        );
        kept = { group, rows: read };
        // Who awaits it hears of it.
        read.catch(() => {
          kept = undefined;
        });
        return read;
      };
      return {
        async *rows(shard, signal) {
          const end = Math.min((shard + 1) * options.shardPairs, rows);
          let row = shard * options.shardPairs;
          let group = starts.findLastIndex((start) => start <= row);
          while (row < end) {
            signal?.throwIfAborted();
            if (group >= starts.length - 1) throw damaged("it has fewer rows than it says");
            const start = starts[group] as number;
            const last = Math.min(end, starts[group + 1] as number);
            if (row < last) {
              const values = await groupRows(group);
              for (; row < last; row += 1)
                yield readPair(values[row - start], { row, line: row + 1 }, options);
            }
            group += 1;
          }
        },
      };
    },
  };
}

function reasonOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}

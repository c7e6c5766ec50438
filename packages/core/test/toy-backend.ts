import type { Backend, BackendSession, Batch, Capabilities, OutputKind, RawOutput } from "../src/index.js";

/** What a toy session says and does otherwise than a sound one. */
export interface ToyOptions {
  /** Default: the first kind that is asked for. */
  readonly output?: OutputKind;
  /** Numbers of a vector. Default 32. */
  readonly width?: number;
  readonly capabilities?: Partial<Record<keyof Capabilities, unknown>>;
  /** Put over the session. */
  readonly session?: object;
  readonly run?: (batch: Batch, sound: RawOutput) => unknown;
}

export interface ToyBackend extends Backend {
  readonly counts: { loads: number; open: number; runs: number; rows: number };
}

/** A runtime of every family: its numbers are arithmetic on ids, so that equal sequences give equal numbers. */
export function toyBackend(options: ToyOptions = {}): ToyBackend {
  const { width = 32 } = options;
  const counts = { loads: 0, open: 0, runs: 0, rows: 0 };
  return {
    specificationVersion: "v1",
    name: "toy",
    families: ["cross-encoder", "bi-encoder", "causal-lm", "listwise", "late-interaction"],
    counts,
    diagnose: async () => ({ available: true, detail: "arithmetic" }),
    load: async ({ output: { kinds, tokens = [] } }) => {
      const output = options.output ?? (kinds[0] as OutputKind);
      counts.loads += 1;
      counts.open += 1;
      let open = true;
      const dispose = async (): Promise<void> => {
        if (open) counts.open -= 1;
        open = false;
      };
      const session: BackendSession = {
        info: { name: "toy", runtime: { name: "toy", version: "1" } },
        artifact: { format: "onnx", dtype: "fp32", files: [{ path: "toy.onnx", sha256: "0".repeat(64) }] },
        capabilities: {
          output,
          maxSequenceLength: undefined,
          sequenceLengths: "any",
          batchSize: { max: 8 },
          batchPreference: { rows: 4, tokens: 2048, padding: 1 },
          segmentIds: true,
          rowsAffectScores: false,
          concurrentRuns: 1,
          cancelsWithinBatch: false,
          ...(options.capabilities as object),
        },
        settings: {},
        run: async (batch) => {
          counts.runs += 1;
          counts.rows += batch.rows;
          const sound = compute(output, batch, tokens, width);
          return (options.run === undefined ? sound : await options.run(batch, sound)) as RawOutput;
        },
        dispose,
        [Symbol.asyncDispose]: dispose,
      };
      return { ...session, ...options.session };
    },
  };
}

function compute(
  kind: OutputKind,
  batch: Batch,
  tokens: readonly number[],
  width: number,
): RawOutput & { readonly data: Float32Array } {
  const rows = Array.from({ length: batch.rows }, (_, row) => [
    ...batch.inputIds.subarray(row * batch.columns, row * batch.columns + (batch.lengths[row] as number)),
  ]);
  const numberOf = (ids: readonly number[], salt: number): number =>
    Math.sin(ids.reduce((sum, id, at) => sum + (id % 97) * ((at % 13) + 1), salt));
  const vectorOf = (ids: readonly number[]): number[] =>
    Array.from({ length: width }, (_, at) => numberOf(ids, at + 1));
  const flat = (shape: number[], data: number[]): RawOutput => ({
    kind,
    shape,
    data: Float32Array.from(data),
  });
  switch (kind) {
    case "class-logits":
      return flat(
        [batch.rows, 1],
        rows.map((ids) => numberOf(ids, 0)),
      );
    case "token-logits":
      return flat(
        [batch.rows, tokens.length],
        rows.flatMap((ids) => tokens.map((token) => numberOf(ids, token))),
      );
    case "pooled":
      return flat([batch.rows, width], rows.flatMap(vectorOf));
    case "hidden-states":
      return flat(
        [batch.rows, batch.columns, width],
        rows.flatMap((ids) =>
          Array.from({ length: batch.columns }, (_, at) => vectorOf(ids.slice(0, at + 1))).flat(),
        ),
      );
    case "marked-states": {
      const marks = rows.map((ids) => [...ids.keys()].filter((at) => tokens.includes(ids[at] as number)));
      const most = Math.max(...marks.map((found) => found.length));
      return flat(
        [batch.rows, most, width],
        rows.flatMap((ids, row) =>
          Array.from({ length: most }, (_, mark) => {
            const at = marks[row]?.[mark];
            return at === undefined ? new Array<number>(width).fill(0) : vectorOf(ids.slice(0, at + 1));
          }).flat(),
        ),
      );
    }
  }
}

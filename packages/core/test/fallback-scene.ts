import { join } from "node:path";
import { referenceBackend } from "../../conformance/src/reference-backend.js";
import { type Backend, BackendRunError, type BackendSession, type ModelFiles } from "../src/index.js";
import { fixtures, folderFiles } from "./folder-files.js";

export const query = "which tokens does the model read";
/** A word of bert-logit's vocabulary. */
export const poison = "tokenizer";
export const documents: readonly string[] = Array.from(
  { length: 30 },
  (_, index) =>
    `${["the model", "a backend", "every thread", "the weights"][index % 4]} of document ${index}`,
);

export const fixture = (name: string): ModelFiles => folderFiles(join(fixtures, name), name);

/** The same model with some files changed; undefined takes one away. */
export function withFiles(
  files: ModelFiles,
  changes: Readonly<Record<string, Uint8Array | string | undefined>>,
): ModelFiles {
  const changed = (path: string): Uint8Array | undefined => {
    const content = changes[path];
    return typeof content === "string" ? new TextEncoder().encode(content) : content;
  };
  return {
    ...files,
    list: async () => {
      const listed = await files.list();
      return listed
        .filter(({ path }) => !(path in changes) || changes[path] !== undefined)
        .map((file) => ({ ...file, size: changed(file.path)?.length ?? file.size }));
    },
    readText: async (path) => {
      const content = changed(path);
      return content === undefined ? files.readText(path) : new TextDecoder().decode(content);
    },
    readBytes: async (path, range) =>
      changed(path)?.slice(range.start, range.end) ?? files.readBytes(path, range),
  };
}

/** A fixture whose model.safetensors has other numbers in one tensor. */
export async function withTensor(
  name: string,
  tensor: string,
  edit: (values: Float32Array) => void,
): Promise<ModelFiles> {
  const files = fixture(name);
  const path = "model.safetensors";
  const bytes = Uint8Array.from(await files.readBytes(path, { start: 0, end: Number.MAX_SAFE_INTEGER }));
  const length = Number(new DataView(bytes.buffer).getBigUint64(0, true));
  const header = JSON.parse(new TextDecoder().decode(bytes.subarray(8, 8 + length)));
  const [start, end] = header[tensor].data_offsets as [number, number];
  const values = new Float32Array(bytes.slice(8 + length + start, 8 + length + end).buffer);
  edit(values);
  bytes.set(new Uint8Array(values.buffer), 8 + length + start);
  return withFiles(files, { [path]: bytes });
}

/** The token of a word of bert-logit's vocabulary. */
async function tokenOf(word: string): Promise<number> {
  const text = await fixture("bert-logit").readText("tokenizer.json");
  return (JSON.parse(text).model.vocab as Record<string, number>)[word] as number;
}

/** Loads, and scores everything alike: its classifier is zeros. */
export function headlessModel(): Promise<ModelFiles> {
  return withTensor("bert-logit", "classifier.weight", (values) => {
    values.fill(0);
  });
}

/** A promise that is settled from outside. */
export interface Gate {
  readonly opened: Promise<void>;
  open(): void;
}

export function gate(): Gate {
  let open = (): void => {};
  const opened = new Promise<void>((resolve) => {
    open = resolve;
  });
  return { opened, open };
}

/** What a reference backend is asked to do, in order, by `name`. */
export interface Watched {
  readonly backend: Backend;
  readonly events: string[];
  /** Resolves when the next batch waits at the gate. */
  readonly atGate: Promise<void>;
  /** Batches run so far, the probe's among them. */
  batches(): number;
}

/**
 * The float64 reference, one row a batch, with its events on record. From batch `holdFrom` on (the probe's count), a
 * batch waits at the gate first, deaf to its signal: a runtime that cannot be interrupted. With `poisoned`, bert-logit
 * gives NaN wherever {@link poison} is read. The batch `breaksAt` fails, after the gate, and later than one beside it
 * ends.
 */
export function watched(
  name: string,
  options: {
    events?: string[];
    holdFrom?: number;
    gate?: Gate;
    poisoned?: boolean;
    breaksAt?: number;
    concurrentRuns?: number;
    /** `load` and `dispose` wait for these; the load does not hear its signal. */
    loadGate?: Gate;
    disposeGate?: Gate;
  } = {},
): Watched {
  const events = options.events ?? [];
  const inner = referenceBackend({
    batchPreference: { rows: 1, tokens: 1024, padding: 0.5 },
    concurrentRuns: options.concurrentRuns,
  });
  const reached = gate();
  let batches = 0;
  const wrap = (session: BackendSession): BackendSession => {
    const running = new Set<Promise<unknown>>();
    const run: BackendSession["run"] = async (batch) => {
      batches += 1;
      const breaks = batches === options.breaksAt;
      if (batches > (options.holdFrom ?? Number.POSITIVE_INFINITY)) {
        reached.open();
        await options.gate?.opened;
      }
      if (breaks) {
        await new Promise((resolve) => setTimeout(resolve, 100));
        throw new BackendRunError({ backend: name, problem: "the device was lost" });
      }
      const ids = batch.inputIds.slice();
      const output = await session.run(batch);
      if (options.poisoned && ids.includes(await tokenOf(poison))) output.data.fill(Number.NaN);
      return output;
    };
    const dispose = async (): Promise<void> => {
      await Promise.allSettled([...running, options.disposeGate?.opened]);
      await session.dispose();
      events.push(`${name}: disposed`);
    };
    return {
      info: session.info,
      artifact: session.artifact,
      capabilities: { ...session.capabilities, cancelsWithinBatch: false },
      settings: session.settings,
      run: (batch, runOptions) => {
        const work = run(batch, runOptions);
        running.add(work);
        return work;
      },
      dispose,
      [Symbol.asyncDispose]: dispose,
    };
  };
  const backend: Backend = {
    ...inner,
    load: async (request) => {
      events.push(`${name}: load`);
      await options.loadGate?.opened;
      const session = await inner.load({ ...request, signal: undefined });
      events.push(`${name}: loaded`);
      return wrap(session);
    },
  };
  return { backend, events, atGate: reached.opened, batches: () => batches };
}

/** Batches that the probe takes, at one row a batch. */
export const probeBatches = 4;

/** The error that a promise rejects with; fails when it resolves. */
export async function rejection(promise: Promise<unknown>): Promise<Error> {
  try {
    await promise;
  } catch (error) {
    return error as Error;
  }
  throw new Error("expected a rejection");
}

import { mkdir, mkdtemp, readdir, rm, stat, utimes } from "node:fs/promises";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { rememberFiles } from "@crossrank/backend-kit";
import {
  type Backend,
  type BackendSession,
  type LoadRequest,
  type ModelFile,
  ModelFileNotFoundError,
  type ModelFiles,
  type Settings,
} from "@crossrank/core";
import type { ModelPackage } from "@crossrank/formats/mlpackage";
import { largestMessage, writeModelFile } from "@crossrank/formats/onnx";
import type { Predictor, PredictorInput, PredictorOutput } from "../predictor.js";
import { graphOutput, type TranslationRequest, translate } from "./translate.js";
import type { Arithmetic } from "./translation.js";

/** ReduceMean with axes as an input, and Split with `num_outputs`, are of opset 18. */
const opset = 18;

/** Name of the backend's runtime with what runs it. */
export function referenceRuntime(runtime: { readonly name: string; readonly version: string }): {
  readonly name: string;
  readonly version: string;
} {
  return { name: `Core ML reference (on ${runtime.name})`, version: runtime.version };
}

/**
 * Opens a package on a backend for ONNX files: its program becomes an ONNX file in a temporary folder, which is
 * removed once the backend has loaded it.
 *
 * @throws {UntranslatableProgramError} for what the translation does not cover.
 * @throws what the backend throws for the file, or the signal's reason.
 */
export async function openReferencePredictor(
  backend: Backend,
  model: ModelPackage,
  request: TranslationRequest & Pick<LoadRequest, "profile" | "signal">,
): Promise<Predictor> {
  const { profile, signal } = request;
  const checkUnchanged = await rememberFiles(pathsOf(model));
  const folder = await mkdtemp(join(tmpdir(), "crossrank-coreml-"));
  const restore = async (): Promise<void> => {
    await checkUnchanged();
    await writeProgram(folder, model, { ...request, signal: undefined });
    await checkUnchanged();
  };
  try {
    await writeProgram(folder, model, request);
    const session = await backend.load({
      files: filesOf(folder),
      // A default precision is that of the model's own files.
      profile: { ...profile, defaultDtype: undefined },
      output: { kinds: ["class-logits"] },
      dtype: "fp32",
      signal,
    });
    // At once, so that a program that ends without `dispose` leaves no copy of the weights behind. Where files in use
    // cannot be removed, `close` does it.
    await rm(folder, { recursive: true, force: true }).catch(() => undefined);
    return new ReferencePredictor(session, { folder, restore, arithmetic: request.arithmetic });
  } catch (error) {
    await rm(folder, { recursive: true, force: true });
    throw error;
  }
}

/** Files of a package, absolute. */
function pathsOf({ path, files }: ModelPackage): readonly string[] {
  const isFile = !path.endsWith(".mlpackage") && files.some((file) => path.endsWith(file.path));
  return files.map((file) => join(isFile ? dirname(path) : path, file.path));
}

/** So that a program that is written once more is the file that the backend loaded. */
const writtenAt = new Date(0);

async function writeProgram(
  folder: string,
  model: ModelPackage,
  request: TranslationRequest & Pick<LoadRequest, "signal">,
): Promise<void> {
  const { signal } = request;
  const graph = await translate(model, request);
  signal?.throwIfAborted();
  await mkdir(folder, { recursive: true });
  await writeModelFile({
    path: join(folder, "model.onnx"),
    graph,
    name: "mlprogram",
    opset,
    // Fusing across operations would skip the rounding between them.
    metadata: { "crossrank.graph": "final" },
    externalFrom: largestMessage,
    signal,
    onProgress: undefined,
  });
  for (const name of await readdir(folder)) await utimes(join(folder, name), writtenAt, writtenAt);
}

class ReferencePredictor implements Predictor {
  readonly runtime: { readonly name: string; readonly version: string };
  /** The arithmetic, and what the backend that computes was told. */
  readonly settings: Settings;
  readonly concurrentRuns: number;
  readonly rowsAffectScores: boolean;
  readonly #session: BackendSession;
  readonly #folder: string;
  readonly #restore: () => Promise<void>;
  #restored: Promise<void> | undefined;

  constructor(
    session: BackendSession,
    facts: {
      readonly folder: string;
      /** Writes the program once more, where the backend loaded it from. */
      readonly restore: () => Promise<void>;
      readonly arithmetic: Arithmetic;
    },
  ) {
    this.settings = { ...session.settings, arithmetic: facts.arithmetic };
    this.#session = session;
    this.#folder = facts.folder;
    this.#restore = facts.restore;
    this.runtime = referenceRuntime(session.info.runtime);
    this.concurrentRuns = session.capabilities.concurrentRuns;
    this.rowsAffectScores = session.capabilities.rowsAffectScores;
  }

  async predict(inputs: readonly PredictorInput[]): Promise<PredictorOutput> {
    const arrayOf = (name: string): Int32Array | undefined =>
      inputs.find((input) => input.name === name)?.data;
    const shape = inputs[0]?.shape ?? [];
    const rows = shape[0] ?? 0;
    const columns = shape.at(-1) ?? 0;
    const inputIds = arrayOf("input_ids");
    const attentionMask = arrayOf("attention_mask");
    if (inputIds === undefined || attentionMask === undefined) {
      throw new Error(`${graphOutput} needs input_ids and attention_mask`);
    }
    const lengths = Int32Array.from({ length: rows }, (_, row) =>
      attentionMask.subarray(row * columns, (row + 1) * columns).reduce((sum, one) => sum + one, 0),
    );
    const segmentIds = arrayOf("token_type_ids") ?? new Int32Array(rows * columns);
    const run = (): Promise<PredictorOutput> =>
      this.#session.run({ rows, columns, inputIds, attentionMask, segmentIds, lengths });
    // A backend that starts its dead runtime anew loads the program once more, and misses its file.
    return run().catch(async (error: unknown) => {
      if (!missesFile(error)) throw error;
      this.#restored ??= this.#restore().catch((cause) => {
        this.#restored = undefined;
        throw cause;
      });
      await this.#restored;
      return run();
    });
  }

  async close(): Promise<void> {
    try {
      await this.#session.dispose();
    } finally {
      await rm(this.#folder, { recursive: true, force: true });
    }
  }
}

/** Whether a run came to no runtime, because the file to load was not there. */
function missesFile(error: unknown): boolean {
  const cause: unknown = error instanceof Error ? error.cause : undefined;
  return cause instanceof Error && cause.name === "RuntimeFailure" && Reflect.get(cause, "stage") === "model";
}

/** The translated model, as a model of its own. */
function filesOf(folder: string): ModelFiles {
  const id = "the translated program";
  const localPath = async (path: string): Promise<string> => {
    const local = join(folder, path);
    if ((await stat(local).catch(() => undefined))?.isFile()) return local;
    const fix = "Leave the option `file` of the reference's backend out.";
    throw new ModelFileNotFoundError({ model: id, expected: [path], found: await readdir(folder), fix });
  };
  const unread = (): never => {
    throw new Error("the reference's backend reads more of the model than its ONNX file");
  };
  return {
    id,
    revision: undefined,
    list: async (): Promise<readonly ModelFile[]> => {
      const names = await readdir(folder);
      return Promise.all(names.map(async (path) => ({ path, size: (await stat(join(folder, path))).size })));
    },
    localPath,
    readText: async () => unread(),
    readBytes: async () => unread(),
  };
}

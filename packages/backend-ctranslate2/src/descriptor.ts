import type { ArtifactDescription, BackendDescriptor } from "@crossrank/backend-kit";
import { ModelFileNotFoundError, type ModelFiles } from "@crossrank/core";
import { CTranslate2FormatError } from "@crossrank/formats/ctranslate2";
import { artifactsAmong, modelPaths } from "./artifact.js";
import { ctranslate2, sourceOf } from "./ctranslate2.js";
import { dtypes } from "./dtype.js";
import { readEncoder } from "./encoder.js";

/** This package's backends, as data. */
export const backends: readonly BackendDescriptor[] = [
  {
    name: "ctranslate2",
    format: "ctranslate2",
    families: ["cross-encoder", "bi-encoder"],
    dtypes,
    artifacts: artifactsAmong,
    candidates: modelPaths,
    describe,
    install: ["@crossrank/backend-ctranslate2"],
    create: ({ threads, workers, file }) => ctranslate2({ threads, sessions: workers, file }),
  },
];

async function describe(
  files: ModelFiles,
  path: string,
  options: { readonly signal?: AbortSignal | undefined } = {},
): Promise<ArtifactDescription> {
  const listed = await files.list(options);
  const file = listed.find((one) => one.path === path);
  if (file === undefined) {
    const found = modelPaths(listed.map((one) => one.path));
    throw new ModelFileNotFoundError({ model: files.id, expected: [path], found, fix: "Name one of these." });
  }
  const folder = path.slice(0, path.lastIndexOf("/") + 1);
  const beside = ["config.json", "vocabulary.json", "vocabulary.txt", "classifier.safetensors"];
  const common = {
    processor: undefined,
    files: listed.map((one) => one.path).filter((one) => beside.some((name) => one === folder + name)),
  };
  try {
    const encoder = await readEncoder(sourceOf(files, path, file.size ?? 0, options.signal));
    const { dtype, hidden, layers, heads, inner, vocabulary, longest, second, pooler } = encoder;
    const tokens = { type: "int32", shape: ["batch", "sequence"] };
    return {
      ...common,
      dtype,
      quantisation: dtype === "int8" ? "tables and matrices in 8 bits, a scale a row" : undefined,
      inputs: [
        { name: "ids", ...tokens },
        ...(second?.by === "segments" ? [{ name: "token_type_ids", ...tokens }] : []),
      ],
      outputs: [
        { name: "last_hidden_state", type: "float32", shape: ["batch", "sequence", hidden] },
        ...(pooler === undefined
          ? []
          : [{ name: "pooler_output", type: "float32", shape: ["batch", hidden] }]),
      ],
      facts: {
        layers: `${layers} of ${hidden} numbers, ${heads} heads, ${inner} in the middle`,
        vocabulary: `${vocabulary} tokens`,
        positions: `${longest}${second?.by === "positions" ? ", and relative ones" : ""}`,
        ...(pooler === undefined ? {} : { pooler }),
      },
      notes: [],
    };
  } catch (error) {
    if (!(error instanceof CTranslate2FormatError)) throw error;
    return {
      ...common,
      dtype: undefined,
      quantisation: undefined,
      inputs: [],
      outputs: [],
      facts: {},
      notes: [`It is not run: ${error.message}.`],
    };
  }
}

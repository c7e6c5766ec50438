import { InvalidInputError, type ModelProfile } from "@crossrank/core";
import { largestMessage, writeModelFile } from "@crossrank/formats/onnx";
import type { ArtifactWriter, WriteRequest } from "../artifact-writer.js";
import { UnsupportedConversionError } from "../errors.js";
import type { ModelDescription } from "../source/description.js";
import type { Activations, Dtype, Operators } from "./emitter.js";
import { encoderGraph, outputOf } from "./encoder.js";
import { HalfRangeError } from "./stored-tensor.js";

/**
 * Who is to run the file.
 * - `onnxruntime`: uses its operators (domain com.microsoft) where they measure faster. The graph is in its final form:
 *   load it with `graphOptimizationLevel: "basic"`, as backend-onnx does by itself.
 * - `plain`: ONNX's own operators alone, for every other consumer. Attention as explicit products, additive masks.
 * - `mnn`: as `plain`, with int32 inputs, and no int8, which MNN's converter makes itself.
 */
export type OnnxTarget = "onnxruntime" | "plain" | "mnn";

export interface OnnxWriterOptions {
  /** Default `onnxruntime`. */
  readonly target?: OnnxTarget | undefined;
  /**
   * What shares a scale of activations, in int8. Default `row` where the target is `onnxruntime`, which alone has it;
   * else `batch`. docs/decisions/0021-int8-rows.md.
   * - `batch`: all that goes into a product.
   * - `row`: every token has its own in feed-forward layers without a gate. On a 12-layer MiniLM 0.43 of the error in
   *   the median and 0.62 at most, at 0.97 of the speed on a processor with AVX2 (lab/int8).
   */
  readonly activations?: Activations | undefined;
  /**
   * Bytes from which on the weights get a file of their own, `<name>.onnx_data`. Default and most: 2^31 − 1, where
   * protobuf ends.
   */
  readonly externalFrom?: number | undefined;
}

const targets: Record<
  OnnxTarget,
  { readonly operators: Operators; readonly inputType: "int32" | "int64"; readonly dtypes: readonly Dtype[] }
> = {
  onnxruntime: { operators: "onnxruntime", inputType: "int64", dtypes: ["fp32", "fp16", "int8"] },
  plain: { operators: "plain", inputType: "int64", dtypes: ["fp32", "fp16", "int8"] },
  mnn: { operators: "plain", inputType: "int32", dtypes: ["fp32", "fp16"] },
};

/** As the field calls element types. */
const dtypeNames = {
  float32: "fp32",
  float16: "fp16",
  int8: "int8",
  uint8: "uint8",
  int32: "int32",
  int64: "int64",
} as const;

/** The newest one that every runtime of the last years has; Split's and ReduceMean's inputs need 18. */
const opset = 18;

/**
 * ONNX files.
 * - `fp32`.
 * - `fp16`: weights stored as halves and computed in float32. The file is half as large, memory is not: a runtime makes
 *   matrices float32 once, at load (in ONNX Runtime from the level "basic" on, and drops the halves); only of tables the
 *   rows are made so as they are read.
 * - `int8`: dynamic. Matrices in 8 bits, symmetric, a scale an output, so that no processor's arithmetic saturates;
 *   tables in 8 bits, a scale a row; biases, norms and the head in float32.
 */
export function createOnnxWriter(options: OnnxWriterOptions = {}): ArtifactWriter {
  const target = options.target ?? "onnxruntime";
  if (!Object.hasOwn(targets, target)) {
    const known = Object.keys(targets).join(", ");
    throw new InvalidInputError("target", `must be one of ${known}, not ${JSON.stringify(target)}`);
  }
  const { operators, inputType, dtypes } = targets[target];
  const activations = options.activations ?? (operators === "onnxruntime" ? "row" : "batch");
  if (activations !== "batch" && activations !== "row") {
    throw new InvalidInputError("activations", `must be batch or row, not ${JSON.stringify(activations)}`);
  }
  if (activations === "row" && operators !== "onnxruntime") {
    throw new InvalidInputError("activations", `row needs target onnxruntime, and the target is ${target}`);
  }
  const externalFrom = Math.min(options.externalFrom ?? largestMessage, largestMessage);
  return {
    format: "onnx",
    dtypes,
    path: (dtype) => `onnx/model${dtype === "fp32" ? "" : `_${dtype}`}.onnx`,
    check,
    settings: (_description, dtype) => ({ target, ...(dtype === "int8" ? { activations } : {}) }),
    async write(request) {
      const { description, profile, path, signal, onProgress } = request;
      signal?.throwIfAborted();
      check(description, profile);
      const dtype = requireDtype(request, dtypes);
      const graph = encoderGraph({ description, profile, dtype, operators, activations, inputType });
      for (const { name, type, dimensions } of graph.tensors.values()) {
        request.onTensor?.({ name, shape: dimensions, dtype: dtypeNames[type] });
      }
      const metadata = {
        ...request.metadata,
        ...marks(operators, description, profile),
        ...(dtype === "int8" && activations === "row" ? { "crossrank.activations": activations } : {}),
      };
      const facts = {
        path,
        graph,
        name: description.architecture,
        opset,
        metadata,
        externalFrom,
        signal,
        onProgress,
      };
      try {
        return await writeModelFile(facts);
      } catch (error) {
        if (!(error instanceof HalfRangeError)) throw error;
        throw new UnsupportedConversionError({
          model: description.model,
          format: "onnx",
          problem: error.message,
          fix: "Take dtype fp32 or int8.",
        });
      }
    },
  };
}

/** What a loader can know without reading the graph: that no further fusion helps, and which pooling is inside. */
function marks(
  operators: Operators,
  description: ModelDescription,
  profile: ModelProfile,
): Readonly<Record<string, string>> {
  const output = outputOf(description, profile);
  return {
    ...(operators === "onnxruntime" ? { "crossrank.graph": "final" } : {}),
    ...(output.kind === "pooled" ? { "crossrank.pooling": output.pooling } : {}),
  };
}

function requireDtype({ description, dtype }: WriteRequest, dtypes: readonly Dtype[]): Dtype {
  const known = dtypes.find((name) => name === dtype);
  if (known !== undefined) return known;
  throw new UnsupportedConversionError({
    model: description.model,
    format: "onnx",
    problem: `there is no dtype ${JSON.stringify(dtype)}`,
    fix: `Take one of ${dtypes.join(", ")}.`,
  });
}

function check(description: ModelDescription, profile: ModelProfile): void {
  const refuse = (problem: string, fix: string): UnsupportedConversionError =>
    new UnsupportedConversionError({ model: description.model, format: "onnx", problem, fix });
  if (profile.family === "listwise") {
    throw refuse(
      "it reads many documents in one sequence, and its long causal sequences have no graph here",
      "Use its own ONNX export, where there is one.",
    );
  }
  if (profile.family === "causal-lm" || description.head.kind === "vocabulary") {
    throw refuse(
      "it is a language model, whose shared prompt an ONNX graph would compute again for every document",
      "Convert it to gguf.",
    );
  }
}

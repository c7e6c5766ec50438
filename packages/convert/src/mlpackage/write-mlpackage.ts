import { InvalidInputError, type ModelProfile } from "@crossrank/core";
import {
  type CoreMlModel,
  type Feature,
  type MultiArrayType,
  planBlobs,
  writeModelPackage,
} from "@crossrank/formats/mlpackage";
import type { ArtifactWriter, WriteRequest } from "../artifact-writer.js";
import { UnsupportedConversionError } from "../errors.js";
import { HalfRangeError } from "../onnx/stored-tensor.js";
import { lateInteractionFix, named, writtenArchitectures } from "../source/architecture-names.js";
import type { ModelDescription } from "../source/description.js";
import { type EncoderOutput, type EncoderProgram, encoderProgram } from "./encoder.js";
import type { Precision } from "./program-builder.js";
import { outputOf, unsupportedPart } from "./supported.js";

/**
 * The oldest system that is to load the artifact.
 * - `macos15` (iOS 18): one package that takes any of the lengths.
 * - `macos13` (iOS 16): one package a length, `model_128.mlpackage` and so on: there, only one input may have several
 *   shapes, and an encoder has two.
 */
export type CoreMlDeployment = "macos15" | "macos13";

export interface MlpackageWriterOptions {
  /** Default `macos15`. */
  readonly deployment?: CoreMlDeployment | undefined;
  /** Rows of every prediction. Default 20. */
  readonly batch?: number | undefined;
  /** Lengths in tokens. Default 128, 256 and 512 as far as the model reaches; a shorter model's own. */
  readonly lengths?: readonly number[] | undefined;
}

/** The seed's batch: as many candidates as it reranks. */
const defaultBatch = 20;

/** Every prediction computes all rows, also those that are empty. */
const mostRows = 1024;

/** Specification versions as coremltools has them (`coremltools/__init__.py`), and the operation sets that go with them. */
const deployments: Readonly<
  Record<CoreMlDeployment, { readonly specificationVersion: number; readonly opset: string }>
> = {
  macos15: { specificationVersion: 9, opset: "CoreML8" },
  macos13: { specificationVersion: 7, opset: "CoreML6" },
};

const dtypes: readonly Precision[] = ["fp32", "fp16"];

const usualLengths: readonly number[] = [128, 256, 512];

/** As many shapes as Core ML enumerates for an input. */
const mostLengths = 128;

/**
 * Core ML packages for the Neural Engine: BERT and RoBERTa (XLM-R) as ML Programs, in the layout of
 * apple/ml-ane-transformers.
 * - `fp16` (default): weights and arithmetic in half precision; ids are int32, outputs float32.
 * - `fp32`: float32 throughout, which the Neural Engine does not compute.
 *
 * @throws {InvalidInputError} an option is wrong: `deployment`, `batch`, `lengths`.
 */
export function createMlpackageWriter(options: MlpackageWriterOptions = {}): ArtifactWriter {
  const { deployment = "macos15", batch = defaultBatch } = options;
  const lengths = options.lengths === undefined ? undefined : soundLengths(options.lengths);
  if (!Object.hasOwn(deployments, deployment)) {
    const known = Object.keys(deployments).join(", ");
    throw new InvalidInputError("deployment", `must be one of ${known}, not ${JSON.stringify(deployment)}`);
  }
  if (!isCount(batch) || batch > mostRows) {
    throw new InvalidInputError("batch", `must be a whole number from 1 to ${mostRows}, not ${batch}`);
  }
  const check: ArtifactWriter["check"] = (description, profile) => {
    requireSupported(description, profile);
    lengthsOf(description, lengths);
  };
  return {
    format: "mlpackage",
    dtypes,
    defaultDtype: "fp16",
    path: (dtype) => `mlpackage/model${dtype === "fp16" ? "" : `_${dtype}`}.mlpackage`,
    check,
    settings: (description) => ({ deployment, batch, lengths: lengthsOf(description, lengths) }),
    async write(request) {
      const { description, profile, signal } = request;
      signal?.throwIfAborted();
      check(description, profile);
      const precision = requireDtype(request);
      const output = requireSupported(description, profile);
      const all = lengthsOf(description, lengths);
      const { specificationVersion, opset } = deployments[deployment];
      const packages =
        deployment === "macos15"
          ? [{ path: request.path, lengths: all }]
          : all.map((length) => ({ path: lengthPath(request.path, length), lengths: [length] }));
      const common = { description, output, precision, opset, batch };
      const plans = packages.map((one) => ({
        ...one,
        // Where there is one length, nothing is left to the data.
        program: encoderProgram({ ...common, length: one.lengths.length === 1 ? one.lengths[0] : undefined }),
      }));
      for (const { name, element, dimensions } of plans[0]?.program.builder.tensors ?? []) {
        request.onTensor?.({ name, shape: dimensions, dtype: element });
      }
      return writePackages(request, plans, { specificationVersion, batch, output, deployment, lengths: all });
    },
  };
}

export const mlpackageWriter: ArtifactWriter = createMlpackageWriter();

interface PackagePlan {
  readonly path: string;
  readonly lengths: readonly number[];
  readonly program: EncoderProgram;
}

interface PackageFacts {
  readonly specificationVersion: number;
  readonly batch: number;
  readonly output: EncoderOutput;
  readonly deployment: CoreMlDeployment;
  /** Of the artifact: of all its packages. */
  readonly lengths: readonly number[];
}

async function writePackages(
  request: WriteRequest,
  plans: readonly PackagePlan[],
  facts: PackageFacts,
): Promise<readonly string[]> {
  const { description, signal, onProgress } = request;
  const paths: string[] = [];
  try {
    for (const [index, plan] of plans.entries()) {
      const { builder, output } = plan.program;
      const written = await writeModelPackage({
        path: plan.path,
        model: {
          ...modelOf(request, plan, facts),
          program: builder.build(output, planBlobs(builder.tensors)),
        },
        tensors: builder.tensors,
        signal,
        // Packages of one model differ by a few bytes of places alone.
        onProgress: ({ written, total }) =>
          onProgress?.({ written: index * total + written, total: plans.length * total }),
      });
      paths.push(...written);
    }
  } catch (error) {
    if (!(error instanceof HalfRangeError)) throw error;
    throw refusal(description, error.message, "Take dtype fp32.");
  }
  return paths;
}

/** What an application sees of the model. */
function modelOf(
  { description, dtype, metadata }: WriteRequest,
  { lengths, program }: PackagePlan,
  { specificationVersion, batch, output, deployment, lengths: all }: PackageFacts,
): CoreMlModel {
  const { builder } = program;
  const shapes = lengths.map((length) => [batch, 1, 1, length]);
  const feature = (name: string, type: Omit<MultiArrayType, "kind">): Feature => ({
    name,
    description: descriptions[name] ?? "",
    optional: false,
    type: { kind: "multi-array", ...type },
  });
  const inputs = builder.inputs.map(({ name }) =>
    feature(name, {
      element: "int32",
      shape: shapes[0] ?? [],
      ...(shapes.length === 1 ? {} : { flexibility: { kind: "enumerated" as const, shapes } }),
    }),
  );
  const shape = program.output.type.dimensions as readonly number[];
  return {
    specificationVersion,
    kind: "mlProgram",
    inputs,
    outputs: [feature(program.output.name, { element: "float32", shape })],
    metadata: {
      shortDescription: `${metadata["source"] ?? description.architecture} as an ML Program of crossrank`,
      version: metadata["revision"] ?? "",
      author: "",
      license: "",
      userDefined: {
        ...metadata,
        "crossrank.dtype": dtype,
        "crossrank.deployment": deployment,
        // By these a reader sees that a package of a set is missing.
        "crossrank.lengths": all.join(","),
        ...(output.kind === "pooled" ? { "crossrank.pooling": output.pooling } : {}),
      },
    },
  };
}

const descriptions: Readonly<Record<string, string>> = {
  input_ids: "Token ids, a row a sequence, filled up on the right with the padding id",
  attention_mask: "1 for a token, 0 for padding; a row that is not used has zeros alone",
  token_type_ids: "Segment of each token",
  logit: "Raw class logits of each row",
  pooled_output: "Vector of each row, not normalised",
};

function soundLengths(lengths: readonly number[]): readonly number[] {
  const ascending = [...new Set(lengths)].sort((a, b) => a - b);
  if (lengths.length > 0 && ascending.length <= mostLengths && ascending.every(isCount)) return ascending;
  throw new InvalidInputError(
    "lengths",
    `must be whole numbers above 0, at least one and at most ${mostLengths}, not ${JSON.stringify(lengths).slice(0, 100)}`,
  );
}

function isCount(value: number): boolean {
  return Number.isSafeInteger(value) && value > 0;
}

/** @throws {UnsupportedConversionError} when one is longer than the model reads. */
function lengthsOf(
  description: ModelDescription,
  asked: readonly number[] | undefined,
): readonly [number, ...number[]] {
  const { maxPositions } = description;
  const tooLong = asked?.find((length) => length > maxPositions);
  if (tooLong !== undefined) {
    throw refusal(
      description,
      `it reads ${maxPositions} tokens at most, fewer than the length ${tooLong}`,
      `Ask for lengths up to ${maxPositions}.`,
    );
  }
  const [shortest = maxPositions, ...longer] =
    asked ?? usualLengths.filter((length) => length <= maxPositions);
  return [shortest, ...longer];
}

function lengthPath(path: string, length: number): string {
  return path.replace(/\.mlpackage$/, `_${length}.mlpackage`);
}

function requireDtype({ description, dtype }: WriteRequest): Precision {
  const known = dtypes.find((name) => name === dtype);
  if (known !== undefined) return known;
  throw refusal(
    description,
    `there is no dtype ${JSON.stringify(dtype)}`,
    `Take one of ${dtypes.join(", ")}.`,
  );
}

function requireSupported(description: ModelDescription, profile: ModelProfile): EncoderOutput {
  const problem = unsupportedPart(description, profile);
  const output = outputOf(description, profile);
  if (problem !== undefined || output === undefined) {
    throw refusal(
      description,
      problem ?? "its vector is the last token's, which moves with the sequence's length",
      profile.head.kind === "max-sim"
        ? `${lateInteractionFix}.`
        : `${named(writtenArchitectures.mlpackage)} can be converted; take onnx for this one, or gguf where it is a language model.`,
    );
  }
  return output;
}

function refusal(description: ModelDescription, problem: string, fix: string): UnsupportedConversionError {
  return new UnsupportedConversionError({ model: description.model, format: "mlpackage", problem, fix });
}

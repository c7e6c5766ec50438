import type { ArtifactDescription } from "@crossrank/backend-kit";
import {
  type FileRequestOptions,
  type ModelFile,
  ModelFileNotFoundError,
  type ModelFiles,
} from "@crossrank/core";
import { precisionClassOf } from "@crossrank/core/verify";
import {
  type ByteSource,
  type GraphSummary,
  precisionOf,
  readGraph,
  readNodes,
} from "@crossrank/formats/onnx/read";
import { dtypeOfFile, usualDtype } from "./dtype.js";
import { weightFiles } from "./external-data.js";
import { narrowSums, narrowSumsNote } from "./narrow-sums.js";
import { madeElsewhere, onnxPaths, type Processor, publishedName } from "./published-names.js";
import { thisProcessor } from "./this-processor.js";

/** What a file of a model is, from its content; undefined where it cannot be followed. */
export async function graphOf(
  files: ModelFiles,
  file: ModelFile,
  options: FileRequestOptions,
): Promise<GraphSummary | undefined> {
  return readGraph(sourceOf(files, file, options));
}

function sourceOf(files: ModelFiles, { path, size }: ModelFile, options: FileRequestOptions): ByteSource {
  return { size, read: (start, end) => files.readBytes(path, { start, end }, options) };
}

/**
 * The precision to speak of: the usual name where the content is of its class (`model_quantized.onnx` stays q8), else
 * what the content says; where that is not known, what the name says.
 */
export function dtypeToTell(path: string, content: string | undefined): string {
  const usual = usualDtype(path);
  if (content === undefined) return usual ?? publishedName(path)?.dtype ?? dtypeOfFile(path);
  return usual !== undefined && precisionClassOf(usual) === precisionClassOf(content) ? usual : content;
}

/** What somebody should know who runs the file here. */
export function notesOn(
  path: string,
  content: string | undefined,
  { processor, onGpu }: { readonly processor: Processor; readonly onGpu: boolean },
): readonly string[] {
  const elsewhere = madeElsewhere(publishedName(path)?.processor, processor, onGpu);
  const named = usualDtype(path) ?? publishedName(path)?.dtype;
  const isNamedWrongly =
    named !== undefined && content !== undefined && precisionClassOf(named) !== precisionClassOf(content);
  return [
    ...(elsewhere === undefined ? [] : [`${path} ${elsewhere}`]),
    ...(isNamedWrongly ? [`${path} is named as ${named} is, and computes in ${content}`] : []),
  ];
}

/** For {@link ArtifactDescription}: `crossrank inspect` shows it. */
export async function describe(
  files: ModelFiles,
  path: string,
  options: FileRequestOptions = {},
): Promise<ArtifactDescription> {
  const listed = await files.list(options);
  const file = listed.find((one) => one.path === path);
  if (file === undefined) {
    throw new ModelFileNotFoundError({
      model: files.id,
      expected: [path],
      found: onnxPaths(listed.map((one) => one.path)),
      fix: "Check the path.",
    });
  }
  const graph = await graphOf(files, file, options);
  const processor = publishedName(path)?.processor;
  if (graph === undefined) {
    const notes = [`${path} is no ONNX model that can be read to its end`];
    const nothing = {
      dtype: undefined,
      quantisation: undefined,
      inputs: [],
      outputs: [],
      facts: {},
      files: [],
    };
    return { ...nothing, processor, notes };
  }
  const { dtype, how, approximations } = precisionOf(graph);
  const weights = weightFiles(path, graph.external);
  const outside = "problem" in weights ? [`${path}: ${weights.problem}`] : [];
  const paths = "problem" in weights ? [] : weights.map((one) => one.path);
  const missing = paths.filter((one) => !listed.some((there) => there.path === one));
  const hasSigned = [...graph.tensors.values()].some(({ type }) => type === "int8");
  const isReadable = hasSigned && missing.length === 0;
  const nodes = isReadable ? await readNodes(sourceOf(files, file, options)) : undefined;
  const overflow = await narrowSums(files, { path, graph, nodes }, options);
  return {
    dtype,
    quantisation: how,
    processor,
    inputs: graph.inputs,
    outputs: graph.outputs,
    facts: {
      ...(graph.opsets.has("") || graph.opsets.has("ai.onnx")
        ? { opset: String(graph.opsets.get("") ?? graph.opsets.get("ai.onnx")) }
        : {}),
      ...(graph.producer === undefined ? {} : { producer: graph.producer }),
      ...(approximations.length === 0 ? {} : { approximations: approximations.join(", ") }),
      ...(overflow === undefined
        ? {}
        : { sums: `${overflow.isCertain ? "" : "may "}overflow 16 bits on x64 without VNNI` }),
    },
    files: paths,
    notes: [
      ...notesOn(path, dtype, { processor: thisProcessor(), onGpu: false }),
      ...(overflow === undefined ? [] : narrowSumsNote(path, overflow, thisProcessor())),
      ...outside,
      ...missing.map((one) => `${path} reads weights from ${one}, which is not there`),
    ],
  };
}

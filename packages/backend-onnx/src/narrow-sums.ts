import type { FileRequestOptions, ModelFiles } from "@crossrank/core";
import {
  findOverflow,
  type GraphNodes,
  type GraphSummary,
  type SignedProduct,
  signedProducts,
} from "@crossrank/formats/onnx/read";
import type { InferenceSession } from "onnxruntime-common";
import { weightFiles } from "./external-data.js";
import { marksOf } from "./file-marks.js";
import { shortened } from "./graph-plan.js";
import type { Processor } from "./published-names.js";

/** Bytes of weights that are read, of one file. One whose pairs overflow shows it in its first megabytes. */
const mostRead = 512 << 20;

/** What was seen of the weights. */
export interface NarrowSums {
  /** False where they could not all be looked at, and nothing was found in the others. */
  readonly isCertain: boolean;
  /** About the file. */
  readonly clause: string;
}

/**
 * Looks for int8 weights whose products overflow where a processor adds them up in 16 bits. A file that cannot be read
 * to its end is one that could not all be looked at.
 *
 * @param path the .onnx, relative to the model; `nodes` of its graph, undefined where they cannot be followed.
 * @returns undefined where there is nothing to say.
 */
export async function narrowSums(
  files: ModelFiles,
  {
    path,
    graph,
    nodes,
  }: { readonly path: string; readonly graph: GraphSummary; readonly nodes: GraphNodes | undefined },
  options: FileRequestOptions,
): Promise<NarrowSums | undefined> {
  // Files of `crossrank convert` are written so that nothing overflows. A quantiser keeps the mark, and names itself.
  if ((marksOf(graph).final && graph.producer === "crossrank") || nodes === undefined) return undefined;
  const products = signedProducts(nodes, graph);
  const weights = weightFiles(path, graph.external);
  if (products.length === 0 || "problem" in weights) return undefined;
  const places = new Map(weights.map((one) => [one.location, one.path]));
  const { found, isWhole } = await findOverflow(
    products,
    (location, start, end) => {
      const place = location === undefined ? path : (places.get(location) ?? path);
      return files.readBytes(place, { start, end }, options);
    },
    mostRead,
  ).catch((error: unknown) => {
    if (options.signal?.aborted === true) throw error;
    // No load fails for the sake of a note.
    return { found: undefined, isWhole: false };
  });
  if (found !== undefined) {
    return { isCertain: true, clause: `has signed weights of all 8 bits (${named(found)})` };
  }
  if (isWhole) return undefined;
  const clause = "has signed weights that could not all be looked at, and may use all 8 bits";
  return { isCertain: false, clause };
}

function named({ operator, tensor }: SignedProduct): string {
  return `${shortened(operator)} by ${shortened(tensor)}`;
}

/** What is to be known where the processor adds up in 16 bits, or may. */
export function narrowSumsNote(
  path: string,
  { clause }: NarrowSums,
  { sums, name }: Processor,
): readonly string[] {
  if (sums === "32 bits") return [];
  const where =
    sums === "16 bits"
      ? `this machine's processor, ${name},`
      : "a processor without VNNI, as this one may be,";
  return [
    `${path} ${clause}, and ${where} adds up their products in 16 bits, which can overflow: scores may be off without a word. ` +
      "Take unsigned weights or 7 bits, or give onnx() the option " +
      'sessionOptions: { extra: { session: { x64quantprecision: "1" } } }, which computes them exactly and more slowly',
  ];
}

/** Whether ONNX Runtime was told to turn such weights into unsigned ones: a transformation of its second level. */
export function asksForExactSums({
  extra,
  graphOptimizationLevel,
}: InferenceSession.SessionOptions): boolean {
  const session: unknown = extra === undefined ? undefined : Reflect.get(extra, "session");
  const value: unknown =
    typeof session === "object" && session !== null ? Reflect.get(session, "x64quantprecision") : undefined;
  return value === "1" && graphOptimizationLevel !== "disabled" && graphOptimizationLevel !== "basic";
}

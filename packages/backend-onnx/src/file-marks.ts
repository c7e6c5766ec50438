import { readModelMetadata } from "@crossrank/formats/onnx";

/** What a file says about its own graph, where crossrank wrote it. ONNX Runtime's binding for Node.js does not tell it. */
export interface FileMarks {
  /** The graph is in its final form: fusing further makes it slower. */
  readonly final: boolean;
  /** How `sentence_embedding` is pooled. */
  readonly pooling: string | undefined;
}

/** Marks that stand behind the graph are not found, and a damaged file has none. */
export async function readFileMarks(path: string): Promise<FileMarks> {
  const metadata = await readModelMetadata(path);
  return { final: metadata.get("crossrank.graph") === "final", pooling: metadata.get("crossrank.pooling") };
}

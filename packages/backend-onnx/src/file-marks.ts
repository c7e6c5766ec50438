import type { GraphSummary } from "@crossrank/formats/onnx/read";

/** What a file says about its own graph, where crossrank wrote it. ONNX Runtime's binding for Node.js does not tell it. */
export interface FileMarks {
  /** The graph is in its final form: fusing further makes it slower. */
  readonly final: boolean;
  /** How `sentence_embedding` is pooled. */
  readonly pooling: string | undefined;
}

/** A file that cannot be followed has none: it is the runtime's to refuse. */
export function marksOf(graph: GraphSummary | undefined): FileMarks {
  return {
    final: graph?.metadata.get("crossrank.graph") === "final",
    pooling: graph?.metadata.get("crossrank.pooling"),
  };
}

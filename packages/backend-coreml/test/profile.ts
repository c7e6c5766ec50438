import type { ModelProfile } from "@crossrank/core";

/** A profile of a model that is only fed numbers; a backend reads little of it. */
export function profileOf(changes: Partial<ModelProfile>): ModelProfile {
  return {
    specificationVersion: "1",
    family: "cross-encoder",
    architecture: "bert",
    pairTemplate: [],
    singleTemplate: [],
    readsSegments: false,
    maxLength: 64,
    truncation: "document-only",
    paddingId: 0,
    head: { kind: "logit" },
    activation: "identity",
    queryPrefix: "",
    documentPrefix: "",
    ...changes,
  };
}

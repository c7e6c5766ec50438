import type { ArtifactContract } from "./validate.js";

const shape = (length: number): readonly number[] => [20, 1, 1, length];

const contract = (
  lengths: readonly number[],
  versions: { minimum: number; maximum: number },
): ArtifactContract => ({
  kind: "mlProgram",
  specificationVersion: versions,
  inputs: ["input_ids", "attention_mask"].map((name) => ({
    name,
    element: "int32",
    shapes: lengths.map(shape),
  })),
  outputs: [{ name: "logit", element: "float32", shapes: [[20, 1]] }],
  // Floats in half precision; integers are tables such as position ids, which coremltools stores as blobs too.
  weights: ["fp16", "int16", "uint16", "int32"],
});

/**
 * The tensors that the model card of tcashel/bge-reranker-base-coreml promises: 20 pairs of 128, 256 or 512 tokens.
 * It names macOS 15 as the oldest system: specification version 9 (only there may two inputs have enumerated shapes).
 */
export const seedContract: ArtifactContract = contract([128, 256, 512], { minimum: 9, maximum: 9 });

/** The same for one package a length, as systems before macOS 15 need them: iOS 16's specification version 7 on. */
export function fixedSeedContract(length: number): ArtifactContract {
  return contract([length], { minimum: 7, maximum: 9 });
}

import type { PickReport, PickSystem, Ratio } from "./report.js";

/** Families that compute a whole text at once, and not one token after another. */
const encoders: ReadonlySet<string> = new Set(["cross-encoder", "bi-encoder", "late-interaction"]);

/** What a reader of the table should know about an encoder on llama.cpp. Empty where there is nothing to say. */
export function adviceOf({
  model,
  systems,
  choice,
}: Pick<PickReport, "model" | "systems" | "choice">): string[] {
  if (choice === null || !encoders.has(model.family)) return [];
  const timed = systems.filter(({ gate, time }) => gate.passed && time !== null);
  const fastestOf = (gguf: boolean): PickSystem | undefined =>
    timed
      .filter(({ artifact }) => (artifact.format === "gguf") === gguf)
      .sort((a, b) => effortOf(a).value - effortOf(b).value)[0];
  const [own, other] = [fastestOf(true), fastestOf(false)];
  if (own === undefined) return [];
  if (other === undefined) {
    return [
      "Nothing but GGUF was timed: llama.cpp's kernels are made for one token after another, and ONNX Runtime usually computes an encoder in a fraction of the time. Try --backend onnx.",
    ];
  }
  const [first, second] = [effortOf(own), effortOf(other)];
  if (first.lower <= second.upper) return [];
  const what = own.time?.processorRatio === null ? "time" : "processor time";
  return [
    `${own.name} takes ${(first.value / second.value).toFixed(1)} × the ${what} of ${other.name}: llama.cpp's kernels are made for one token after another, and an encoder is one large product. Choose ${other.name} on this processor; GGUF is for memory, for decoders and for GPUs.`,
  ];
}

/** Over that of the fastest; of a system that was timed. */
function effortOf({ time }: PickSystem): Ratio {
  const unknown = { value: Number.NaN, lower: Number.NaN, upper: Number.NaN };
  return time?.processorRatio ?? time?.wallRatio ?? unknown;
}

import type { Tensor } from "onnxruntime-common";
import type { GraphPlan } from "./graph-plan.js";
import { mostKept } from "./plan-sharing.js";

/** Keys and values of a beginning, by the name of the input that takes them: (1, heads, tokens, size). */
export type Past = Readonly<Record<string, Tensor>>;

/** Keys and values of the beginnings that a session computed last. What they are depends on their tokens alone. */
export class KeptPasts {
  readonly #kept: { readonly ids: Int32Array; readonly past: Promise<Past | undefined> }[] = [];

  /**
   * Those of a beginning: kept, or computed now.
   *
   * @returns undefined where the graph gives others than were asked for, as one does that keeps a window of them.
   */
  async of(
    ids: Int32Array,
    plan: GraphPlan,
    compute: (outputs: readonly string[]) => Promise<Readonly<Record<string, Tensor>>>,
  ): Promise<Past | undefined> {
    const place = this.#kept.findIndex((one) => isEqual(one.ids, ids));
    const [found] = place < 0 ? [] : this.#kept.splice(place, 1);
    const presents = plan.sharing?.presents ?? {};
    const entry = found ?? {
      ids,
      past: compute(Object.values(presents)).then((results) => pastOf(results, ids.length, plan)),
    };
    this.#kept.unshift(entry);
    this.#kept.splice(mostKept);
    try {
      return await entry.past;
    } catch (failure) {
      const failed = this.#kept.indexOf(entry);
      if (failed >= 0) this.#kept.splice(failed, 1);
      throw failure;
    }
  }
}

function pastOf(
  results: Readonly<Record<string, Tensor>>,
  length: number,
  { inputs, sharing }: GraphPlan,
): Past | undefined {
  const past: Record<string, Tensor> = {};
  for (const input of inputs) {
    if (input.source !== "past") continue;
    const { name, type, heads, size } = input;
    const tensor = results[sharing?.presents[name] ?? ""];
    const wanted = [1, heads, length, size];
    const fits =
      tensor?.type === type &&
      tensor.dims.length === wanted.length &&
      tensor.dims.every((dimension, axis) => dimension === wanted[axis]);
    if (!fits) return undefined;
    past[name] = tensor;
  }
  return past;
}

function isEqual(one: Int32Array, other: Int32Array): boolean {
  return one.length === other.length && one.every((id, index) => id === other[index]);
}

import { describe, expect, it } from "vitest";
import type { HeadModule } from "../src/contract/model-profile.js";
import { ModelProfileError } from "../src/index.js";
import { loadHeadChain } from "../src/score/head-modules.js";
import { scoreList } from "../src/score/list.js";
import { memoryFiles } from "./memory-files.js";
import { f32, safetensors } from "./write-safetensors.js";

describe("head modules", () => {
  const files = memoryFiles({
    f: safetensors({
      weight: f32([2, 3], [1, 0, -1, 0.5, 0.5, 0.5]),
      bias: f32([2], [10, -10]),
      square: f32([2, 2], [0, 1, 1, 0]),
      scale: f32([2], [2, 3]),
    }),
  });
  const apply = async (modules: HeadModule[], vector: number[]) => [
    ...(await loadHeadChain(files, modules))(Float64Array.from(vector)),
  ];
  const dense = (activation: Extract<HeadModule, { kind: "dense" }>["activation"]): HeadModule => ({
    kind: "dense",
    file: "f",
    weight: "square",
    activation,
  });

  it("are applied one after the other", async () => {
    const chain: HeadModule[] = [
      { kind: "dense", file: "f", weight: "weight", bias: "bias", activation: "identity" },
      { kind: "normalize" },
    ];
    expect(await apply(chain, [3, 4, -1])).toEqual([14 / Math.hypot(14, -7), -7 / Math.hypot(14, -7)]);
    expect(await apply([], [1, 2])).toEqual([1, 2]);
  });

  // torch.nn.functional on 0.5 and −4, float64.
  it.each([
    ["identity", [-4, 0.5]],
    ["tanh", [-0.999329299739067, 0.4621171572600097]],
    ["relu", [0, 0.5]],
    ["gelu", [-0.00012668496733247991, 0.3457312306370066]],
    ["silu", [-0.07194483984836623, 0.3112296656009273]],
    ["sigmoid", [0.01798620996209156, 0.6224593312018546]],
  ] as const)("know %s", async (activation, expected) => {
    const [first, second] = await apply([dense(activation)], [0.5, -4]);
    expect(first).toBeCloseTo(expected[0], 12);
    expect(second).toBeCloseTo(expected[1], 12);
  });

  it("know a layer norm and a residual", async () => {
    const [a, b] = await apply([{ kind: "layer-norm", file: "f", weight: "scale", epsilon: 0 }], [1, 5]);
    expect([a, b]).toEqual([-2, 3]);
    expect(await apply([{ ...dense("identity"), residual: true } as HeadModule], [3, 4])).toEqual([7, 7]);
  });

  it("refuse weights that do not fit", async () => {
    await expect(apply([dense("tanh")], [1, 2, 3])).rejects.toThrow(/wants 2 numbers/);
    await expect(
      apply([{ kind: "dense", file: "f", weight: "scale", activation: "tanh" }], [1, 2]),
    ).rejects.toThrow(ModelProfileError);
    await expect(
      apply([{ kind: "dense", file: "f", weight: "square", bias: "gone", activation: "tanh" }], [1, 2]),
    ).rejects.toThrow(/no tensor gone/);
  });
});

describe("a list's cosines", () => {
  it("are plain ones in a single sequence, whatever the scale of the query's vector", () => {
    const documents = [Float64Array.of(1, 0), Float64Array.of(0, -3), Float64Array.of(2, 2)];
    const [a, b, c] = scoreList([{ query: Float64Array.of(5, 0), documents }]);
    expect(a).toBe(1);
    expect(b).toBeCloseTo(0, 15);
    expect(c).toBeCloseTo(Math.SQRT1_2, 15);
  });

  it("are taken with the average query, weighted by each sequence's best", () => {
    // Best cosines 1 and 0 give weights 1 and 1/2: the query is (1, 0) + (0, 2) / 2 = (1, 1).
    const scores = scoreList([
      { query: Float64Array.of(1, 0), documents: [Float64Array.of(3, 0)] },
      { query: Float64Array.of(0, 2), documents: [Float64Array.of(-1, 0)] },
    ]);
    expect(scores[0]).toBeCloseTo(Math.SQRT1_2, 15);
    expect(scores[1]).toBeCloseTo(-Math.SQRT1_2, 15);
  });
});

import { readFileSync } from "node:fs";
import { expect, test } from "vitest";
import { type OperationName, operationNames } from "../src/graph/operations.js";
import { ProgramBuilder, type Value } from "../src/graph/program.js";
import { type AddonBatch, type AddonModel, type AddonWanted, loadAddon } from "../src/native.js";
import { createUniform } from "../src/training/uniform.js";
import { describeNative, rejection } from "./fixtures.js";
import { type Array64, array64, droppedBy, type Forward, reference } from "./reference64.js";

const rows = 2;
const columns = 3;
const lengths = [3, 2];
const batch: AddonBatch = {
  ...{ rows, columns, picked: 1 },
  ids: Int32Array.from([1, 4, 2, 3, 1, 0]),
  segments: Int32Array.from([0, 1, 1, 0, 0, 1]),
  lengths: Int32Array.from(lengths),
  extents: Int32Array.from(lengths),
  places: Int32Array.from([2, 0]),
};

interface Case {
  readonly name: string;
  /** What is trained, by its shape. */
  readonly weights: Readonly<Record<string, readonly number[]>>;
  readonly constants?: Readonly<Record<string, Float32Array | Int32Array>>;
  readonly write: (builder: ProgramBuilder<string>, weight: (name: string) => Value) => Value;
  readonly forward: Forward;
  /** Of dropout. */
  readonly seed?: readonly [number, number];
}

const masked = (builder: ProgramBuilder<string>, causal: number, reach: number): Value =>
  builder.add("attention-mask", [builder.input("lengths"), builder.input("extents")], [causal, reach]);
const one = (operation: OperationName, attributes: readonly number[] = []): Case["write"] => {
  return (builder, weight) => builder.add(operation, [weight("x")], attributes);
};
const two = (operation: OperationName, attributes: readonly number[] = []): Case["write"] => {
  return (builder, weight) => builder.add(operation, [weight("x"), weight("y")], attributes);
};
/** By the distance from -2 to 2: a column of a table of 4. */
const table = Int32Array.from([3, 1, 0, 2, 1]);
const periods = Float32Array.from([1, 7.5]);
const { masks, operations: math } = reference({
  rows,
  columns,
  lengths,
  ids: batch.ids,
  places: batch.places,
});

const seed = [6, 9] as const;

const cases: readonly Case[] = [
  {
    name: "take",
    weights: { x: [5, 4] },
    write: (builder, weight) => builder.add("take", [weight("x"), builder.input("ids")]),
    forward: ({ x }) => math.take(x),
  },
  {
    name: "rows",
    weights: { x: [5, 4] },
    write: (builder, weight) => builder.add("rows", [weight("x"), builder.input("ids")]),
    forward: ({ x }) => math.rows(x),
  },
  {
    name: "add",
    weights: { x: [2, 3, 4], y: [4] },
    write: two("add"),
    forward: ({ x, y }) => math.add(x, y),
  },
  {
    name: "subtract",
    weights: { x: [2, 3, 4], y: [2, 3, 4] },
    write: two("subtract"),
    forward: ({ x, y }) => math.subtract(x, y),
  },
  {
    name: "multiply",
    weights: { x: [2, 3, 4], y: [3, 4] },
    write: two("multiply"),
    forward: ({ x, y }) => math.multiply(x, y),
  },
  {
    name: "scale",
    weights: { x: [2, 3] },
    write: one("scale", [1.75]),
    forward: ({ x }) => math.scale(x, 1.75),
  },
  {
    name: "linear",
    weights: { x: [2, 3, 4], y: [5, 4], z: [5] },
    write: (builder, weight) => builder.add("linear", [weight("x"), weight("y"), weight("z")]),
    forward: ({ x, y, z }) => math.add(math.linear(x, y), z),
  },
  {
    name: "layer-norm",
    weights: { x: [2, 3, 4], y: [4], z: [4] },
    write: (builder, weight) => builder.add("layer-norm", [weight("x"), weight("y"), weight("z")], [1e-5]),
    forward: ({ x, y, z }) => math.add(math.multiply(math.normalise(x, 1e-5, true), y), z),
  },
  {
    name: "layer-norm without a bias",
    weights: { x: [2, 3, 4], y: [4] },
    write: two("layer-norm", [1e-5]),
    forward: ({ x, y }) => math.multiply(math.normalise(x, 1e-5, true), y),
  },
  {
    name: "rms-norm",
    weights: { x: [2, 3, 4], y: [4] },
    write: two("rms-norm", [1e-6]),
    forward: ({ x, y }) => math.multiply(math.normalise(x, 1e-6, false), y),
  },
  { name: "gelu", weights: { x: [3, 4] }, write: one("gelu"), forward: ({ x }) => math.gelu(x) },
  {
    name: "gelu-tanh",
    weights: { x: [3, 4] },
    write: one("gelu-tanh"),
    forward: ({ x }) => math.geluTanh(x),
  },
  { name: "silu", weights: { x: [3, 4] }, write: one("silu"), forward: ({ x }) => math.silu(x) },
  { name: "relu", weights: { x: [3, 4] }, write: one("relu"), forward: ({ x }) => math.relu(x) },
  { name: "tanh", weights: { x: [3, 4] }, write: one("tanh"), forward: ({ x }) => math.tanh(x) },
  {
    name: "split-heads",
    weights: { x: [2, 3, 4] },
    write: one("split-heads", [2]),
    forward: ({ x }) => math.splitHeads(x, 2),
  },
  {
    name: "merge-heads",
    weights: { x: [2, 2, 3, 2] },
    write: one("merge-heads"),
    forward: ({ x }) => math.mergeHeads(x),
  },
  {
    name: "rope",
    weights: { x: [2, 2, 3, 4] },
    constants: { periods },
    write: (builder, weight) => builder.add("rope", [weight("x"), weight("periods")]),
    forward: ({ x }) => math.rope(x, periods),
  },
  ...(
    [
      [0, -1],
      [1, -1],
      [0, 1],
    ] as const
  ).map(
    ([causal, reach]): Case => ({
      name: `attention and attention-mask, causal ${causal}, reach ${reach}`,
      weights: { x: [2, 2, 3, 2], y: [2, 1, 3, 2], z: [2, 1, 3, 2] },
      write: (builder, weight) =>
        builder.add(
          "attention",
          [weight("x"), weight("y"), weight("z"), masked(builder, causal, reach)],
          [0.7, 0, 0],
        ),
      forward: ({ x, y, z }) => math.attention(x, y, z, { scale: 0.7, seen: masks(causal === 1, reach) }),
    }),
  ),
  {
    name: "attention with numbers that are added, and hide",
    weights: { x: [2, 2, 3, 2], y: [2, 2, 3, 2], z: [2, 2, 3, 2], w: [2, 2, 3, 3] },
    write: (builder, weight) => {
      const mask = builder.add("hide", [weight("w"), masked(builder, 0, -1)]);
      return builder.add("attention", [weight("x"), weight("y"), weight("z"), mask], [0.5, 0, 0]);
    },
    forward: ({ x, y, z, w }) => math.attention(x, y, z, { scale: 0.5, seen: masks(false, -1), added: w }),
  },
  {
    name: "matmul",
    weights: { x: [2, 3, 4], y: [2, 5, 4] },
    write: two("matmul"),
    forward: ({ x, y }) => math.linear(x, y),
  },
  {
    name: "take-along, by distances",
    weights: { x: [2, 2, 3, 4] },
    constants: { table },
    write: (builder, weight) =>
      builder.add("take-along", [
        weight("x"),
        builder.add("distances", [weight("table"), builder.input("ids")], [4]),
      ]),
    forward: ({ x }) => math.takeAlong(x, table),
  },
  {
    name: "distances",
    weights: { x: [5] },
    write: (builder, weight) => builder.add("distances", [weight("x"), builder.input("ids")], [1]),
    forward: ({ x }) => math.distances(x),
  },
  {
    name: "transpose",
    weights: { x: [2, 3, 4] },
    write: one("transpose", [2, 0, 1]),
    forward: ({ x }) => math.transpose(x, [2, 0, 1]),
  },
  {
    name: "expand",
    weights: { x: [2, 3] },
    write: one("expand", [1]),
    forward: ({ x }) => array64([2, 1, 3], x.data),
  },
  {
    name: "pick",
    weights: { x: [2, 3, 4] },
    write: (builder, weight) => builder.add("pick", [weight("x"), builder.input("places")]),
    forward: ({ x }) => math.pick(x),
  },
  {
    name: "mean",
    weights: { x: [2, 3, 4] },
    write: (builder, weight) => builder.add("mean", [weight("x"), builder.input("lengths")]),
    forward: ({ x }) => math.mean(x),
  },
  {
    name: "zero-padding",
    weights: { x: [2, 3, 4] },
    write: (builder, weight) => builder.add("zero-padding", [weight("x"), builder.input("lengths")]),
    forward: ({ x }) => math.zeroPadding(x),
  },
  {
    name: "dropout without a seed",
    weights: { x: [2, 3, 4] },
    write: one("dropout", [0.5, 3]),
    forward: ({ x }) => x,
  },
  {
    name: "dropout with a seed",
    weights: { x: [2, 3, 4] },
    write: one("dropout", [0.5, 3]),
    forward: ({ x }) => math.dropout(x, droppedBy(seed, 3, 0.5)),
    seed,
  },
  {
    // Behind the softmax, as torch's modules have it: what is left of a row's shares does not sum up to 1.
    name: "attention with dropout of its shares",
    weights: { x: [2, 2, 3, 2], y: [2, 1, 3, 2], z: [2, 1, 3, 2] },
    write: (builder, weight) =>
      builder.add(
        "attention",
        [weight("x"), weight("y"), weight("z"), masked(builder, 0, -1)],
        [0.7, 0.4, 5],
      ),
    forward: ({ x, y, z }) =>
      math.attention(x, y, z, { scale: 0.7, seen: masks(false, -1), dropped: droppedBy(seed, 5, 0.4) }),
    seed,
  },
  {
    name: "attention with numbers that are added and dropout, of MLX's own operations",
    weights: { x: [2, 2, 3, 2], y: [2, 1, 3, 2], z: [2, 1, 3, 2], w: [2, 2, 3, 3] },
    write: (builder, weight) => {
      const mask = builder.add("hide", [weight("w"), masked(builder, 0, -1)]);
      return builder.add("attention", [weight("x"), weight("y"), weight("z"), mask], [0.5, 0.4, 5]);
    },
    forward: ({ x, y, z, w }) =>
      math.attention(x, y, z, {
        ...{ scale: 0.5, seen: masks(false, -1), added: w },
        dropped: droppedBy(seed, 5, 0.4),
      }),
    seed,
  },
  {
    name: "choose-rows",
    weights: { x: [5, 4] },
    write: one("choose-rows", [3, 0, 3]),
    forward: ({ x }) => math.chooseRows(x, [3, 0, 3]),
  },
];

/** More than a register's numbers, and a rest. */
const wide = 37;
const wideCases = cases
  .filter(({ name }) => /^(layer-norm|rms-norm|gelu|silu)/.test(name))
  .map((one) => {
    const widened = Object.entries(one.weights).map(([key, shape]) => [key, [...shape.slice(0, -1), wide]]);
    return {
      ...one,
      name: `${one.name}, ${wide} numbers wide`,
      weights: Object.fromEntries(widened) as never,
    };
  });

test("every operation is differentiated here", () => {
  const named = cases.map(({ name }) => name).join("; ");
  expect(operationNames.filter((name) => !named.includes(name))).toEqual([]);
});

interface Loaded {
  readonly model: AddonModel;
  readonly names: readonly string[];
  readonly values: Readonly<Record<string, Array64>>;
}

async function load({ name, weights, constants = {}, write }: Omit<Case, "forward">): Promise<Loaded> {
  const uniform = createUniform(name);
  const builder = new ProgramBuilder<string>();
  const output = write(builder, (key) => builder.weight(key, () => key));
  const { weights: order, program } = builder.finish(output, { ids: 5, segments: 2, columns: 8 });
  const values: Record<string, Array64> = {};
  const facts = order.map((key) => {
    const constant = constants[key];
    const shape = weights[key] ?? [constant?.length ?? 0];
    const data =
      constant ??
      Float32Array.from(
        { length: shape.reduce((product, size) => product * size, 1) },
        () => 4 * uniform() - 2,
      );
    if (constant === undefined) values[key] = array64(shape, Float64Array.from(data));
    const type = data instanceof Int32Array ? ("I32" as const) : ("F32" as const);
    const bytes = new Uint8Array(data.buffer, data.byteOffset, data.byteLength);
    return {
      ...{ name: key, target: "float32" as const, plus: 0, bits: 0, group: 0, unfold: false },
      tensors: [{ type, shape, parts: [], data: bytes }],
    };
  });
  const model = await loadAddon().load({ files: [], weights: facts, program });
  const names = order.filter((key) => weights[key] !== undefined);
  await model.train({
    weights: Int32Array.from(names, (key) => order.indexOf(key)),
    decays: new Uint8Array(names.length),
    ...{ beta1: 0.9, beta2: 0.999, epsilon: 1e-8, decay: 0, parts: new Uint32Array(0) },
  });
  return { model, names, values };
}

/** What a call is refused with, also where it throws at once. */
async function refusal(call: () => Promise<unknown>): Promise<string> {
  return (await rejection((async () => call())())).message;
}

function sumOf(labels: Float32Array, seed?: Uint32Array): AddonWanted {
  return {
    ...{ loss: "sum", positive: 0, negative: -1, groups: 0, most: 0, members: new Int32Array(0) },
    ...{ labels, share: 1, seed },
  };
}

describeNative("gradients are finite differences in double precision", () => {
  test.each([...cases, ...wideCases].map((one) => [one.name, one] as const))("%s", async (_, given) => {
    const { model, names, values } = await load(given);
    const uniform = createUniform(`factors of ${given.name}`);
    const output = given.forward(values as never);
    const factors = Float32Array.from(output.data, () => 2 * uniform() - 1);
    const measure = (at: Readonly<Record<string, Array64>>): number =>
      given
        .forward(at as never)
        .data.reduce((sum, value, place) => sum + value * (factors[place] as number), 0);
    const seed = given.seed === undefined ? undefined : Uint32Array.from(given.seed);
    const loss = await model.accumulate(batch, sumOf(factors, seed));
    expect(loss).toBeCloseTo(measure(values), 4);
    for (const [place, name] of names.entries()) {
      const { data: gradient } = await model.kept(place, "gradient");
      const { shape, data } = values[name] as Array64;
      expect(gradient).toHaveLength(data.length);
      for (const [at, value] of data.entries()) {
        const moved = (by: number): number => {
          const copy = Float64Array.from(data);
          copy[at] = value + by;
          return measure({ ...values, [name]: array64(shape, copy) });
        };
        const difference = (moved(1e-5) - moved(-1e-5)) / 2e-5;
        expect(Math.abs((gradient[at] as number) - difference), `${name}[${at}]`).toBeLessThan(
          2e-5 * Math.max(1, Math.abs(difference)),
        );
      }
    }
    await model.close();
  });

  test.each([
    ["gelu", math.gelu],
    ["gelu-tanh", math.geluTanh],
    ["silu", math.silu],
  ] as const)("%s is as exact as float32, from -20 to 20", async (operation, forward) => {
    const { model, values } = await load({
      name: `range of ${operation}`,
      weights: { x: [1, 1, 1003] },
      write: (builder, weight) => builder.add(operation, [builder.add("scale", [weight("x")], [10])]),
    });
    const x = Float32Array.from((values["x"] as Array64).data, (value) => value * 10);
    const wanted = forward(array64([1, 1, 1003], x)).data;
    const { data } = await model.run(batch);
    for (const [place, value] of wanted.entries())
      expect(Math.abs((data[place] as number) - value), `of ${x[place]}`).toBeLessThan(
        2.5e-7 * Math.max(1, Math.abs(x[place] as number)),
      );
    await model.close();
  });

  test("what dropout lets through is scaled, by the seed and its place, and so is the gradient", async () => {
    const { model, values } = await load({
      name: "dropout",
      weights: { x: [2, 300, 4] },
      write: one("dropout", [0.25, 7]),
    });
    const x = (values["x"] as Array64).data;
    const ones = new Float32Array(x.length).fill(1);
    const loss = await model.accumulate(batch, sumOf(ones, Uint32Array.from([5, 9])));
    const { data: first } = await model.kept(0, "gradient");
    expect(new Set([...first].map((value) => Math.round(value * 1e4)))).toEqual(new Set([0, 13_333]));
    const kept = first.filter((value) => value !== 0).length / first.length;
    expect(Math.abs(kept - 0.75)).toBeLessThan(0.05);
    expect(loss).toBeCloseTo(
      first.reduce((sum, factor, at) => sum + factor * (x[at] as number), 0),
      1,
    );
    const again = async (high: number, low: number): Promise<Float32Array> => {
      await model.setSteps(0);
      await model.accumulate(batch, sumOf(ones, Uint32Array.from([high, low])));
      return (await model.kept(0, "gradient")).data;
    };
    expect(await again(5, 9)).toEqual(first);
    expect(await again(5, 10)).not.toEqual(first);
    expect(await again(6, 9)).not.toEqual(first);
    await model.close();
  });
});

interface LossGoldens {
  readonly scores: readonly number[];
  readonly cases: readonly {
    readonly loss: AddonWanted["loss"];
    readonly labels: readonly number[];
    readonly groups: readonly (readonly number[])[];
    readonly value: number;
    readonly gradient: readonly number[];
  }[];
}

/** lab/train/make_goldens.py, with torch 2.15.0. */
const { losses } = JSON.parse(
  readFileSync(new URL("../../train/test/fixtures/torch-goldens.json", import.meta.url), "utf8"),
) as { readonly losses: LossGoldens };

describeNative("losses are torch's", () => {
  const count = losses.scores.length;
  const wide: AddonBatch = {
    ...{ rows: count, columns: 1, picked: 1, ids: new Int32Array(count), segments: new Int32Array(count) },
    ...{
      lengths: new Int32Array(count).fill(1),
      extents: new Int32Array(count).fill(1),
      places: new Int32Array(count),
    },
  };
  const wantedOf = ({ loss, labels, groups }: LossGoldens["cases"][number]): AddonWanted => {
    const most = Math.max(0, ...groups.map(({ length }) => length));
    const members = new Int32Array(groups.length * most).fill(-1);
    for (const [place, group] of groups.entries()) members.set(group, place * most);
    return {
      ...{ loss, groups: groups.length, most, members, labels: Float32Array.from(labels), share: 1 },
      ...{ positive: 0, negative: -1 },
    };
  };
  const scores = { name: "scores", weights: { x: [count, 1, 1] }, write: one("scale", [1]) };

  test.each(losses.cases.map((one, place) => [`${one.loss} (${place})`, one] as const))(
    "%s",
    async (_, golden) => {
      const { model } = await load(scores);
      await model.keep(0, "value", Float32Array.from(losses.scores));
      expect((await model.accumulate(wide, wantedOf(golden))) / golden.value).toBeCloseTo(1, 5);
      const { data } = await model.kept(0, "gradient");
      for (const [place, wanted] of golden.gradient.entries())
        expect((data[place] as number) / Math.max(1, Math.abs(wanted))).toBeCloseTo(
          wanted / Math.max(1, Math.abs(wanted)),
          6,
        );
      await model.close();
    },
  );

  test("what does not fit is refused before anything is computed", async () => {
    const { model } = await load(scores);
    const [golden] = losses.cases.filter(({ loss }) => loss === "listwise");
    if (golden === undefined) throw new Error("no listwise golden");
    const good = wantedOf(golden);
    const bad: readonly (readonly [string, Partial<AddonWanted>])[] = [
      ["7 labels|3 labels", { labels: new Float32Array(3) }],
      ["no finite number", { labels: new Float32Array(count).fill(Number.NaN) }],
      ["share", { share: 0 }],
      ["share", { share: 2 }],
      ["a group with row 7", { members: good.members.map((row) => (row === 6 ? 7 : row)) }],
      ["a group with row 5", { members: good.members.map((row) => (row === 6 ? 5 : row)) }],
      ["a row that is in no group", { groups: 2, members: good.members.slice(0, 6) }],
      ["another number of rows", { groups: 2 }],
      ["without groups", { groups: 0, most: 0, members: new Int32Array(0) }],
      ["logit that there is not", { positive: 1 }],
      ["logit that there is not", { negative: 4 }],
      ["loss must be one of", { loss: "hinge" as never }],
      ["two numbers", { seed: new Uint32Array(3) }],
    ];
    for (const [message, change] of bad)
      expect(await refusal(async () => model.accumulate(wide, { ...good, ...change })), message).toMatch(
        new RegExp(`invalid-input.*(${message})`),
      );
    expect(await refusal(async () => model.apply(1e-3, 1))).toMatch(/a step without a batch/);
    await model.accumulate(wide, good);
    expect(await refusal(async () => model.apply(Number.NaN, 1))).toMatch(/a rate that is none/);
    expect(await refusal(async () => model.kept(1, "value"))).toMatch(/trained weight that is none/);
    expect(await refusal(async () => model.keep(0, "value", new Float32Array(2)))).toMatch(/other numbers/);
    expect(await model.apply(0, 1)).toBeGreaterThan(0);
    await model.close();
  });
});

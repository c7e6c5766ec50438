import { computing, moving, type Rules } from "./rule.js";
import type { Call } from "./translation.js";

/** Beyond every dimension, in either direction: ONNX's Slice stops at the end. */
const farEnd = 2 ** 31 - 1;
const farStart = -(2 ** 31);

function reshape(call: Call): string {
  // A 0 copies the dimension in ONNX, and has had more than one meaning in MIL.
  if (call.isConstant("shape") && call.numbers("shape").includes(0)) {
    throw call.refusal("a 0 in shape is not covered");
  }
  return call.node("Reshape", [call.tensor("x"), call.int64("shape")]);
}

function transpose(call: Call): string {
  const rank = call.rankOf("x");
  const order = call.numbers("perm").map((place) => call.axis(place, rank));
  return call.node("Transpose", [call.tensor("x")], { perm: { integers: order } });
}

function squeeze(call: Call): string {
  const axes = call.has("axes") ? [call.int64("axes")] : [];
  return call.node("Squeeze", [call.tensor("x"), ...axes]);
}

function split(call: Call): readonly string[] {
  const axis = { integer: call.axis(call.number("axis"), call.rankOf("x")) };
  const outputs = call.outputs.map(({ name }) => `%${name}`);
  const x = call.tensor("x");
  if (call.has("split_sizes")) {
    if (call.has("num_splits")) call.ignore("num_splits");
    return call.graph.nodeOfMany("Split", [x, call.int64("split_sizes")], outputs, { attributes: { axis } });
  }
  call.require("num_splits", outputs.length);
  const attributes = { axis, num_outputs: { integer: outputs.length } };
  return call.graph.nodeOfMany("Split", [x], outputs, { attributes });
}

function concat(call: Call): string {
  call.require("interleave", false);
  const axis = call.axis(call.number("axis"), call.output.type.dimensions.length);
  return call.node("Concat", call.tensors("values"), { axis: { integer: axis } });
}

function stack(call: Call): string {
  const axis = call.axis(call.number("axis"), call.output.type.dimensions.length);
  const parts = call
    .tensors("values")
    .map((value) => call.node("Unsqueeze", [value, call.graph.integers([axis])]));
  return call.node("Concat", parts, { axis: { integer: axis } });
}

/** Indices beyond the table are the runtime's error, whatever `validate_indices` says. */
function gather(call: Call): string {
  call.require("batch_dims", 0);
  call.ignore("validate_indices");
  const axis = { integer: call.axis(call.number("axis", 0), call.rankOf("x")) };
  const indices = call.tensor("indices");
  if (!call.isStoredAsHalves("x")) return call.node("Gather", [call.tensor("x"), indices], { axis });
  return call.cast(call.node("Gather", [call.storedTensor("x"), indices], { axis }), "float32");
}

function sliceByIndex(call: Call): string {
  const rank = call.rankOf("x");
  const none = new Array<boolean>(rank).fill(false);
  const strides = call.numbers("stride", new Array<number>(rank).fill(1));
  const fromStart = call.booleans("begin_mask", none);
  const toEnd = call.booleans("end_mask", none);
  const alone = call.booleans("squeeze_mask", none);
  if (strides.includes(0)) throw call.refusal("a stride of 0 is not covered");
  const starts: (number | undefined)[] = [];
  const ends: (number | undefined)[] = [];
  const isSqueezed = alone.includes(true);
  const begin = isSqueezed || call.isConstant("begin") ? call.numbers("begin") : undefined;
  const end = call.isConstant("end") ? call.numbers("end") : undefined;
  for (const [axis, stride] of strides.entries()) {
    if (alone[axis] === true) {
      // One place: `end` is not looked at.
      if (fromStart[axis] === true || stride !== 1) throw call.refusal("its squeeze_mask is not covered");
      const place = begin?.[axis] ?? Number.NaN;
      starts.push(place);
      ends.push(place === -1 ? farEnd : place + 1);
      continue;
    }
    starts.push(fromStart[axis] === true ? (stride > 0 ? 0 : farEnd) : begin?.[axis]);
    ends.push(toEnd[axis] === true ? (stride > 0 ? farEnd : farStart) : end?.[axis]);
  }
  const sliced = call.node("Slice", [
    call.tensor("x"),
    bounds(call, "begin", starts),
    bounds(call, "end", ends),
    call.graph.integers(strides.map((_, axis) => axis)),
    call.graph.integers(strides),
  ]);
  if (!isSqueezed) return sliced;
  const axes = alone.flatMap((is, axis) => (is ? [axis] : []));
  return call.node("Squeeze", [sliced, call.graph.integers(axes)]);
}

/** A vector of bounds: what is known, and where it is not, the argument's own number. */
function bounds(call: Call, argument: string, known: readonly (number | undefined)[]): string {
  const isWhole = known.every((bound) => bound !== undefined);
  if (isWhole) {
    call.ignore(argument);
    return call.graph.integers(known.map((bound) => bound as number));
  }
  const given = call.int64(argument);
  if (known.every((bound) => bound === undefined)) return given;
  const kept = call.node("Mul", [
    given,
    call.graph.integers(known.map((bound) => (bound === undefined ? 1 : 0))),
  ]);
  return call.node("Add", [kept, call.graph.integers(known.map((bound) => bound ?? 0))]);
}

function sliceBySize(call: Call): string {
  const begin = call.numbers("begin");
  const sizes = call.numbers("size");
  const ends = begin.map((start, axis) => {
    const size = sizes[axis] ?? Number.NaN;
    return size === -1 || (start < 0 && start + size === 0) ? farEnd : start + size;
  });
  const axes = begin.map((_, axis) => axis);
  return call.node("Slice", [
    call.tensor("x"),
    call.graph.integers(begin),
    call.graph.integers(ends),
    call.graph.integers(axes),
  ]);
}

function cumsum(call: Call): string {
  const { element } = call.output.type;
  if (element !== "int32" && element !== "fp32" && element !== "fp16") {
    throw call.refusal(`computing in ${element} is not covered`);
  }
  const axis = call.graph.integer(call.axis(call.number("axis", 0), call.rankOf("x")));
  const attributes = {
    exclusive: { integer: call.boolean("exclusive", false) ? 1 : 0 },
    reverse: { integer: call.boolean("reverse", false) ? 1 : 0 },
  };
  return call.node("CumSum", [call.tensor("x"), axis], attributes);
}

export const layout: Rules = {
  reshape: moving(reshape),
  transpose: moving(transpose),
  expand_dims: moving((call) => call.node("Unsqueeze", [call.tensor("x"), call.int64("axes")])),
  squeeze: moving(squeeze),
  split: moving(split),
  concat: moving(concat),
  stack: moving(stack),
  gather: moving(gather),
  slice_by_index: moving(sliceByIndex),
  slice_by_size: moving(sliceBySize),
  tile: moving((call) => call.node("Tile", [call.tensor("x"), call.int64("reps")])),
  fill: moving((call) => call.node("Expand", [call.tensor("value"), call.int64("shape")])),
  shape: moving((call) => call.cast(call.node("Shape", [call.tensor("x")]), "int32")),
  range_1d: moving((call) =>
    call.node("Range", [call.tensor("start"), call.tensor("end"), call.tensor("step")]),
  ),
  cumsum: computing(cumsum),
};

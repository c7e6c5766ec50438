import { carrierOf } from "./constant.js";
import { computing, moving, type Rule, type Rules } from "./rule.js";
import type { Call, castTo } from "./translation.js";

/** Arithmetic on narrow integers would have to wrap as the program's type does; no encoder computes with them. */
function requireNumbers(call: Call, kind: "floats" | "numbers"): void {
  const { element } = call.output.type;
  const isFloat = element === "fp16" || element === "fp32";
  if (!isFloat && !(kind === "numbers" && element === "int32")) {
    throw call.refusal(`computing in ${element} is not covered`);
  }
}

const binary = (kind: string, over: "floats" | "numbers"): Rule["translate"] => {
  return (call) => {
    requireNumbers(call, over);
    return call.node(kind, [call.tensor("x"), call.tensor("y")]);
  };
};

const unary = (kind: string, over: "floats" | "numbers" = "floats"): Rule["translate"] => {
  return (call) => {
    requireNumbers(call, over);
    return call.node(kind, [call.tensor("x")]);
  };
};

/** Of two numbers of any type, or of two truths. */
const comparison = (kind: string, isDenied = false): Rule =>
  moving((call) => {
    const result = call.node(kind, [call.tensor("x"), call.tensor("y")]);
    return isDenied ? call.node("Not", [result]) : result;
  });

function rsqrt(call: Call): string {
  requireNumbers(call, "floats");
  // coremltools' own default.
  const safe = call.node("Add", [call.tensor("x"), call.float(call.number("epsilon", 1e-12))]);
  return call.node("Reciprocal", [call.node("Sqrt", [safe])]);
}

function gelu(call: Call): string {
  const x = call.tensor("x");
  const mode = call.text("mode", "EXACT");
  switch (mode) {
    case "EXACT":
      return call.node("Gelu", [x], {}, "microsoft");
    case "TANH_APPROXIMATION":
      return call.node("FastGelu", [x], {}, "microsoft");
    case "SIGMOID_APPROXIMATION":
      return call.node("Mul", [x, call.node("Sigmoid", [call.node("Mul", [x, call.float(1.702)])])]);
    default:
      throw call.refusal(`mode "${mode}" is not covered`);
  }
}

function silu(call: Call): string {
  const x = call.tensor("x");
  return call.node("Mul", [x, call.node("Sigmoid", [x])]);
}

/** Types that Cast may name, by what a program calls them. */
const castElements = {
  fp32: "float32",
  fp16: "float32",
  int32: "int32",
  int16: "int16",
  uint16: "uint16",
  int8: "int8",
  uint8: "uint8",
  bool: "bool",
} as const;

/** Rounding to half is the caller's, as for every operation. Narrow integers wrap, and are carried as int32. */
function cast(call: Call): string {
  const wanted = call.text("dtype");
  const { element } = call.output.type;
  if (!Object.hasOwn(castElements, wanted) || wanted !== element) {
    throw call.refusal(
      `from ${call.typeOf("x").element} to ${wanted}, declared as ${element}, is not covered`,
    );
  }
  const type: keyof typeof castTo = castElements[wanted as keyof typeof castElements];
  const x = call.tensor("x");
  const from = carrierOf(call.typeOf("x").element);
  const carrier = carrierOf(element);
  if (type === carrier) return from === carrier ? call.node("Identity", [x]) : call.cast(x, type);
  return call.cast(call.cast(x, type), "int32");
}

export const elementwise: Rules = {
  add: computing(binary("Add", "numbers")),
  sub: computing(binary("Sub", "numbers")),
  mul: computing(binary("Mul", "numbers")),
  real_div: computing(binary("Div", "floats")),
  pow: computing(binary("Pow", "floats")),
  maximum: moving(binary("Max", "numbers")),
  minimum: moving(binary("Min", "numbers")),
  abs: moving(unary("Abs", "numbers")),
  relu: moving(unary("Relu")),
  exp: computing(unary("Exp")),
  sqrt: computing(unary("Sqrt")),
  tanh: computing(unary("Tanh")),
  erf: computing(unary("Erf")),
  sigmoid: computing(unary("Sigmoid")),
  square: computing((call) => {
    requireNumbers(call, "floats");
    return call.node("Mul", [call.tensor("x"), call.tensor("x")]);
  }),
  rsqrt: computing(rsqrt),
  gelu: computing(gelu),
  silu: computing(silu),
  clip: moving((call) => {
    requireNumbers(call, "floats");
    return call.node("Clip", [call.tensor("x"), call.tensor("alpha"), call.tensor("beta")]);
  }),
  equal: comparison("Equal"),
  not_equal: comparison("Equal", true),
  less: comparison("Less"),
  less_equal: comparison("LessOrEqual"),
  greater: comparison("Greater"),
  greater_equal: comparison("GreaterOrEqual"),
  logical_and: comparison("And"),
  logical_or: comparison("Or"),
  logical_not: moving((call) => call.node("Not", [call.tensor("x")])),
  select: moving((call) => call.node("Where", [call.tensor("cond"), call.tensor("a"), call.tensor("b")])),
  cast: computing(cast),
  identity: moving((call) => call.node("Identity", [call.tensor("x")])),
};

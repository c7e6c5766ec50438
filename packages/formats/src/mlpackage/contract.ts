import { InvalidInputError } from "@crossrank/core";
import type { DescribedOutput, PackageReport } from "./describe.js";
import { arrayElements, elementCodes } from "./fields.js";
import type { Feature, MultiArrayType } from "./model.js";
import type { ElementType } from "./program.js";

/**
 * What an application relies on in an artifact. It is plain JSON, so that one can be declared in a file
 * ({@link readContract}). What is left out is free.
 */
export interface ArtifactContract {
  /** E.g. `"mlProgram"`. */
  readonly kind?: string | undefined;
  /** Both ends included. The version tells the oldest system that can load the artifact. */
  readonly specificationVersion?:
    | { readonly minimum?: number | undefined; readonly maximum?: number | undefined }
    | undefined;
  /** Exactly these: one more is a deviation too. */
  readonly inputs?: readonly FeatureContract[] | undefined;
  readonly outputs?: readonly FeatureContract[] | undefined;
  /** Element types that weights in blob files may have. */
  readonly weights?: readonly ElementType[] | undefined;
}

export interface FeatureContract {
  readonly name: string;
  readonly element: MultiArrayType["element"];
  /** All shapes that it takes, in any order. */
  readonly shapes: readonly (readonly number[])[];
}

/** Where an artifact does not keep to a contract. */
export interface Deviation {
  /** E.g. `"input attention_mask"`. */
  readonly subject: string;
  readonly expected: string;
  readonly found: string;
}

/** @returns every deviation; empty where the artifact keeps to the contract. */
export function validateContract(report: PackageReport, contract: ArtifactContract): readonly Deviation[] {
  const deviations: Deviation[] = [];
  const { kind, specificationVersion, inputs, outputs, weights } = contract;
  if (kind !== undefined && report.kind !== kind)
    deviations.push({ subject: "kind", expected: kind, found: report.kind });
  if (specificationVersion !== undefined) {
    const { minimum = 0, maximum = Number.POSITIVE_INFINITY } = specificationVersion;
    const found = report.specificationVersion;
    if (found < minimum || found > maximum)
      deviations.push({
        subject: "specification version",
        expected: rangeText(minimum, maximum),
        found: String(found),
      });
  }
  if (inputs !== undefined) deviations.push(...compareFeatures("input", report.inputs, inputs));
  if (outputs !== undefined) deviations.push(...compareFeatures("output", report.outputs, outputs));
  for (const { element, tensors, bytes } of weights === undefined ? [] : report.weights) {
    if (!weights?.includes(element))
      deviations.push({
        subject: "weights",
        expected: `only ${weights?.join(", ")}`,
        found: `${tensors} of ${element} (${bytes} bytes)`,
      });
  }
  return deviations;
}

function rangeText(minimum: number, maximum: number): string {
  if (minimum === maximum) return String(minimum);
  if (minimum === 0) return `at most ${maximum}`;
  return maximum === Number.POSITIVE_INFINITY ? `${minimum} or later` : `${minimum} to ${maximum}`;
}

function compareFeatures(
  role: "input" | "output",
  found: readonly (Feature | DescribedOutput)[],
  expected: readonly FeatureContract[],
): readonly Deviation[] {
  const deviations: Deviation[] = [];
  for (const { name, element, shapes } of expected) {
    const subject = `${role} ${name}`;
    const wanted = `${element} ${shapesText(shapes)}`;
    const feature = found.find((one) => one.name === name);
    if (feature === undefined) {
      deviations.push({ subject, expected: wanted, found: "there is none" });
      continue;
    }
    const { type } = feature;
    const text = featureText(feature);
    const isKept =
      type.kind === "multi-array" && type.element === element && sameShapes(shapesOf(feature), shapes);
    if (!isKept) deviations.push({ subject, expected: wanted, found: text });
    const inProgram = "inProgram" in feature ? feature.inProgram : undefined;
    // Where the program gives what the description says, one deviation is enough.
    const described =
      type.kind === "multi-array"
        ? { element: type.element, shapes: shapesOf(feature) ?? shapes }
        : { element, shapes };
    if (inProgram !== undefined && !agrees(inProgram, described))
      deviations.push({
        subject: `${subject} in the program`,
        expected: wanted,
        found: `${inProgram.element} (${inProgram.dimensions.map((size) => size ?? "any").join(", ")})`,
      });
  }
  for (const feature of found) {
    if (!expected.some(({ name }) => name === feature.name))
      deviations.push({
        subject: `${role} ${feature.name}`,
        expected: "there is none",
        found: featureText(feature),
      });
  }
  return deviations;
}

/** ML Programs and descriptions name the same types differently. */
const programElements: Readonly<Record<string, ElementType>> = {
  float16: "fp16",
  float32: "fp32",
  float64: "fp64",
  int8: "int8",
  int32: "int32",
};

function agrees(
  { element, dimensions }: NonNullable<DescribedOutput["inProgram"]>,
  expected: Pick<FeatureContract, "element" | "shapes">,
): boolean {
  const fits = (shape: readonly number[]): boolean =>
    shape.length === dimensions.length &&
    dimensions.every((size, index) => size === null || size === shape[index]);
  return element === programElements[expected.element] && expected.shapes.every(fits);
}

/** @returns undefined where they are not listed: a range, or no shape at all. */
function shapesOf(feature: Feature | DescribedOutput): readonly (readonly number[])[] | undefined {
  if (feature.type.kind !== "multi-array") return undefined;
  const { shape, flexibility } = feature.type;
  if (flexibility?.kind === "enumerated") return [shape, ...flexibility.shapes];
  if (flexibility?.kind === "range") {
    const isFixed = flexibility.ranges.every(({ lower, upper }) => lower === upper);
    return isFixed ? [flexibility.ranges.map(({ lower }) => lower)] : undefined;
  }
  if (shape.length > 0) return [shape];
  // coremltools leaves the shape of an output out where it depends on the input's; the program may still fix it.
  const dimensions = "inProgram" in feature ? feature.inProgram?.dimensions : undefined;
  if (dimensions === undefined || dimensions.includes(null)) return undefined;
  return [dimensions.map((size) => size ?? 0)];
}

function sameShapes(
  found: readonly (readonly number[])[] | undefined,
  expected: readonly (readonly number[])[],
): boolean {
  if (found === undefined) return false;
  const texts = new Set(found.map(shapeText));
  const wanted = new Set(expected.map(shapeText));
  return texts.size === wanted.size && [...texts].every((text) => wanted.has(text));
}

function featureText(feature: Feature | DescribedOutput): string {
  const { type } = feature;
  if (type.kind === "other") return type.as;
  const shapes = shapesOf(feature);
  if (shapes !== undefined) return `${type.element} ${shapesText(shapes)}`;
  if (type.flexibility?.kind !== "range") return `${type.element} without a shape`;
  const sizes = type.flexibility.ranges.map(({ lower, upper }) =>
    lower === upper ? String(lower) : `${lower}..${upper ?? ""}`,
  );
  return `${type.element} (${sizes.join(", ")})`;
}

function shapesText(shapes: readonly (readonly number[])[]): string {
  return [...new Set(shapes.map(shapeText))].join(" or ");
}

function shapeText(shape: readonly number[]): string {
  return `(${shape.join(", ")})`;
}

/**
 * A contract from parsed JSON. A field that it does not know is an error: a slip of the pen would loosen the contract.
 * @throws {InvalidInputError} naming the field.
 */
export function readContract(value: unknown): ArtifactContract {
  const fields = objectOf("contract", value, [
    "kind",
    "specificationVersion",
    "inputs",
    "outputs",
    "weights",
  ] as const);
  const versions = optional(fields.specificationVersion, (given) => {
    const ends = objectOf("contract.specificationVersion", given, ["minimum", "maximum"] as const);
    return {
      minimum: optional(ends.minimum, (end) => countOf("contract.specificationVersion.minimum", end)),
      maximum: optional(ends.maximum, (end) => countOf("contract.specificationVersion.maximum", end)),
    };
  });
  return {
    kind: optional(fields.kind, (given) => textOf("contract.kind", given)),
    specificationVersion: versions,
    inputs: optional(fields.inputs, (given) => featuresOf("contract.inputs", given)),
    outputs: optional(fields.outputs, (given) => featuresOf("contract.outputs", given)),
    weights: optional(fields.weights, (given) =>
      listOf("contract.weights", given).map((element, index) =>
        memberOf(`contract.weights[${index}]`, element, elementCodes),
      ),
    ),
  };
}

function featuresOf(path: string, value: unknown): readonly FeatureContract[] {
  return listOf(path, value).map((item, index) => {
    const place = `${path}[${index}]`;
    const { name, element, shapes } = objectOf(place, item, ["name", "element", "shapes"] as const);
    return {
      name: textOf(`${place}.name`, name),
      element: memberOf(`${place}.element`, element, arrayElements),
      shapes: filledListOf(`${place}.shapes`, shapes).map((shape, number) =>
        listOf(`${place}.shapes[${number}]`, shape).map((size, axis) =>
          countOf(`${place}.shapes[${number}][${axis}]`, size),
        ),
      ),
    };
  });
}

function optional<Result>(value: unknown, read: (value: unknown) => Result): Result | undefined {
  return value === undefined ? undefined : read(value);
}

function objectOf<Name extends string>(
  path: string,
  value: unknown,
  names: readonly Name[],
): Readonly<Partial<Record<Name, unknown>>> {
  if (typeof value !== "object" || value === null || Array.isArray(value))
    throw new InvalidInputError(path, "is no object");
  for (const name of Object.keys(value))
    if (!(names as readonly string[]).includes(name))
      throw new InvalidInputError(`${path}.${name}`, `is no field of it; there are ${names.join(", ")}`);
  return value as Readonly<Partial<Record<Name, unknown>>>;
}

function listOf(path: string, value: unknown): readonly unknown[] {
  if (!Array.isArray(value)) throw new InvalidInputError(path, "is no list");
  return value;
}

function filledListOf(path: string, value: unknown): readonly unknown[] {
  const list = listOf(path, value);
  if (list.length === 0) throw new InvalidInputError(path, "is empty");
  return list;
}

function textOf(path: string, value: unknown): string {
  if (typeof value !== "string" || value === "") throw new InvalidInputError(path, "is no text");
  return value;
}

function countOf(path: string, value: unknown): number {
  if (typeof value !== "number" || !Number.isSafeInteger(value) || value < 1)
    throw new InvalidInputError(path, "is no whole number from 1 on");
  return value;
}

function memberOf<Name extends string>(
  path: string,
  value: unknown,
  members: Readonly<Record<Name, unknown>>,
): Name {
  const text = textOf(path, value);
  if (!Object.hasOwn(members, text))
    throw new InvalidInputError(path, `is ${text}, and must be one of ${Object.keys(members).join(", ")}`);
  return text as Name;
}

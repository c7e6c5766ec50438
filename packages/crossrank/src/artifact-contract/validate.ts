import type {
  DescribedFeature,
  ElementType,
  MultiArrayType,
  NarrowedIds,
  PackageReport,
} from "@crossrank/formats/mlpackage";

/**
 * What an application relies on in an artifact. It is plain JSON, so that one can be declared in a file
 * (`readContract`). What is left out is free, but that there is a function to run is not; and where inputs or
 * outputs are given, the program must have those of the description.
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
  deviations.push(...compareFunction(report));
  if (inputs !== undefined) {
    deviations.push(...compareFeatures("input", report, inputs));
    if (report.narrowedIds !== undefined) deviations.push(narrowing(report.narrowedIds));
  }
  if (outputs !== undefined) deviations.push(...compareFeatures("output", report, outputs));
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

/** No contract leaves it free whether there is something to run. */
function compareFunction({ kind, function: described }: PackageReport): readonly Deviation[] {
  if (kind !== "mlProgram") return [];
  if (described === undefined)
    return [{ subject: "default function", expected: "one of the program's", found: "there is none" }];
  const { name, opset, hasBody } = described;
  return hasBody
    ? []
    : [{ subject: `function ${name}`, expected: `a body for ${opset}`, found: "there is none" }];
}

function narrowing({ input, operation, value, element, largest, rows }: NarrowedIds): Deviation {
  return {
    subject: `input ${input} in the program`,
    expected: `whole up to the table of ${rows} rows that it looks up`,
    found: `cut to ${element}, up to ${largest}, by ${operation} ${value}`,
  };
}

type Role = "input" | "output";

function compareFeatures(
  role: Role,
  report: PackageReport,
  expected: readonly FeatureContract[],
): readonly Deviation[] {
  const found = report[`${role}s`];
  const deviations = expected.flatMap((one) => compareFeature(role, found, one));
  for (const feature of found) {
    if (!expected.some(({ name }) => name === feature.name))
      deviations.push({
        subject: `${role} ${feature.name}`,
        expected: "there is none",
        found: featureText(role, feature),
      });
  }
  const inProgram = namesInProgram(role, report);
  return inProgram === undefined
    ? deviations
    : [...deviations, ...compareProgram({ role, found, inProgram, expected })];
}

/** The description of one input or output. */
function compareFeature(
  role: Role,
  found: readonly DescribedFeature[],
  { name, element, shapes }: FeatureContract,
): Deviation[] {
  const subject = `${role} ${name}`;
  const wanted = `${element} ${shapesText(shapes)}`;
  const [feature, ...repeated] = found.filter((one) => one.name === name);
  if (feature === undefined) return [{ subject, expected: wanted, found: "there is none" }];
  const deviations: Deviation[] = [];
  const { type, optional } = feature;
  const isKept =
    type.kind === "multi-array" && type.element === element && sameShapes(shapesOf(role, feature), shapes);
  if (!isKept || (role === "input" && optional))
    deviations.push({ subject, expected: wanted, found: featureText(role, feature) });
  if (repeated.length > 0)
    deviations.push({ subject, expected: "once", found: `${repeated.length + 1} times` });
  return deviations;
}

/** @returns undefined where there is nothing to compare with, which is a deviation of its own. */
function namesInProgram(role: Role, report: PackageReport): readonly string[] | undefined {
  const { kind, function: described } = report;
  if (kind !== "mlProgram" || described === undefined) return undefined;
  return role === "output" && !described.hasBody ? undefined : described[`${role}s`];
}

/** An application feeds and reads what the description says; what runs is the program. */
function compareProgram({
  role,
  found,
  inProgram,
  expected,
}: {
  readonly role: Role;
  readonly found: readonly DescribedFeature[];
  readonly inProgram: readonly string[];
  readonly expected: readonly FeatureContract[];
}): readonly Deviation[] {
  const deviations: Deviation[] = [];
  for (const contract of expected) {
    const feature = found.find(({ name }) => name === contract.name);
    // Where neither has it, one deviation is enough.
    if (feature === undefined) continue;
    const subject = `${role} ${contract.name} in the program`;
    const wanted = `${contract.element} ${shapesText(contract.shapes)}`;
    const times = inProgram.filter((name) => name === contract.name).length;
    if (times > 1) deviations.push({ subject, expected: "once", found: `${times} times` });
    const type = feature.inProgram;
    if (type === undefined)
      deviations.push({ subject, expected: wanted, found: times === 0 ? "there is none" : "no tensor" });
    else if (!agrees(role, type, feature, contract))
      deviations.push({
        subject,
        expected: wanted,
        found: `${type.element} (${type.dimensions.map((size) => size ?? "any").join(", ")})`,
      });
  }
  for (const name of new Set(inProgram)) {
    if (![...expected, ...found].some((one) => one.name === name))
      deviations.push({
        subject: `${role} ${name} in the program`,
        expected: "there is none",
        found: "there is one",
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

/**
 * Whether the program has the type that the description has. What the contract wants instead is a deviation of the
 * description, and one is enough; its shapes count where the description lists none.
 */
function agrees(
  role: Role,
  { element, dimensions }: NonNullable<DescribedFeature["inProgram"]>,
  feature: DescribedFeature,
  contract: FeatureContract,
): boolean {
  const { type } = feature;
  const described = type.kind === "multi-array" ? type : undefined;
  if (element !== programElements[described?.element ?? contract.element]) return false;
  if (described?.flexibility?.kind === "range") {
    const { ranges } = described.flexibility;
    return (
      ranges.length === dimensions.length &&
      ranges.every(({ lower, upper }, index) => {
        const size = dimensions[index] ?? null;
        return size === null || (size === lower && size === upper);
      })
    );
  }
  const fits = (shape: readonly number[]): boolean =>
    shape.length === dimensions.length &&
    dimensions.every((size, index) => size === null || size === shape[index]);
  return (shapesOf(role, feature) ?? contract.shapes).every(fits);
}

/** @returns undefined where they are not listed: a range, or no shape at all. */
function shapesOf(role: Role, feature: DescribedFeature): readonly (readonly number[])[] | undefined {
  if (feature.type.kind !== "multi-array") return undefined;
  const { shape, flexibility } = feature.type;
  if (flexibility?.kind === "enumerated") return [shape, ...flexibility.shapes];
  if (flexibility?.kind === "range") {
    const isFixed = flexibility.ranges.every(({ lower, upper }) => lower === upper);
    return isFixed ? [flexibility.ranges.map(({ lower }) => lower)] : undefined;
  }
  if (shape.length > 0) return [shape];
  // coremltools leaves the shape of an output out where it depends on the input's; the program may still fix it.
  const dimensions = role === "output" ? feature.inProgram?.dimensions : undefined;
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

function featureText(role: Role, feature: DescribedFeature): string {
  const text = typeText(role, feature);
  return role === "input" && feature.optional ? `${text}, optional` : text;
}

function typeText(role: Role, feature: DescribedFeature): string {
  const { type } = feature;
  if (type.kind === "other") return type.as;
  const shapes = shapesOf(role, feature);
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

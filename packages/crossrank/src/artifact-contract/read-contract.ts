import { InvalidInputError } from "@crossrank/core";
import { arrayElements, elementCodes } from "@crossrank/formats/mlpackage";
import type { ArtifactContract, FeatureContract } from "./validate.js";

/**
 * A contract from parsed JSON. A field that it does not know is an error: a slip of the pen would loosen the contract.
 * So is one without an input or output, which almost any artifact would keep to.
 *
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
    const path = "contract.specificationVersion";
    const ends = objectOf(path, given, ["minimum", "maximum"] as const);
    const minimum = optional(ends.minimum, (end) => countOf(`${path}.minimum`, end));
    const maximum = optional(ends.maximum, (end) => countOf(`${path}.maximum`, end));
    if (minimum !== undefined && maximum !== undefined && minimum > maximum)
      throw new InvalidInputError(path, `has a minimum of ${minimum}, above its maximum of ${maximum}`);
    return { minimum, maximum };
  });
  const inputs = optional(fields.inputs, (given) => featuresOf("contract.inputs", given));
  const outputs = optional(fields.outputs, (given) => featuresOf("contract.outputs", given));
  const contract: ArtifactContract = {
    kind: optional(fields.kind, (given) => textOf("contract.kind", given)),
    specificationVersion: versions,
    inputs,
    outputs,
    weights: optional(fields.weights, (given) =>
      listOf("contract.weights", given).map((element, index) =>
        memberOf(`contract.weights[${index}]`, element, elementCodes),
      ),
    ),
  };
  if ((inputs ?? []).length + (outputs ?? []).length === 0)
    throw new InvalidInputError("contract", "declares no input and no output");
  return contract;
}

function featuresOf(path: string, value: unknown): readonly FeatureContract[] {
  const names = new Set<string>();
  return listOf(path, value).map((item, index) => {
    const place = `${path}[${index}]`;
    const fields = objectOf(place, item, ["name", "element", "shapes"] as const);
    const { element, shapes } = fields;
    const name = textOf(`${place}.name`, fields.name);
    if (names.has(name)) throw new InvalidInputError(`${place}.name`, `is ${name} a second time`);
    names.add(name);
    return {
      name,
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

import { readFile } from "node:fs/promises";
import type { Feature, PackageReport } from "@crossrank/formats/mlpackage";
import type { ArtifactContract, Deviation } from "./artifact-contract/validate.js";
import { type Context, print } from "./context.js";
import { CommandError, describeSystemError, UsageError } from "./failure.js";
import { alignColumns, formatBytes, formatCount, toSingleLine } from "./text.js";

export interface PackageInspectionOptions {
  /** `seed`, `seed:` and a length, or a file. */
  readonly contract?: string | undefined;
  readonly format: "table" | "json";
}

interface ContractResult {
  /** As it was asked for. */
  readonly contract: string;
  readonly deviations: readonly Deviation[];
}

/** Whether a source is a Core ML artifact alone, and no model with its tokenizer. */
export function isModelPackage(source: string): boolean {
  return /\.(mlpackage|mlmodel)[\\/]*$/i.test(source);
}

/** @throws {CommandError} when it does not keep to the contract; each deviation is shown before. */
export async function inspectModelPackage(
  path: string,
  { contract, format }: PackageInspectionOptions,
  { signal }: Context,
): Promise<void> {
  const formats = await import("@crossrank/formats/mlpackage");
  const { validateContract } = await import("./artifact-contract/validate.js");
  const rules = contract === undefined ? undefined : await readContractOption(contract);
  const report = await formats.describeModelPackage(await formats.openModelPackage(path, { signal }));
  const result =
    contract === undefined || rules === undefined
      ? undefined
      : { contract, deviations: validateContract(report, rules) };
  await print(format === "json" ? reportJson(report, result) : reportTable(report, result));
  const count = result?.deviations.length ?? 0;
  if (count > 0) {
    const names = result?.deviations.map(({ subject }) => subject).join(", ");
    throw new CommandError(
      `${path} deviates from the contract ${contract} in ${count} place${count === 1 ? "" : "s"}: ${names}`,
    );
  }
}

async function readContractOption(value: string): Promise<ArtifactContract> {
  const { fixedSeedContract, seedContract } = await import("./artifact-contract/seed-contract.js");
  const { readContract } = await import("./artifact-contract/read-contract.js");
  if (value === "seed") return seedContract;
  const length = /^seed:(\d+)$/.exec(value)?.[1];
  if (length !== undefined) {
    if (Number(length) > 0) return fixedSeedContract(Number(length));
    throw new UsageError(`--contract seed: needs a length above 0, and ${value} has none`);
  }
  try {
    return readContract(JSON.parse((await readFile(value, "utf8")).replace(/^\ufeff/, "")));
  } catch (cause) {
    const problem =
      cause instanceof SyntaxError ? `it is not JSON (${cause.message})` : describeSystemError(cause);
    throw new CommandError(`cannot read --contract ${value}: ${problem}`, { cause });
  }
}

function reportJson(report: PackageReport, result: ContractResult | undefined): string {
  return `${JSON.stringify(result === undefined ? report : { ...report, ...result }, undefined, 2)}\n`;
}

/**
 * The first systems that load a specification version: `AvailableTarget` of coremltools 9.0
 * (coremltools/converters/mil/_deployment_compatibility.py).
 */
const systems: Readonly<Record<number, string>> = {
  4: "macOS 10.15, iOS 13",
  5: "macOS 11, iOS 14",
  6: "macOS 12, iOS 15",
  7: "macOS 13, iOS 16",
  8: "macOS 14, iOS 17",
  9: "macOS 15, iOS 18",
  10: "macOS 26, iOS 26",
};

function reportTable(report: PackageReport, result: ContractResult | undefined): string {
  const { specificationVersion, kind, opsets, inputs, outputs, weights, files } = report;
  const system = systems[specificationVersion];
  const facts = [
    ["kind", kind],
    ["specification", `version ${specificationVersion}${system === undefined ? "" : `: ${system} or later`}`],
    ...(opsets.length === 0 ? [] : [["operation sets", opsets.join(", ")]]),
    ...metadataRows(report),
  ];
  const operations = Object.entries(report.operations);
  const count = operations.reduce((sum, [, times]) => sum + times, 0);
  const sections: [string, readonly string[]][] = [
    [report.path, table(facts, ["left", "left"])],
    ["inputs", table(inputs.map(featureRow), ["left", "left", "left"])],
    [
      "outputs",
      table(
        outputs.map((output) => [...featureRow(output), programType(output.inProgram)]),
        ["left", "left", "left", "left"],
      ),
    ],
    ...(operations.length === 0
      ? []
      : [
          [
            `operations, ${formatCount(count)}`,
            table(
              operations.map(([type, times]) => [type, formatCount(times)]),
              ["left", "right"],
            ),
          ] satisfies [string, string[]],
        ]),
    [
      "weights",
      weights.length === 0
        ? ["none in blob files"]
        : table(
            weights.map(({ element, tensors, bytes }) => [
              element,
              `${formatCount(tensors)} tensor${tensors === 1 ? "" : "s"}`,
              formatBytes(bytes),
            ]),
            ["left", "right", "right"],
          ),
    ],
    [
      "files",
      table(
        files.map(({ path, size }) => [path, formatBytes(size)]),
        ["left", "right"],
      ),
    ],
    ...(result === undefined ? [] : [contractSection(result)]),
  ];
  return `${sections
    .map(([title, lines]) => [toSingleLine(title), ...lines.map((line) => `  ${line}`)].join("\n"))
    .join("\n\n")}\n`;
}

function metadataRows({ metadata }: PackageReport): string[][] {
  const { shortDescription, version, author, license, userDefined } = metadata;
  return [
    ["description", shortDescription],
    ["version", version],
    ["author", author],
    ["licence", license],
    ...Object.entries(userDefined),
  ].filter(([, value]) => value !== "");
}

function featureRow({ name, type, optional }: Feature): string[] {
  if (type.kind === "other") return [name, type.as, optional ? "optional" : ""];
  return [name, type.element, `${shapes(type)}${optional ? ", optional" : ""}`];
}

function shapes({ shape, flexibility }: Extract<Feature["type"], { kind: "multi-array" }>): string {
  switch (flexibility?.kind) {
    case undefined:
      // An output's may be left out.
      return shape.length === 0 ? "no shape declared" : dimensions(shape);
    case "enumerated":
      return `${flexibility.shapes.map(dimensions).join(" or ")}, by default ${dimensions(shape)}`;
    case "range": {
      const ends = flexibility.ranges.map(({ lower, upper }) =>
        lower === upper ? lower : `${lower}…${upper ?? ""}`,
      );
      return `${dimensions(ends)}, by default ${dimensions(shape)}`;
    }
  }
}

function programType(type: PackageReport["outputs"][number]["inProgram"]): string {
  if (type === undefined) return "";
  return `${type.element} ${dimensions(type.dimensions.map((size) => size ?? "?"))} in the program`;
}

function dimensions(sizes: readonly (number | string)[]): string {
  return `(${sizes.join(", ")})`;
}

function contractSection({ contract, deviations }: ContractResult): [string, string[]] {
  if (deviations.length === 0) return [`contract ${contract}`, ["PASS: it keeps to it."]];
  const rows = deviations.map(({ subject, expected, found }) => [subject, expected, found]);
  const heading = ["deviation", "expected", "found"];
  const lines = table([heading, ...rows], ["left", "left", "left"]);
  return [
    `contract ${contract}`,
    [...lines, `FAIL: ${deviations.length} deviation${deviations.length === 1 ? "" : "s"}.`],
  ];
}

function table(rows: readonly (readonly string[])[], alignment: readonly ("left" | "right")[]): string[] {
  return alignColumns(
    rows.map((row) => row.map(toSingleLine)),
    alignment,
  );
}

import type { Block, ElementType } from "@crossrank/formats/mlpackage";
import { UntranslatableProgramError } from "./errors.js";

/** Largest number of each type that coremltools narrows integers to. */
const largest: Readonly<Partial<Record<ElementType, number>>> = {
  int8: 127,
  uint8: 255,
  int16: 32_767,
  uint16: 65_535,
};

/** What hands its `x` on number by number. */
const moves: ReadonlySet<string> = new Set([
  "cast",
  "expand_dims",
  "identity",
  "reshape",
  "slice_by_index",
  "squeeze",
  "transpose",
]);

/**
 * coremltools (9.0, seen for macOS 15) casts int32 inputs to 16 bits where the operation that reads them takes such,
 * without regard to the numbers: its pass `common::add_int16_cast`. With a vocabulary of 250,002 most ids do not
 * fit. What Core ML makes of such a cast is not documented, so that no translation of it could be right.
 *
 * @throws {UntranslatableProgramError} when ids are narrowed below the rows of a table that is looked up.
 */
export function refuseNarrowedIds({ operations }: Block): void {
  const ofIds = new Set(["input_ids"]);
  const rows = Math.max(0, ...tableRows(operations));
  for (const { type, inputs, outputs } of operations) {
    const [x] = inputs["x"] ?? [];
    const [output] = outputs;
    if (!moves.has(type) || x === undefined || !("name" in x) || !ofIds.has(x.name)) continue;
    if (output?.type.kind !== "tensor") continue;
    ofIds.add(output.name);
    const limit = largest[output.type.element];
    if (limit === undefined || rows <= limit + 1) continue;
    throw new UntranslatableProgramError({
      operation: type,
      value: output.name,
      problem: `it narrows token ids to ${output.type.element}, up to ${limit}, and the table of tokens has ${rows} rows`,
      fix:
        "Convert with `crossrank convert --to mlpackage`, or tell coremltools to leave the pass " +
        "common::add_int16_cast out",
    });
  }
}

/** Rows of the constants of two dimensions that are looked up. */
function tableRows(operations: Block["operations"]): readonly number[] {
  const tables = new Set(
    operations.flatMap(({ type, inputs }) =>
      type === "gather" ? (inputs["x"] ?? []).flatMap((one) => ("name" in one ? [one.name] : [])) : [],
    ),
  );
  return operations.flatMap(({ type, outputs: [output] }) => {
    if (type !== "const" || output?.type.kind !== "tensor" || !tables.has(output.name)) return [];
    const { dimensions } = output.type;
    return dimensions.length === 2 ? [dimensions[0] ?? 0] : [];
  });
}

import type { Problem } from "@crossrank/backend-kit";
import { type CoreMlModel, defaultFunctionOf, narrowedIds } from "@crossrank/formats/mlpackage";

/**
 * coremltools (9.0, seen for macOS 15) casts int32 inputs to 16 bits where the operation that reads them takes such,
 * without regard to the numbers: its pass `common::add_int16_cast`. With a vocabulary of 250,002 most ids do not
 * fit. What Core ML makes of such a cast is not documented, so that no score could be trusted, its own or a
 * translation's.
 *
 * @returns what is wrong where token ids are narrowed below the rows of a table that they look up.
 */
export function findNarrowedIds(model: CoreMlModel): Problem | undefined {
  const definition = defaultFunctionOf(model);
  const found = definition === undefined ? undefined : narrowedIds(definition);
  if (found === undefined) return undefined;
  const { input, operation, value, element, largest, rows } = found;
  return {
    problem:
      `${operation} "${value}": it narrows ${input} to ${element}, up to ${largest}, and the table that it looks up ` +
      `has ${rows} rows`,
    fix:
      "Convert with `crossrank convert --to mlpackage`, or tell coremltools to leave the pass common::add_int16_cast " +
      "out",
  };
}

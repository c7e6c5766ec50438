import { ModelLoadError } from "@crossrank/core";
import type { CoreMlModel } from "@crossrank/formats/mlpackage";

/**
 * In a package's user-defined metadata: all lengths of the packages that were written together, ascending, with commas,
 * e.g. `"128,256,512"`. `crossrank convert --to mlpackage` writes it.
 */
const lengthsKey = "crossrank.lengths";

export interface LengthPackage {
  /** Of the package, relative to the model. */
  readonly path: string;
  readonly model: CoreMlModel;
  /** That it takes. */
  readonly lengths: readonly number[];
}

/**
 * Refuses packages that were written as parts of a set which is not here as a whole: without its longest, documents
 * would be cut short and nobody told. Packages by others, which do not say what they belong to, are taken as they are.
 *
 * @throws {ModelLoadError} naming the lengths.
 */
export function requireWholeSet(
  facts: { readonly model: string; readonly backend: string },
  packages: readonly LengthPackage[],
): void {
  const found = packages
    .flatMap(({ lengths }) => lengths)
    .sort((a, b) => a - b)
    .join();
  for (const { path, model } of packages) {
    const declared = model.metadata.userDefined[lengthsKey];
    if (declared === undefined || declared === found) continue;
    throw new ModelLoadError({
      ...facts,
      file: path,
      problem: `it is of a set of the lengths ${listed(declared)}, and the packages here take ${listed(found)}`,
      fix: "Download or convert the model again, all lengths together; or name one package in the option `file`",
    });
  }
}

function listed(lengths: string): string {
  return lengths.split(",").join(", ");
}

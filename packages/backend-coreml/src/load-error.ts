import { problemOf } from "@crossrank/backend-kit/runtime";
import { ModelLoadError } from "@crossrank/core";
import { ModelPackageError } from "@crossrank/formats/mlpackage";
import { NativeError, type NativeErrorCode } from "./native-error.js";
import { UntranslatableProgramError } from "./reference/errors.js";

/** What to do about what Core ML itself refused. Where the error knows better, its own fix is taken. */
const nativeFixes: Readonly<Partial<Record<NativeErrorCode, string>>> = {
  unsupported: "Take another format of the model, or this package with the option `reference`",
  compile: "Take other `computeUnits`, or convert the model for this version of macOS",
  load: "Take other `computeUnits`, or convert the model for this version of macOS",
};

/**
 * What went wrong while a package was opened, as the contract's error; what is one already stays as it is.
 * @param file of the package, relative to the model.
 */
export function modelLoadError(
  facts: { readonly model: string; readonly backend: string; readonly file: string },
  cause: unknown,
): ModelLoadError {
  if (ModelLoadError.isInstance(cause) && cause.backend === facts.backend) return cause;
  if (ModelPackageError.isInstance(cause)) {
    const inside = cause.path.replaceAll("\\", "/").split(".mlpackage/")[1];
    const file = inside === undefined ? facts.file : `${facts.file}/${inside}`;
    return new ModelLoadError({ ...facts, file, problem: cause.problem, fix: cause.fix }, { cause });
  }
  if (UntranslatableProgramError.isInstance(cause)) {
    const place = cause.operation === undefined ? "" : `${cause.operation} "${cause.value}": `;
    return new ModelLoadError({ ...facts, problem: `${place}${cause.problem}`, fix: cause.fix }, { cause });
  }
  const usual = "Check where the package comes from, and convert it again";
  if (!(cause instanceof NativeError)) {
    return new ModelLoadError({ ...facts, problem: problemOf(cause), fix: usual }, { cause });
  }
  const { code, problem, fix = nativeFixes[code] ?? usual } = cause;
  return new ModelLoadError({ ...facts, problem: problemOf(problem), fix }, { cause });
}

import { CommandError } from "../../failure.js";

/** What `crossrank train` and `crossrank mine` are made of. Those who do neither need not install it. */
export type TrainingPackage = typeof import("@crossrank/train");

/** @throws {CommandError} when it is not installed. */
export async function loadTraining(command: string): Promise<TrainingPackage> {
  const name = "@crossrank/train";
  try {
    return (await import(
      /* webpackIgnore: true */ /* turbopackIgnore: true */ /* @vite-ignore */ name
    )) as TrainingPackage;
  } catch (cause) {
    // Loaded when it is asked for: --help has no use for it.
    const { isMissing } = await import("../../registry.js");
    if (!isMissing(cause, [name])) throw cause;
    throw new CommandError(`crossrank ${command} needs a package. Install it: npm install ${name}`, {
      cause,
    });
  }
}

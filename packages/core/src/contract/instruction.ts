import { InvalidInputError } from "./errors.js";
import type { ModelProfile } from "./model-profile.js";

/**
 * An instruction that a model can follow: `""` or a text for a template with a place for it.
 * @throws {InvalidInputError} when it is no string, or the template has no place for it.
 */
export function requireInstruction(
  instruction: unknown,
  model: { readonly id: string; readonly profile: Pick<ModelProfile, "family" | "instructedTemplate"> },
): asserts instruction is string {
  if (typeof instruction !== "string") {
    throw new InvalidInputError("instruction", `must be a string, not ${typeof instruction}`);
  }
  if (instruction !== "" && model.profile.instructedTemplate === undefined) {
    throw instructionRefused(`the template of ${model.id}, a ${model.profile.family},`);
  }
}

/** @param place the template in question, as the subject of a clause. */
export function instructionRefused(place: string): InvalidInputError {
  return new InvalidInputError(
    "instruction",
    `was given, and ${place} has no place for one. Leave it out, or choose a reranker that follows instructions`,
  );
}

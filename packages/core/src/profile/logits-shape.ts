import type { DeclaredClasses } from "../contract/backend.js";
import { ModelFileNotFoundError } from "../contract/errors.js";

/** What the artifact that would run says of itself, for a configuration that does not say what the model is. */
export type DeclaredLabels = () => Promise<DeclaredClasses | undefined>;

/** Labels of a classifier, and the file that says so. */
export interface LabelsOfArtifact {
  readonly labels: number;
  readonly source: string;
}

/**
 * A graph that gives class logits for a pair is a cross-encoder, whatever config.json calls its body. Undefined where
 * nobody can be asked, there is no artifact, or it gives something else.
 */
export async function labelsOfArtifact(
  ask: DeclaredLabels | undefined,
): Promise<LabelsOfArtifact | undefined> {
  let declared: DeclaredClasses | undefined;
  try {
    declared = await ask?.();
  } catch (error) {
    // That there is none is the load's to say.
    if (!ModelFileNotFoundError.isInstance(error)) throw error;
  }
  if (declared === undefined) return undefined;
  const { path, classes } = declared;
  return {
    labels: classes,
    source: `${path}, which gives ${classes} logit${classes === 1 ? "" : "s"} a pair`,
  };
}

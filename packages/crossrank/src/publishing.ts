// Cards and publishing as a library. What does the work is loaded when it is asked for.
import type { Publication } from "@crossrank/hub";
import type { WriteCardOptions, WrittenCard } from "./card/write-card.js";
import type {
  PlanPublicationOptions,
  PublicationPlan,
  PublishModelOptions,
} from "./publish/publish-model.js";

export type { Publication } from "@crossrank/hub";
export type { EvidencePaths } from "./card/evidence.js";
export { CardError } from "./card/markers.js";
export type { WriteCardOptions, WrittenCard } from "./card/write-card.js";
export { PublishRefusedError } from "./publish/errors.js";
export type {
  PlanPublicationOptions,
  PublicationPlan,
  PublishModelOptions,
} from "./publish/publish-model.js";

/**
 * Writes a model's card: what its files say, and what was measured of exactly these files. Sections of a card that is there
 * stay as their author wrote them; what stands between marks is replaced. A second call changes no byte.
 *
 * @throws {CardError} when the folder has no artifact, a report is none, or the card's marks are damaged (with the line).
 * @throws what reading the model throws.
 */
export async function writeCard(folder: string, options: WriteCardOptions = {}): Promise<WrittenCard> {
  return (await import("./card/write-card.js")).writeCard(folder, options);
}

/**
 * The commit that {@link publishModel} would make, without the network. Judges as it does.
 *
 * @throws {PublishRefusedError} with all that is in the way; otherwise as {@link publishModel}.
 */
export async function planPublication(
  folder: string,
  options: PlanPublicationOptions,
): Promise<PublicationPlan> {
  return (await import("./publish/publish-model.js")).planPublication(folder, options);
}

/**
 * Publishes one variant of a model: its files flat at the root of one commit, tagged `<tag>-<variant>` last, when what the
 * hub has is what was sent. A run that was stopped or killed can be run again.
 *
 * @throws {PublishRefusedError} without `confirm`, or without a passing verification, a passing evaluation and a card that
 * are of exactly these files. Nothing is sent.
 * @throws {CardError} when a report or the card cannot be read.
 * @throws {InvalidInputError} when an option is wrong; otherwise as `publishFiles` of @crossrank/hub.
 */
export async function publishModel(folder: string, options: PublishModelOptions): Promise<Publication> {
  return (await import("./publish/publish-model.js")).publishModel(folder, options);
}

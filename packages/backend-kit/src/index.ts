export { abortable } from "./abortable.js";
export { hashFile, hashFiles, requireContent } from "./artifact-file.js";
export type { CallTable, RuntimeClient } from "./calls.js";
export { ChildClient, type ChildFacts } from "./child-client.js";
export {
  type ArtifactFormat,
  type ArtifactWish,
  artifactNotFoundError,
  artifactWish,
  type ChosenArtifact,
  chooseArtifact,
  dtypesToTry,
  knownDtype,
  type MissedArtifact,
  unknownDtypeError,
} from "./choose-artifact.js";
export type { BackendDescriptor, CommonBackendOptions, FoundArtifact } from "./descriptor.js";
export { BackendNotInstalledError } from "./errors.js";
export { LocalClient } from "./local-client.js";
export { checkBatchOption, requireCount } from "./options.js";
export { requireTokens } from "./output-request.js";
export { PendingCalls } from "./pending-calls.js";
export { choosePlacement, type Placement } from "./placement.js";
export type { Problem } from "./problem.js";
export { RuntimeSession, type SessionFacts } from "./session.js";
export { canonicalJson, settingsOf } from "./settings.js";

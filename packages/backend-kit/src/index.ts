export type { BackendDescriptor, CommonBackendOptions, FoundArtifact } from "./descriptor.js";
export { abortable } from "./abortable.js";
export { hashFile, hashFiles, requireContent } from "./artifact-file.js";
export {
  type ArtifactWish,
  artifactNotFoundError,
  artifactWish,
  dtypesToTry,
  unknownDtypeError,
} from "./artifact-wish.js";
export type { RuntimeClient } from "./calls.js";
export { ChildClient } from "./child-client.js";
export { LocalClient } from "./local-client.js";
export { checkBatchOption, requireCount } from "./options.js";
export { PendingCalls } from "./pending-calls.js";
export type { Problem } from "./problem.js";
export { RuntimeSession, type SessionFacts } from "./session.js";

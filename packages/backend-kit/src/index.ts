export { hashFile } from "@crossrank/disk";
export { type Activated, activatedProblem, isRead, statesIdentity } from "./activated.js";
export { hashFiles, rememberFiles, requireContent } from "./artifact-file.js";
export { batchSizeProblem } from "./batch-bounds.js";
export type { CallOptions, CallTable, Handlers, HostStage, MortalClient, RuntimeClient } from "./calls.js";
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
export { startClock } from "./clock.js";
export { type Deadlines, longestDeadline, usualDeadlines } from "./deadlines.js";
export type {
  ArtifactDescription,
  ArtifactPort,
  BackendDescriptor,
  CommonBackendOptions,
  FoundArtifact,
} from "./descriptor.js";
export { BackendNotInstalledError, RuntimeStartError } from "./errors.js";
export { type MemorySource, readFreeMemory } from "./free-memory.js";
export {
  checkHostOptions,
  Host,
  type HostFacts,
  type HostOptions,
  hostOptionNames,
  type Isolation,
} from "./host.js";
export {
  checkBatchOption,
  checkChoice,
  mostCopies,
  mostThreads,
  requireCount,
  requireOptions,
} from "./options.js";
export { requireTokens } from "./output-request.js";
export {
  type CalledGraph,
  type Deed,
  type MakerOf,
  OutputTrace,
  type TracedOperation,
} from "./output-trace.js";
export { bundleFix, findPackageFile, type PackageFile } from "./package-file.js";
export { PendingCalls } from "./pending-calls.js";
export { type CopyMemory, choosePlacement, type Placement } from "./placement.js";
export type { Problem } from "./problem.js";
export { RestartingHost, type RestartingHostFacts } from "./restarting-host.js";
export { RuntimeSession, type SessionFacts } from "./session.js";
export { batchSetting, canonicalJson, settingsOf } from "./settings.js";

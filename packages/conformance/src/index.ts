export type { CheckName } from "./checks/index.js";
export {
  type Fixture,
  type FixtureFilter,
  fixtureNames,
  openFixtureFolder,
  openFixtures,
} from "./fixtures.js";
export { type ReferenceBackendOptions, referenceBackend } from "./reference-backend.js";
export {
  type BackendCheckName,
  type ConformanceOptions,
  type Deviation,
  defineConformanceSuite,
  type TestRunner,
} from "./suite.js";

export type { CheckName } from "./checks/index.js";

import { nodePlatform } from "./fixtures.js";
import { type ConformanceOptions, defineSuite } from "./suite.js";

export type { Fixture } from "./fixture.js";
export {
  type FixtureFilter,
  fixtureNames,
  openFixtureFolder,
  openFixtures,
} from "./fixtures.js";
export { type ReferenceBackendOptions, referenceBackend } from "./reference-backend.js";
export type { BackendCheckName, ConformanceOptions, Deviation, TestRunner } from "./suite.js";

/**
 * Defines the tests that every backend passes. To be awaited at the top of a test file: it reads the fixtures
 * (though loads no model) before it defines anything.
 *
 * @throws {TypeError} when a deviation names a fixture, check or case that there is not, or a fixture has no goldens.
 */
export async function defineConformanceSuite(options: ConformanceOptions): Promise<void> {
  await defineSuite(options, nodePlatform);
}

import type { Backend } from "@crossrank/core";
import { assert } from "./assert.js";
import type { Terms } from "./checks/common.js";
import { type CheckName, checks } from "./checks/index.js";
import { refusal } from "./checks/session.js";
import { FixtureContext } from "./context.js";
import type { Fixture } from "./fixture.js";
import type { Platform } from "./platform.js";

/** The test runner's functions, as vitest and jest have them; of node:test, `afterAll` is `after`. */
export interface TestRunner {
  describe(name: string, define: () => void): unknown;
  test(name: string, run: () => Promise<void>): unknown;
  afterAll(run: () => Promise<void>): unknown;
  /** Not needed; accepted so that a runner's functions can be passed on as they are. */
  beforeAll?: unknown;
}

/** Checks of the backend itself, before any model. */
export type BackendCheckName = "identity" | "diagnosis" | "coverage";

/**
 * Something that a backend does otherwise, on purpose or because its runtime cannot do better. Its test turns
 * round: the check must fail as declared, so that a deviation which is no longer needed is noticed.
 */
export interface Deviation {
  readonly check: CheckName | BackendCheckName;
  /** Default: every fixture. Of no meaning for checks of the backend itself. */
  readonly fixture?: string | undefined;
  /**
   * Names of the golden cases concerned, for `ids`, `truncation` and `scores`: each of them must deviate, and all
   * others must hold. Default: the check as a whole deviates.
   */
  readonly cases?: readonly string[] | undefined;
  /** One sentence. Stands in the test's name. */
  readonly reason: string;
  /**
   * What happens instead: the failure's message, or the tolerance within which the numbers do hold. Where `loads`
   * deviates, the fixture's other checks cannot run and are left out.
   */
  readonly expect: RegExp | { readonly tolerance: number };
}

export interface ConformanceOptions {
  readonly runner: TestRunner;
  /** Called once, and once more for every fixture. */
  readonly backend: () => Backend;
  /** At least one of every family that the backend declares. Those of other families must be refused. */
  readonly fixtures: readonly Fixture[];
  /** Largest |Δ| of a logit (and of a score) from the golden one; at least what the golden itself is good to. */
  readonly tolerance: number;
  /** Largest |Δ| between runs of one sequence in other company or padding. Default: `tolerance`. */
  readonly batchTolerance?: number | undefined;
  /** Largest |Δ| between runs of the same batch. Default 0. */
  readonly repeatTolerance?: number | undefined;
  /** Precision to load. Default: what the backend takes by itself. */
  readonly dtype?: string | undefined;
  readonly deviations?: readonly Deviation[] | undefined;
}

/**
 * Defines the tests that every backend passes, on the platform that they run on.
 *
 * @throws {TypeError} when a deviation names a fixture, check or case that there is not, or a fixture has no goldens.
 */
export async function defineSuite(options: ConformanceOptions, platform: Platform): Promise<void> {
  const { runner, fixtures, deviations = [] } = options;
  const backend = options.backend();
  const contexts = await Promise.all(
    fixtures.map((fixture) =>
      FixtureContext.open(fixture, { backend: options.backend(), dtype: options.dtype, platform }),
    ),
  );
  requireMeaning(deviations, contexts);

  runner.describe(`backend ${backend.name}`, () => {
    const define = (check: BackendCheckName, title: string, run: () => Promise<void>): void => {
      const deviation = deviations.find((candidate) => candidate.check === check);
      if (deviation === undefined) runner.test(title, () => withAdvice({ check }, run));
      else runner.test(titleOf(title, deviation), () => requireDeviation(deviation, run, noTerms));
    };
    define("identity", "says who it is", async () => checkIdentity(backend));
    define("diagnosis", "diagnoses itself without a model", () => checkDiagnosis(backend));
    define("coverage", "is tried with every family that it declares", async () => {
      const tried = new Set(contexts.map(({ profile }) => profile.family));
      const untried = backend.families.filter((family) => !tried.has(family));
      assert.deepEqual(untried, [], `no fixture of the family ${untried.join(", ")}`);
    });
  });
  for (const context of contexts) {
    runner.describe(`${backend.name}: ${context.fixture.name}`, () => {
      runner.afterAll(() => context.close());
      defineFixture(options, context);
    });
  }
}

function defineFixture(options: ConformanceOptions, context: FixtureContext): void {
  const { runner } = options;
  const tolerance = Math.max(options.tolerance, context.goldens.tolerance ?? 0);
  const terms: Terms = {
    items: context.items,
    tolerance,
    batchTolerance: options.batchTolerance ?? tolerance,
    repeatTolerance: options.repeatTolerance ?? 0,
  };
  const deviations = (options.deviations ?? []).filter(
    ({ fixture }) => fixture === undefined || fixture === context.fixture.name,
  );
  const define = (name: CheckName, title: string, run: (terms: Terms) => Promise<void>): void => {
    const concerned = deviations.filter(({ check }) => check === name);
    for (const deviation of concerned) {
      const items = deviation.cases?.map(
        (one) => context.items.find((item) => item.name === one) as Terms["items"][number],
      );
      runner.test(titleOf(title, deviation), async () => {
        // Case by case: one that deviates must not hide another that no longer does.
        for (const part of items?.map((item) => ({ ...terms, items: [item] })) ?? [terms]) {
          await requireDeviation(deviation, run, part);
        }
      });
    }
    if (concerned.some(({ cases }) => cases === undefined)) return;
    const excepted = new Set(concerned.flatMap(({ cases }) => cases ?? []));
    runner.test(title, () =>
      withAdvice({ check: name, fixture: context.fixture.name }, () =>
        run({ ...terms, items: terms.items.filter((item) => !excepted.has(item.name)) }),
      ),
    );
  };

  if (!context.backend.families.includes(context.profile.family)) {
    define("refusal", `refuses a ${context.profile.family}`, (given) => refusal(context, given));
    return;
  }
  const cannotLoad = deviations.some(({ check }) => check === "loads");
  for (const [name, { title, check }] of Object.entries(checks)) {
    if (cannotLoad && name !== "loads") continue;
    define(name as CheckName, title, (given) => check(context, given));
  }
}

function titleOf(title: string, { reason, cases }: Deviation): string {
  return `${title} (deviates${cases === undefined ? "" : ` in ${cases.join(", ")}`}: ${reason})`;
}

/** A failure ends with what to do where it is no fault of the backend's. The error keeps its type and its stack. */
async function withAdvice(
  place: Pick<Deviation, "check" | "fixture">,
  run: () => Promise<void>,
): Promise<void> {
  try {
    await run();
  } catch (error) {
    if (!(error instanceof Error)) throw error;
    const at = Object.entries(place).map(([field, value]) => `${field}: ${JSON.stringify(value)}`);
    const declaration = `{ ${[...at, 'reason: "…"', "expect: /…/"].join(", ")} }`;
    const advice = `Mend the backend; where its runtime cannot do better, declare a deviation: ${declaration}`;
    throw Object.assign(error, { message: `${error.message}\n${advice}` });
  }
}

/** Passes when the check fails in the way declared, and only then. */
async function requireDeviation(
  { expect, reason }: Deviation,
  run: (terms: Terms) => Promise<void>,
  terms: Terms,
): Promise<void> {
  const failure = await run(terms).then(
    () => undefined,
    (error: unknown) => (error instanceof Error ? error : new Error(String(error))),
  );
  if (failure === undefined) {
    assert.fail(`no longer deviates; remove the deviation "${reason}"`);
  }
  if (expect instanceof RegExp) {
    assert.match(failure.message, expect, "deviates in another way than declared");
    return;
  }
  const { tolerance } = expect;
  await run({ ...terms, tolerance, batchTolerance: tolerance, repeatTolerance: tolerance });
}

function requireMeaning(deviations: readonly Deviation[], contexts: readonly FixtureContext[]): void {
  const names = [...Object.keys(checks), "refusal", "identity", "diagnosis", "coverage"];
  for (const { check, fixture, cases = [], reason } of deviations) {
    const wrong = (problem: string): TypeError => new TypeError(`deviation "${reason}": ${problem}`);
    if (!names.includes(check)) throw wrong(`there is no check "${check}", only ${names.join(", ")}`);
    const concerned = contexts.filter((context) => fixture === undefined || context.fixture.name === fixture);
    if (concerned.length === 0) throw wrong(`there is no fixture "${fixture}"`);
    const entry = Object.entries(checks).find(([name]) => name === check)?.[1];
    if (cases.length > 0 && !entry?.byCase) throw wrong(`"${check}" does not go case by case`);
    for (const context of concerned) {
      const missing = cases.find((name) => !context.items.some((item) => item.name === name));
      if (missing !== undefined) throw wrong(`${context.fixture.name} has no case "${missing}"`);
    }
  }
}

/** Checks of the backend itself compare no numbers. */
const noTerms: Terms = { items: [], tolerance: 0, batchTolerance: 0, repeatTolerance: 0 };

const families: readonly string[] = [
  ...["cross-encoder", "bi-encoder", "causal-lm", "listwise", "late-interaction"],
];

function checkIdentity(backend: Backend): void {
  assert.equal(backend.specificationVersion, "v1", "specificationVersion");
  assert.match(backend.name, /\S/, "a name");
  assert.ok(backend.families.length > 0, "at least one family");
  assert.equal(new Set(backend.families).size, backend.families.length, "each family once");
  for (const family of backend.families) assert.ok(families.includes(family), `family ${family} exists`);
}

async function checkDiagnosis(backend: Backend): Promise<void> {
  const { available, runtime, detail } = await backend.diagnose();
  assert.equal(available, true, `the runtime works here: ${detail}`);
  assert.match(detail, /^[^\n]+$/, "one line of detail");
  assert.match(runtime?.name ?? "", /\S/, "the runtime's name");
  assert.match(runtime?.version ?? "", /\S/, "the runtime's version");
}

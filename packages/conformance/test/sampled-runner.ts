import { afterAll, describe, test } from "vitest";
import { isLong, placeOf, sampleOf } from "../../../test/sample.js";
import { checks } from "../src/checks/index.js";
import type { Fixture, TestRunner } from "../src/index.js";

export { isLong };

/** What a model's file decides, and not the code around it: tried with every fixture. */
const ofTheModel: readonly string[] = (["loads", "scores"] as const).map((name) => checks[name].title);

const titles = Object.values(checks).map(({ title }) => title);

/**
 * Vitest's functions for a suite whose checks another one runs in full. Of the checks that try the code around a model,
 * the n-th fixture runs those whose number is n more than a multiple of `every`: so each fixture has some, and each
 * check has fixtures. With CROSSRANK_LONG every fixture runs all.
 *
 * @param options.name stands before each suite's own.
 * @param options.every how many checks one stands for, from 1.
 * @param options.whole fixtures that run all checks.
 * @param options.diagnoses whether the backend itself is asked about, which another suite of it may have done.
 */
export function sampledRunner({
  name,
  every,
  whole = [],
  diagnoses = true,
}: {
  readonly name: string;
  readonly every: number;
  readonly whole?: readonly string[];
  readonly diagnoses?: boolean;
}): TestRunner {
  // Suites of the same fixtures run different checks with them.
  let fixtures = placeOf(name);
  let isWanted: (title: string) => boolean = () => true;
  return {
    describe(suite: string, define: () => void) {
      // The backend itself comes first; a fixture's suite ends in its name.
      const fixture = /: (.+)$/.exec(suite)?.[1];
      if (fixture === undefined && !diagnoses && !isLong) return;
      const runsAll = isLong || fixture === undefined || whole.includes(fixture);
      const remainder = runsAll ? 0 : fixtures++ % every;
      describe(name === "" ? suite : `${name}, ${suite}`, () => {
        isWanted = (title) => {
          const number = titles.findIndex((one) => title.startsWith(one));
          // The refusal of another family is no check of those, and the only one of its fixture.
          return (
            runsAll ||
            number === -1 ||
            ofTheModel.includes(titles[number] as string) ||
            number % every === remainder
          );
        };
        define();
      });
    },
    test(title: string, run: () => Promise<void>) {
      if (isWanted(title)) test(title, run);
    },
    afterAll,
  };
}

/**
 * A fixture with a sixth of its golden cases, and all of its lists. With CROSSRANK_LONG the fixture as it is.
 *
 * @param whole names of fixtures that keep all cases.
 */
export function sampledCases(fixture: Fixture, whole: readonly string[] = []): Fixture {
  if (isLong || whole.includes(fixture.name)) return fixture;
  const { files, name } = fixture;
  return {
    ...fixture,
    files: {
      id: files.id,
      revision: files.revision,
      list: (options) => files.list(options),
      async readText(path, options) {
        const text = await files.readText(path, options);
        if (path !== "golden.json") return text;
        const goldens = JSON.parse(text) as { readonly cases: readonly { readonly name: string }[] };
        // Checks make texts of their own of the first case's words, and of the first query of one word.
        const always = (one: { readonly name: string }): boolean => /^(short-match|one-word)/.test(one.name);
        return JSON.stringify({ ...goldens, cases: sampleOf(goldens.cases, { name, every: 6, always }) });
      },
      readBytes: (path, range, options) => files.readBytes(path, range, options),
      localPath: (path, options) => files.localPath(path, options),
    },
  };
}

import { afterAll, describe, test } from "vitest";
import { checks } from "../src/checks/index.js";
import type { TestRunner } from "../src/index.js";

/** Whether every check runs with every fixture, and not a sample of the pairs. */
export const isLong: boolean = process.env["CROSSRANK_LONG"] !== undefined;

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
 */
export function sampledRunner({
  name,
  every,
  whole = [],
}: {
  readonly name: string;
  readonly every: number;
  readonly whole?: readonly string[];
}): TestRunner {
  // The name is the seed, so that suites of the same fixtures run different checks with them.
  let fixtures = [...name].reduce((sum, letter) => sum + (letter.codePointAt(0) as number), 0);
  let isWanted: (title: string) => boolean = () => true;
  return {
    describe(suite: string, define: () => void) {
      // The backend itself comes first; a fixture's suite ends in its name.
      const fixture = /: (.+)$/.exec(suite)?.[1];
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

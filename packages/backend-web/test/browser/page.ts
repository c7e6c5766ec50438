// What the tests' page runs: the backend, and the suite with a runner that vitest asks for one test after the other.
import { fetchModel, type WebOptions, web } from "@crossrank/backend-web";
import { defineConformanceSuite, type TestRunner } from "@crossrank/conformance/browser";
import { createReranker, type ModelFile } from "@crossrank/core";
import { readGoldens, verify } from "@crossrank/core/verify";

/** A suite of the page's, as vitest defines it again. */
export interface Suite {
  readonly name: string;
  readonly titles: readonly string[];
}

export interface SuiteRequest {
  readonly fixtures: readonly { readonly name: string; readonly files: readonly ModelFile[] }[];
  readonly options: Omit<WebOptions, "worker">;
  readonly tolerance: number;
  /** Why not every family has a fixture. */
  readonly partly?: string | undefined;
}

/** Workers that were started and not ended. */
const alive = new Set<Worker>();

class CountedWorker extends Worker {
  constructor(url: string | URL, options?: WorkerOptions) {
    super(url, options);
    alive.add(this);
  }
  override terminate(): void {
    alive.delete(this);
    super.terminate();
  }
}
globalThis.Worker = CountedWorker;

const runs: (() => Promise<void>)[][] = [];
const ends: (() => Promise<void>)[][] = [];

/** Modules for functions that a test sends to the page, and the suite. */
export interface CrossrankPage {
  readonly createReranker: typeof createReranker;
  readonly fetchModel: typeof fetchModel;
  readonly readGoldens: typeof readGoldens;
  readonly verify: typeof verify;
  readonly web: typeof web;
  readonly alive: ReadonlySet<Worker>;
  /** Defines the suite. @returns its parts, in order. */
  define(request: SuiteRequest): Promise<Suite[]>;
  run(suite: number, test: number): Promise<void>;
  end(suite: number): Promise<void>;
}

const page: CrossrankPage = {
  createReranker,
  fetchModel,
  readGoldens,
  verify,
  web,
  alive,

  async define({ fixtures, options, tolerance, partly }: SuiteRequest): Promise<Suite[]> {
    const suites: { name: string; titles: string[] }[] = [];
    let now = 0;
    const runner: TestRunner = {
      describe(name, define) {
        now = runs.length;
        runs.push([]);
        ends.push([]);
        suites.push({ name, titles: [] });
        define();
      },
      test(title, run) {
        suites.at(-1)?.titles.push(title);
        runs[now]?.push(run);
      },
      afterAll: (run) => ends[now]?.push(run),
    };
    const opened = fixtures.map(async ({ name, files }) => ({
      name,
      files: await fetchModel(`/fixtures/${name}/`, { files, id: name, keep: false }),
    }));
    await defineConformanceSuite({
      tolerance,
      deviations:
        partly === undefined
          ? []
          : [{ check: "coverage", reason: partly, expect: /no fixture of the family/ }],
      runner,
      backend: () => web(options),
      fixtures: await Promise.all(opened),
      activeResources: () => new Map([["workers", alive.size]]),
    });
    return suites;
  },

  async run(suite: number, test: number): Promise<void> {
    await runs[suite]?.[test]?.();
  },

  async end(suite: number): Promise<void> {
    for (const end of ends[suite] ?? []) await end();
  },
};

Object.assign(globalThis, { crossrank: page });

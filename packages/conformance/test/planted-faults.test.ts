import { MessageChannel, type MessagePort } from "node:worker_threads";
import {
  type Backend,
  BackendRunError,
  type BackendSession,
  type Batch,
  type RawOutput,
} from "@crossrank/core";
import { openSafetensors } from "@crossrank/core/files";
import type { GoldenScore, Goldens } from "@crossrank/core/verify";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { isLong, sampleOf } from "../../../test/sample.js";
import { checks } from "../src/checks/index.js";
import { copyWith, type ModelCopy } from "../src/fixtures.js";
import {
  type ConformanceOptions,
  type Deviation,
  defineConformanceSuite,
  type Fixture,
  openFixtures,
  referenceBackend,
} from "../src/index.js";
import { batchOf, type Row, rowsOf } from "../src/recorder.js";

/**
 * Runs the suite by itself: name of every test, with the failure's message or undefined.
 *
 * @param isWanted whether to run the check of that name.
 */
async function outcomes(
  options: Partial<ConformanceOptions> & Pick<ConformanceOptions, "backend">,
  isWanted: (name: string) => boolean = () => true,
): Promise<Map<string, string | undefined>> {
  const tests: [name: string, run: () => Promise<void>][] = [];
  const endings: (() => Promise<void>)[] = [];
  await defineConformanceSuite({
    runner: {
      describe: (_, define) => define(),
      test: (name, run) => tests.push([name, run]),
      afterAll: (run) => endings.push(run),
    },
    fixtures: [small],
    tolerance: 1e-4,
    ...options,
  });
  const names = new Map(Object.entries(checks).map(([name, { title }]) => [title, name]));
  const found = new Map<string, string | undefined>();
  for (const [title, run] of tests) {
    if (!isWanted(names.get(title) ?? title)) continue;
    const failure = await run().then(
      () => undefined,
      (error: unknown) => (error as Error).message,
    );
    found.set(names.get(title) ?? title, failure);
  }
  for (const end of endings) await end();
  return found;
}

async function failedChecks(
  backend: () => Backend,
  options: Partial<ConformanceOptions> = {},
  isWanted?: (name: string) => boolean,
): Promise<string[]> {
  const found = await outcomes({ backend, ...options }, isWanted);
  return [...found].flatMap(([name, failure]) => (failure === undefined ? [] : [name]));
}

type Run = (batch: Batch) => Promise<RawOutput>;

/** The reference with something wrong in it. */
interface Fault {
  readonly families?: Backend["families"];
  /** Called for every batch; `run` is the sound one. */
  readonly run?: (run: Run, batch: Batch, session: BackendSession) => Promise<RawOutput>;
  readonly session?: (session: BackendSession) => BackendSession;
  readonly load?: (load: Backend["load"]) => Backend["load"];
}

function faulty(fault: Fault): () => Backend {
  return () => {
    const inner = referenceBackend({ concurrentRuns: 3 });
    const sound: Backend["load"] = (request) => inner.load(request);
    const load = fault.load?.(sound) ?? sound;
    return {
      ...inner,
      // The small fixture is a cross-encoder, and every family declared must be tried.
      families: fault.families ?? ["cross-encoder"],
      async load(request) {
        const session = await load(request);
        const { run } = fault;
        const broken =
          run === undefined
            ? session
            : override(session, {
                // A batch without ids cannot be run, whatever the fault; the check of failed runs sends one.
                run: (batch, options) =>
                  batch.inputIds.length === 0
                    ? session.run(batch, options)
                    : run((changed) => session.run(changed, options), batch, session),
              });
        return fault.session?.(broken) ?? broken;
      },
    };
  };
}

function override(session: BackendSession, changes: Partial<BackendSession>): BackendSession {
  return {
    info: session.info,
    artifact: session.artifact,
    capabilities: session.capabilities,
    settings: session.settings,
    run: (batch, options) => session.run(batch, options),
    dispose: () => session.dispose(),
    [Symbol.asyncDispose]: () => session[Symbol.asyncDispose](),
    ...changes,
  };
}

/** The same batch with every sequence changed. */
function rewrite(batch: Batch, change: (row: Row) => Row): Batch {
  const rows = rowsOf(batch).map(change);
  return batchOf(rows, Math.max(...rows.map((row) => row.ids.length)), 0);
}

function mapOutput(output: RawOutput, change: (value: number, index: number) => number): RawOutput {
  return { ...output, data: output.data.map(change) };
}

const sigmoid = (x: number): number => 1 / (1 + Math.exp(-x));

/** Of the fixtures' BERT tokenizer. */
let separator = Number.NaN;
let small: Fixture;
let copies: ModelCopy[] = [];

const [whole] = openFixtures(["bert-logit"]) as [Fixture];

/** A copy of the fixture, one file of it rewritten as JSON. */
async function rewritten(path: string, change: (json: never) => unknown, from = small): Promise<Fixture> {
  const copy = await copyWith(from.files, path, (bytes) =>
    Buffer.from(JSON.stringify(change(JSON.parse(bytes.toString()) as never))),
  );
  copies.push(copy);
  return { name: from.name, files: copy.files };
}

beforeAll(async () => {
  // A few goldens of every sort are enough here, where the suite runs once a fault.
  const kept = /^(short-match|medium|long-query-long|query-beyond|empty|exactly|one-over|capitals)/;
  small = await rewritten(
    "golden.json",
    (goldens: Goldens) => ({ ...goldens, cases: goldens.cases.filter(({ name }) => kept.test(name)) }),
    whole,
  );
  const tokenizer = JSON.parse(await whole.files.readText("tokenizer.json"));
  separator = tokenizer.added_tokens.find((token: { content: string }) => token.content === "[SEP]").id;
});

afterAll(async () => {
  await Promise.all(copies.map((copy) => copy.close()));
  copies = [];
});

test("the reference without a fault passes everything", async () => {
  expect(await failedChecks(faulty({}))).toEqual([]);
});

const everyCheck: readonly string[] = Object.keys(checks);

interface Planted extends Fault {
  /** The checks that fail, all of them. */
  readonly fails: readonly string[];
}

const leaked: MessagePort[] = [];

/** Whether a batch is longer than any of the probe's, which would refuse a model that is wrong there. */
const isBeyondProbe = ({ columns }: Batch): boolean => columns > 50;

/** Of each shape the first batch's inputs stay. */
function staleInputs(): NonNullable<Fault["run"]> {
  const buffers = new WeakMap<BackendSession, Map<string, Batch>>();
  return (run, batch, session) => {
    const own = buffers.get(session) ?? new Map<string, Batch>();
    buffers.set(session, own);
    const key = `${batch.rows} ${batch.columns}`;
    const first = own.get(key) ?? batch;
    own.set(key, first);
    return run(first);
  };
}

function withoutMask(batch: Batch): Batch {
  return {
    ...batch,
    attentionMask: batch.attentionMask.map(() => 1),
    lengths: batch.lengths.map(() => batch.columns),
  };
}

const planted: Readonly<Record<string, () => Planted>> = {
  "swapped segments": () => ({
    fails: ["scores"],
    run: (run, batch) =>
      run(rewrite(batch, ({ ids, segmentIds }) => ({ ids, segmentIds: segmentIds.map((id) => 1 - id) }))),
  }),
  "a dropped separator": () => ({
    fails: ["scores"],
    run: (run, batch) =>
      run(
        rewrite(batch, ({ ids, segmentIds }) => {
          const at = ids.indexOf(separator);
          return { ids: ids.toSpliced(at, 1), segmentIds: segmentIds.toSpliced(at, 1) };
        }),
      ),
  }),
  "a double sigmoid": () => ({
    fails: ["scores"],
    run: async (run, batch) => mapOutput(await run(batch), sigmoid),
  }),
  "a truncated query": () => ({
    fails: ["scores"],
    run: (run, batch) =>
      run(
        rewrite(batch, ({ ids, segmentIds }) => {
          const extra = Math.max(0, ids.indexOf(separator) - 4);
          return { ids: ids.toSpliced(4, extra), segmentIds: segmentIds.toSpliced(4, extra) };
        }),
      ),
  }),
  "a missing pooler": () => ({
    fails: ["scores"],
    // The first token's state straight into the classifier, as an export of the wrong node gives.
    load: (load) => async (request) => {
      const { files, output } = request;
      if (!output.kinds.includes("class-logits")) return load(request);
      const session = await load({ ...request, output: { kinds: ["hidden-states"] } });
      const tensors = await openSafetensors(files, "model.safetensors");
      const { data: weight } = await tensors.read("classifier.weight");
      const bias = (await tensors.read("classifier.bias")).data[0] as number;
      return override(session, {
        capabilities: { ...session.capabilities, output: "class-logits" },
        async run(batch, options) {
          const { data } = await session.run(batch, options);
          const rowLength = data.length / batch.rows;
          const logit = (row: number): number =>
            weight.reduce((sum, value, i) => sum + value * (data[row * rowLength + i] as number), bias);
          return {
            kind: "class-logits",
            data: Float32Array.from({ length: batch.rows }, (_, row) => logit(row)),
            shape: [batch.rows, 1],
          };
        },
      });
    },
  }),
  "stale input buffers": () => ({
    // The probe of core refuses the model before any check.
    fails: everyCheck,
    run: staleInputs(),
  }),
  "stale input buffers that the probe cannot see": () => {
    const stale = staleInputs();
    return {
      fails: ["scores", "batching", "independentRows", "padding", "sessions"],
      run: (run, batch, session) => (isBeyondProbe(batch) ? stale(run, batch, session) : run(batch)),
    };
  },
  "an attention mask that is ignored": () => ({
    // The probe of core refuses the model before any check.
    fails: everyCheck,
    run: (run, batch) => run(withoutMask(batch)),
  }),
  "an attention mask that is ignored where the probe cannot see it": () => ({
    fails: ["batching", "independentRows", "padding"],
    run: (run, batch) => run(isBeyondProbe(batch) ? withoutMask(batch) : batch),
  }),
  "the last token left out": () => ({
    fails: ["scores"],
    run: (run, batch) =>
      run(
        rewrite(batch, ({ ids, segmentIds }) => ({
          ids: ids.slice(0, -1),
          segmentIds: segmentIds.slice(0, -1),
        })),
      ),
  }),
  "the right answers for the wrong rows": () => ({
    fails: ["batching", "independentRows"],
    run: async (run, batch) => {
      const output = await run(batch);
      return isBeyondProbe(batch) ? { ...output, data: output.data.toReversed() } : output;
    },
  }),
  "a score that depends on its neighbours": () => ({
    fails: ["batching", "independentRows", "dispose"],
    run: async (run, batch) => {
      const output = await run(batch);
      return mapOutput(output, (value) => value + 1e-2 * (batch.rows - 1));
    },
  }),
  "numbers that are not deterministic": () => {
    let calls = 0;
    return {
      fails: ["repetition"],
      run: async (run, batch) => {
        const noise = 1e-6 * (calls++ % 7);
        return mapOutput(await run(batch), (value) => value + noise);
      },
    };
  },
  "numbers at half precision": () => ({
    fails: ["scores"],
    run: async (run, batch) => mapOutput(await run(batch), (value) => Math.round(value * 256) / 256),
  }),
  "NaN for long sequences": () => ({
    fails: ["truncation", "scores", "batching", "limits", "concurrency"],
    run: async (run, batch) => {
      const { lengths } = batch;
      return mapOutput(await run(batch), (value, row) =>
        (lengths[row] as number) >= 64 ? Number.NaN : value,
      );
    },
  }),
  "sequences cut in silence": () => ({
    fails: ["scores"],
    run: (run, batch) =>
      run(
        rewrite(batch, ({ ids, segmentIds }) => ({
          ids: ids.slice(0, 40),
          segmentIds: segmentIds.slice(0, 40),
        })),
      ),
  }),
  "a head that is constant": () => ({
    // The probe of core refuses the model before any check.
    fails: everyCheck,
    run: async (run, batch) => mapOutput(await run(batch), () => 0.5),
  }),
  "one buffer for runs at the same time": () => {
    let shared: Batch | undefined;
    return {
      fails: ["batching", "sessions", "concurrency"],
      run: async (run, batch) => {
        shared = batch;
        await Promise.resolve();
        return run(shared);
      },
    };
  },
  "a resource that outlives dispose": () => ({
    fails: ["leftovers"],
    session: (session) => {
      const { port1 } = new MessageChannel();
      port1.ref();
      leaked.push(port1);
      return session;
    },
  }),
  "a session that runs after dispose": () => ({
    fails: ["dispose"],
    session: (session) =>
      override(session, { dispose: async () => {}, [Symbol.asyncDispose]: async () => {} }),
  }),
  "a dispose that does not wait": () => ({
    fails: ["dispose"],
    session: (session) =>
      override(session, {
        async dispose() {
          void session.dispose();
        },
      }),
  }),
  "a session without settings": () => ({
    // Core refuses a session that declares what cannot be, before any check.
    fails: everyCheck,
    session: (session) => override(session, { settings: undefined as unknown as BackendSession["settings"] }),
  }),
  "settings that are no text": () => ({
    fails: everyCheck,
    session: (session) =>
      override(session, { settings: { rows: 8 } as unknown as BackendSession["settings"] }),
  }),
  "settings that are others after every load": () => {
    let loads = 0;
    return {
      fails: ["settings"],
      session: (session) => override(session, { settings: { load: String(loads++) } }),
    };
  },
  "a failed run without a type": () => ({
    fails: ["failures"],
    session: (session) =>
      override(session, {
        run: (batch, options) =>
          session.run(batch, options).catch((error: Error) => {
            throw BackendRunError.isInstance(error) ? new RangeError(error.message) : error;
          }),
      }),
  }),
  "a batch without ids that gives numbers": () => ({
    fails: ["failures"],
    session: (session) =>
      override(session, {
        run: async (batch, options) =>
          batch.inputIds.length > 0
            ? session.run(batch, options)
            : { kind: "class-logits", data: new Float32Array(batch.rows), shape: [batch.rows, 1] },
      }),
  }),
  "an abort that comes back as a failure": () => ({
    fails: ["abort"],
    session: (session) =>
      override(session, {
        run: (batch, options) =>
          session.run(batch, options).catch((cause: unknown) => {
            if (options?.signal?.aborted !== true) throw cause;
            throw new BackendRunError({ backend: "reference", problem: "was stopped" }, { cause });
          }),
      }),
  }),
  "an abort that is not heard, although declared": () => ({
    fails: ["abort"],
    run: (run, batch) => run(batch),
    session: (session) =>
      override(session, {
        async run(batch, options) {
          options?.signal?.throwIfAborted();
          return session.run(batch);
        },
      }),
  }),
  "another file's sha256": () => ({
    fails: ["artifact"],
    session: (session) =>
      override(session, {
        artifact: {
          ...session.artifact,
          files: session.artifact.files.map(({ path }) => ({ path, sha256: "0".repeat(64) })),
        },
      }),
  }),
  "capabilities that make no sense": () => ({
    fails: everyCheck,
    session: (session) =>
      override(session, {
        capabilities: {
          ...session.capabilities,
          batchPreference: { ...session.capabilities.batchPreference, padding: 2 },
        },
      }),
  }),
  "segment ids that are said to be ignored": () => ({
    fails: ["scores"],
    run: (run, batch) => run({ ...batch, segmentIds: batch.segmentIds.map(() => 0) }),
    session: (session) => override(session, { capabilities: { ...session.capabilities, segmentIds: false } }),
  }),
  "another precision in silence": () => ({
    fails: ["dtype"],
    load:
      (load) =>
      ({ dtype: _, ...request }) =>
        load(request),
  }),
  "another output than asked for": () => ({
    fails: ["outputs"],
    load: (load) => (request) =>
      load(request).catch(() => load({ ...request, output: { kinds: ["class-logits"] } })),
  }),
  "errors without a type": () => ({
    fails: ["outputs", "dtype", "damaged"],
    load: (load) => (request) =>
      load(request).catch((error: Error) => {
        throw request.signal?.aborted ? error : new Error(error.message);
      }),
  }),
  "a family that nothing was tried with": () => ({
    fails: ["is tried with every family that it declares"],
    families: ["cross-encoder", "listwise"],
  }),
  "a model of a declared family that does not load": () => ({
    fails: everyCheck,
    load: () => () => Promise.reject(new Error("out of memory")),
  }),
};

afterAll(() => {
  for (const port of leaked) port.close();
});

/**
 * Checks that are named, what is no check of a model, and every sixth of the others, which are others for each number;
 * all with CROSSRANK_LONG.
 */
function someChecks(number: number, named: readonly string[]): (check: string) => boolean {
  return (check) => {
    const place = everyCheck.indexOf(check);
    return isLong || place === -1 || named.includes(check) || place % 6 === number % 6;
  };
}

describe("the suite fails on", () => {
  const faults = Object.entries(planted).map(([name, make], number) => ({ name, make, number }));
  test.each(sampleOf(faults, { name: "faults", every: 3 }))("$name", async ({ make, number }) => {
    const { fails, ...fault } = make();
    expect(await failedChecks(faulty(fault), {}, someChecks(number, fails))).toEqual(fails);
  });
});

describe("rows that affect each other's scores, and declare it,", () => {
  const company = ["scores", "batching", "independentRows", "padding"];
  const affecting = (rows: number): (() => Backend) =>
    faulty({
      run: async (run, batch) => {
        const output = await run(batch);
        return mapOutput(output, (value) => value + 0.2 * (batch.rows - 1));
      },
      session: (session) =>
        override(session, {
          capabilities: {
            ...session.capabilities,
            rowsAffectScores: true,
            batchPreference: { ...session.capabilities.batchPreference, rows },
          },
        }),
    });

  test("are not held to one by one", async () => {
    expect(await failedChecks(affecting(4), {}, someChecks(0, company))).toEqual([]);
  });

  test("score alike in any company where the preference is one row a batch", async () => {
    expect(await failedChecks(affecting(1), {}, someChecks(1, company))).toEqual([]);
  });
});

test("a failure ends with the deviation that could be declared", async () => {
  const backend = faulty({ run: async (run, batch) => mapOutput(await run(batch), sigmoid) });
  const found = await outcomes({ backend }, (check) => check === "scores");
  expect(found.get("scores")).toMatch(
    /instead of [\s\S]*\nMend the backend; where its runtime cannot do better, declare a deviation: \{ check: "scores", fixture: "bert-logit", reason: "…", expect: \/…\/ \}$/,
  );
});

test("the suite fails on hidden states that are one token off", async () => {
  const shift = async (run: Run, batch: Batch): Promise<RawOutput> => {
    const output = await run(batch);
    const [, columns = 0, width = 0] = output.shape;
    return mapOutput(output, (_, index) => {
      const isLast = Math.floor(index / width) % columns === columns - 1;
      return isLast ? 0 : (output.data[index + width] as number);
    });
  };
  const fixtures = openFixtures(["bert-cosine-cls"]);
  const failed = await failedChecks(
    faulty({ families: ["bi-encoder"], run: shift }),
    { fixtures },
    someChecks(2, ["scores"]),
  );
  expect(failed).toEqual(["scores"]);
});

describe("what core sends is checked against the goldens, too:", () => {
  const ofGoldens = ["ids", "truncation", "scores"];
  test("a separator dropped from the template", async () => {
    const fixture = await rewritten("tokenizer.json", (tokenizer: TokenizerJson) => {
      const { pair } = tokenizer.post_processor;
      const last = pair.length - 1;
      return {
        ...tokenizer,
        post_processor: {
          ...tokenizer.post_processor,
          pair: pair.filter((piece, index) => piece.SpecialToken?.id !== "[SEP]" || index === last),
        },
      };
    });
    const failed = await failedChecks(faulty({}), { fixtures: [fixture] }, someChecks(0, ofGoldens));
    expect(failed).toEqual(ofGoldens);
  });

  test("a query that is not lower-cased", async () => {
    // Its class sets what tokenizer_config.json says over tokenizer.json.
    const fixture = await rewritten("tokenizer_config.json", (settings: object) => ({
      ...settings,
      do_lower_case: false,
    }));
    const failed = await failedChecks(faulty({}), { fixtures: [fixture] }, someChecks(1, ofGoldens));
    expect(failed).toEqual(expect.arrayContaining(["ids", "scores"]));
  });

  test("a golden that says something else", async () => {
    const fixture = await rewritten("golden.json", (goldens: Goldens) => ({
      ...goldens,
      cases: goldens.cases.map((one) => ({
        ...one,
        expected: {
          ...one.expected,
          "longest-first": { ...one.expected["longest-first"], truncatedTokens: 999 },
        },
      })),
    }));
    const failed = await failedChecks(faulty({}), { fixtures: [fixture] }, someChecks(2, ofGoldens));
    expect(failed).toEqual(["truncation"]);
  });
});

interface TemplatePieceJson {
  readonly SpecialToken?: { readonly id: string };
}

interface TokenizerJson {
  readonly normalizer: object;
  readonly post_processor: { readonly pair: readonly TemplatePieceJson[] };
}

describe("a deviation", () => {
  const doubled = faulty({ run: async (run, batch) => mapOutput(await run(batch), sigmoid) });
  const shifted = faulty({ run: async (run, batch) => mapOutput(await run(batch), (value) => value + 0.01) });
  const deviation: Deviation = {
    check: "scores",
    reason: "the export ends in a sigmoid",
    expect: /logit 0\.\d+ instead of/,
  };

  test("that happens as declared passes, and is named in the test", async () => {
    const found = await outcomes({ backend: doubled, deviations: [deviation] }, someChecks(0, []));
    expect([...found.values()].filter((failure) => failure !== undefined)).toEqual([]);
    const title = `${checks.scores.title} (deviates: ${deviation.reason})`;
    expect(found.has(title)).toBe(true);
    expect(found.has("scores")).toBe(false);
  });

  test("that does not happen any more fails, and says so", async () => {
    const found = await outcomes({ backend: faulty({}), deviations: [deviation] }, someChecks(1, []));
    const failures = [...found.values()].filter((failure) => failure !== undefined);
    expect(failures).toEqual([`no longer deviates; remove the deviation "${deviation.reason}"`]);
  });

  test("that happens otherwise fails", async () => {
    const deviations = [{ ...deviation, expect: /Infinity/ }];
    const found = await outcomes({ backend: shifted, deviations }, someChecks(2, []));
    const failures = [...found.values()].filter((failure) => failure !== undefined);
    expect(failures).toEqual([expect.stringContaining("deviates in another way than declared")]);
  });

  test("of tolerance holds within the wider one, and only then", async () => {
    const wider = (tolerance: number): Deviation => ({ ...deviation, expect: { tolerance } });
    const failed = (backend: () => Backend, tolerance: number): Promise<string[]> =>
      failedChecks(backend, { deviations: [wider(tolerance)] }, someChecks(3, []));
    expect(await failed(shifted, 0.011)).toEqual([]);
    expect(await failed(shifted, 0.009)).toHaveLength(1);
    expect(await failed(faulty({}), 0.011)).toHaveLength(1);
  });

  test("of single cases leaves the others to be checked", async () => {
    const long = faulty({
      run: async (run, batch) => {
        const { lengths } = batch;
        return mapOutput(await run(batch), (value, row) => ((lengths[row] as number) >= 64 ? 0 : value));
      },
    });
    const goldens: Goldens = JSON.parse(await small.files.readText("golden.json"));
    const isLong = (score: GoldenScore | undefined): boolean => (score?.ids?.length ?? 0) >= 64;
    const cases = goldens.cases
      .filter(({ expected }) => Object.values(expected).some(isLong))
      .map(({ name }) => name);
    expect(cases.length).toBeGreaterThan(2);
    const all: Deviation = { check: "scores", cases, reason: "long ones", expect: /logit 0 instead of/ };
    const some: Deviation = { ...all, cases: cases.slice(1) };
    const failed = (...deviations: Deviation[]): Promise<string[]> =>
      failedChecks(long, { deviations }, someChecks(4, ["scores"]));
    expect((await failed(all)).filter((name) => name === "scores")).toEqual([]);
    expect(await failed(some)).toContain("scores");
    const tooMany: Deviation = { ...all, cases: [...cases, "capitals"] };
    const found = await outcomes({ backend: long, deviations: [tooMany] }, someChecks(4, ["scores"]));
    expect([...found.values()]).toContain('no longer deviates; remove the deviation "long ones"');
  });

  test("in loading leaves out what cannot run then", async () => {
    const found = await outcomes({
      backend: faulty({ load: () => () => Promise.reject(new Error("no such operator")) }),
      deviations: [{ check: "loads", reason: "an operator is missing", expect: /no such operator/ }],
    });
    expect([...found.values()].filter((failure) => failure !== undefined)).toEqual([]);
    expect(found.size).toBe(4);
  });

  test.each<[string, Deviation]>([
    ["fixture", { ...deviation, fixture: "no-such-fixture" }],
    ["check", { ...deviation, check: "no-such-check" as "scores" }],
    ["case", { ...deviation, cases: ["no-such-case"] }],
    ["check that goes case by case", { ...deviation, check: "padding", cases: ["capitals"] }],
  ])("of no %s that there is cannot be declared", async (_, wrong) => {
    await expect(outcomes({ backend: faulty({}), deviations: [wrong] })).rejects.toThrow(TypeError);
  });
});

test("a model of a family that is not declared must be refused", async () => {
  const refusing = await outcomes({ backend: faulty({ families: ["bi-encoder"] }) });
  expect(refusing.get("refuses a cross-encoder")).toBeUndefined();
  expect(refusing.has("refuses a cross-encoder")).toBe(true);
  expect(refusing.has("scores")).toBe(false);
});

import {
  BackendRunError,
  type BackendSession,
  createReranker,
  DisposedError,
  IncompatibleModelError,
  InvalidInputError,
  ModelFileNotFoundError,
  ModelLoadError,
  ModelProfileError,
  type OutputKind,
  type Pair,
} from "@crossrank/core";
import { assert } from "../assert.js";
import { columnsFor, type Item, isRefused, mostRows, optionsOf } from "../context.js";
import { batchOf, type Row, record } from "../recorder.js";
import {
  alone,
  type Check,
  rejection,
  report,
  requireClose,
  requireFinite,
  textOf,
  withSession,
} from "./common.js";

const isWhole = (value: unknown, least: number): boolean =>
  Number.isInteger(value) && (value as number) >= least;

export const loads: Check = async (context) => {
  const { reranker, recorder } = await context.opened();
  const { info, capabilities } = reranker.session;
  assert.equal(info.name, context.backend.name, "session.info.name is the backend's name");
  assert.ok(info.runtime.name !== "", "session.info.runtime has a name");
  assert.ok(info.runtime.version !== "", "session.info.runtime has a version");
  const kinds = recorder.requests[0]?.output.kinds ?? [];
  assert.ok(kinds.includes(capabilities.output), `output is one of those asked for: ${kinds.join(", ")}`);
};

export const capabilities: Check = async (context) => {
  const { reranker } = await context.opened();
  const declared = reranker.session.capabilities;
  const { maxSequenceLength, sequenceLengths, batchPreference } = declared;
  assert.ok(maxSequenceLength === undefined || isWhole(maxSequenceLength, 1), "maxSequenceLength");
  if (sequenceLengths !== "any") {
    assert.ok(sequenceLengths.length > 0, "sequenceLengths is not empty");
    for (const [index, length] of sequenceLengths.entries()) {
      assert.ok(isWhole(length, 1) && length > (sequenceLengths[index - 1] ?? 0), "sequenceLengths ascend");
      assert.ok(length <= (maxSequenceLength ?? length), "sequenceLengths keep to maxSequenceLength");
    }
  }
  assert.ok(isWhole(mostRows(declared), 1), "batchSize is 1 or more");
  assert.ok(isWhole(batchPreference.rows, 1), "batchPreference.rows is 1 or more");
  assert.ok(batchPreference.tokens >= 1, "batchPreference.tokens is 1 or more");
  assert.ok(batchPreference.padding >= 0 && batchPreference.padding <= 1, "batchPreference.padding");
  assert.equal(typeof declared.segmentIds, "boolean", "segmentIds");
  assert.equal(typeof declared.rowsAffectScores, "boolean", "rowsAffectScores");
  assert.equal(typeof declared.cancelsWithinBatch, "boolean", "cancelsWithinBatch");
  assert.ok(isWhole(declared.concurrentRuns, 1), "concurrentRuns is 1 or more");
  // A model that marks its documents scores wrongly without the marks, so the user is told.
  const { readsSegments, pairTemplate } = context.profile;
  const marks = pairTemplate.some((piece) => "segment" in piece && piece.segment === 1);
  const { warnings } = await reranker.score([{ query: "tea", document: "coffee" }]);
  assert.equal(
    warnings.some(({ code }) => code === "segment-ids-ignored"),
    readsSegments && marks && !declared.segmentIds,
    "a warning when segment ids are ignored, and only then",
  );
};

/** The cache key and a result's provenance hold the settings, so the same load says the same ones. */
export const settings: Check = async (context) => {
  await withSession(context, async (session) => {
    const declared: unknown = session.settings;
    const isRecord = typeof declared === "object" && declared !== null && !Array.isArray(declared);
    assert.ok(isRecord, `session.settings is a record of text, {} where nothing can be set, not ${declared}`);
    for (const [name, value] of Object.entries(declared)) {
      assert.match(name, /\S/, "a setting has a name");
      assert.equal(typeof value, "string", `settings.${name} is text, not a ${typeof value}`);
    }
    const again = await context.load();
    try {
      assert.deepEqual(again.settings, declared, "the same settings when loaded again");
    } finally {
      await again.dispose();
    }
  });
};

export const artifact: Check = async (context) => {
  const { files, dtype, format } = (await context.opened()).reranker.session.artifact;
  assert.ok(format.length > 0 && dtype !== "", "format and dtype are named");
  assert.ok(files.length > 0, "the artifact has a file");
  for (const { path, sha256 } of files) {
    const entry = (await context.fixture.files.list()).find((file) => file.path === path);
    assert.ok(entry !== undefined, `${path} is a file of the model`);
    const bytes = await context.fixture.files.readBytes(path, { start: 0, end: entry.size });
    const digest = await crypto.subtle.digest("SHA-256", bytes as Uint8Array<ArrayBuffer>);
    const real = [...new Uint8Array(digest)].map((byte) => byte.toString(16).padStart(2, "0")).join("");
    assert.equal(sha256, real, `sha256 of ${path}`);
  }
};

export const abort: Check = async (context, { batchTolerance }) => {
  const reason = new Error("the caller's own reason");
  const aborted = AbortSignal.abort(reason);
  const rows = await context.sequences();
  const row = rows.at(-1) as Row;
  assert.equal(await rejection(context.load({ signal: aborted })), reason, "load rejects with the reason");

  await withSession(context, async (session) => {
    const wanted = await alone(context, session, row);
    const before = rejection(context.run(session, [row], { signal: aborted }));
    assert.equal(await before, reason, "run rejects with the reason when aborted before");

    const controller = new AbortController();
    const running = context.run(session, [row], { signal: controller.signal });
    controller.abort(reason);
    const outcome = await running.catch((error: unknown) => error);
    if (outcome !== reason) {
      assert.ok(
        Array.isArray(outcome),
        `a run aborted on its way fails with the reason, not ${textOf(outcome)}`,
      );
      assert.ok(!session.capabilities.cancelsWithinBatch, "cancelsWithinBatch: the run stops when aborted");
      requireClose(outcome[0], wanted, batchTolerance, "a run that was aborted too late");
    }
    requireClose(await alone(context, session, row), wanted, batchTolerance, "the run after an aborted one");
  });

  const { reranker } = await context.opened();
  const { batchPreference, batchSize, concurrentRuns } = reranker.session.capabilities;
  const perBatch = "exactly" in batchSize ? batchSize.exactly : Math.min(batchSize.max, batchPreference.rows);
  const item = context.items.find((candidate) => !isRefused(candidate)) as Item;
  const pair = item.pairs[0] as Pair;
  const isList = context.profile.family === "listwise";
  const pairs = Array.from({ length: (concurrentRuns + 3) * (isList ? 1 : perBatch) }, (_, index) =>
    isList ? { query: `${pair.query} ${index}`, document: pair.document } : pair,
  );
  const controller = new AbortController();
  const scoring = reranker.score(pairs, {
    ...optionsOf(item),
    signal: controller.signal,
    onProgress: () => controller.abort(reason),
  });
  assert.equal(await rejection(scoring), reason, "scoring stops after the batch that it is in");
  const [score] = (await reranker.score([pair], optionsOf(item))).scores;
  assert.ok(Number.isFinite(score?.logit), "scoring goes on after an aborted call");
};

/** A batch that cannot be run: arrays that were handed over once are empty afterwards. */
export const failures: Check = async (context, { batchTolerance }) => {
  const row = (await context.sequences())[0] as Row;
  await withSession(context, async (session) => {
    const wanted = await alone(context, session, row);
    const columns = columnsFor(session.capabilities, row.ids.length);
    const { batchSize } = session.capabilities;
    const slots = "exactly" in batchSize ? [row, ...new Array<undefined>(batchSize.exactly - 1)] : [row];
    const none = new Int32Array();
    const spent = { inputIds: none, attentionMask: none, segmentIds: none };
    const batch = { ...batchOf(slots, columns, context.profile.paddingId), ...spent };
    const error = await rejection(session.run(batch));
    assert.ok(error !== undefined, "run rejects a batch whose arrays are empty although it has rows");
    assert.ok(
      BackendRunError.isInstance(error),
      `a run that fails rejects with BackendRunError, not ${textOf(error)}`,
    );
    assert.match(error.backend, /\S/, "the error names the backend");
    requireClose(await alone(context, session, row), wanted, batchTolerance, "the run after one that failed");
  });
};

export const dispose: Check = async (context, { batchTolerance }) => {
  const rows = await context.sequences();
  const longest = rows.at(-1) as Row;
  const session = await context.load();
  const wanted = await alone(context, session, longest);
  await session.dispose();
  await session.dispose();
  await session[Symbol.asyncDispose]();
  const afterwards = await rejection(alone(context, session, longest));
  assert.ok(
    DisposedError.isInstance(afterwards),
    `a run after dispose: DisposedError, not ${textOf(afterwards)}`,
  );

  const other = await context.load();
  const room = Math.min(mostRows(other.capabilities), 8);
  let isSettled = false;
  const running = context.run(other, new Array<Row>(room).fill(longest)).finally(() => {
    isSettled = true;
  });
  const outcome = running.catch((error: unknown) => error);
  const disposing = [other.dispose(), other.dispose()];
  const meanwhile = await rejection(alone(context, other, longest));
  assert.ok(
    DisposedError.isInstance(meanwhile),
    `a run while it ends: DisposedError, not ${textOf(meanwhile)}`,
  );
  await Promise.all(disposing);
  // One turn: what has ended is then known to have ended, through however many promises it is handed on.
  await new Promise((resolve) => setTimeout(resolve, 0));
  assert.ok(isSettled, "dispose waits for the run under way");
  const found = await outcome;
  if (Array.isArray(found)) {
    if (other.capabilities.rowsAffectScores) requireFinite(found[0], "a run during dispose");
    else requireClose(found[0], wanted, batchTolerance, "a run during dispose");
  } else assert.ok(DisposedError.isInstance(found), `a run during dispose fails with ${textOf(found)}`);

  await withSession(context, async (again) => {
    requireClose(await alone(context, again, longest), wanted, batchTolerance, "loaded again after dispose");
  });
};

/** Milliseconds that a runtime may take to let go after dispose. */
const patience = 5000;

export const leftovers: Check = async (context) => {
  const [row] = await context.sequences();
  const { activeResources, copyWith } = context.platform;
  const before = activeResources();
  await withSession(context, (session) => alone(context, session, row as Row));
  const files = (await context.opened()).reranker.session.artifact.files;
  const copy = await copyWith(context.fixture.files, files[0]?.path ?? "", () => undefined);
  await rejection(context.load({ files: copy.files }));
  await copy.close();
  const started = performance.now();
  let left: string[];
  do {
    await new Promise((resolve) => setTimeout(resolve, 20));
    left = [...activeResources()].flatMap(([kind, count]) =>
      count > (before.get(kind) ?? 0) ? [`${kind} (${count - (before.get(kind) ?? 0)})`] : [],
    );
  } while (left.length > 0 && performance.now() - started < patience);
  assert.deepEqual(left, [], `resources that keep the process alive after dispose: ${left.join(", ")}`);
};

const allKinds: readonly OutputKind[] = [
  "class-logits",
  "hidden-states",
  "pooled",
  "token-logits",
  "marked-states",
];

export const outputs: Check = async (context) => {
  const row = (await context.sequences())[0] as Row;
  const tokens = [row.ids[0] as number, row.ids.at(-1) as number];
  const unknown = "no-such-output" as OutputKind;
  for (const kind of [...allKinds, unknown]) {
    let session: BackendSession;
    try {
      session = await context.load({ output: { kinds: [kind], tokens } });
    } catch (error) {
      // A graph may have the output by its shape and then not fit the tokens asked for.
      if (kind !== unknown && ModelLoadError.isInstance(error)) continue;
      const isTyped = IncompatibleModelError.isInstance(error);
      assert.ok(isTyped, `output ${kind} is refused with IncompatibleModelError, not ${textOf(error)}`);
      assert.ok(error.wanted.includes(kind) && error.capability !== "", `the refusal names ${kind}`);
      continue;
    }
    try {
      assert.notEqual(kind, unknown, "an output that does not exist is refused");
      assert.equal(session.capabilities.output, kind, "the output is the only one asked for");
      const [numbers = []] = await context.run(session, [row], { marks: tokens });
      assert.ok(numbers.length > 0 && numbers.every(Number.isFinite), `numbers as ${kind}`);
    } finally {
      await session.dispose();
    }
  }
  const { output } = (await context.opened()).reranker.session.capabilities;
  const chosen = await context.load({ output: { kinds: [unknown, output], tokens } });
  try {
    assert.equal(chosen.capabilities.output, output, "takes the first output that it can give");
  } finally {
    await chosen.dispose();
  }
};

export const dtype: Check = async (context) => {
  const error = await rejection(context.load({ dtype: "fp-of-tomorrow" }));
  assert.ok(
    ModelFileNotFoundError.isInstance(error) || InvalidInputError.isInstance(error),
    `a precision that is not there is refused, not ${error === undefined ? "replaced" : textOf(error)}`,
  );
  const { artifact: loaded } = (await context.opened()).reranker.session;
  const again = await context.load({ dtype: loaded.dtype });
  try {
    assert.deepEqual(again.artifact, loaded, "the same artifact when asked for by its dtype");
  } finally {
    await again.dispose();
  }
};

/** Bytes that look like nothing, the same on every machine. */
function garbage(length: number): Uint8Array {
  let state = 1;
  return Uint8Array.from({ length }, () => {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0;
    return state >>> 24;
  });
}

const damage: Readonly<Record<string, (bytes: Uint8Array) => Uint8Array | undefined>> = {
  missing: () => undefined,
  empty: () => new Uint8Array(),
  "cut in half": (bytes) => bytes.subarray(0, bytes.length >> 1),
  "short of its last byte": (bytes) => bytes.subarray(0, -1),
  "replaced by garbage": (bytes) => garbage(bytes.length),
};

export const damaged: Check = async (context, { batchTolerance }) => {
  const { fixture, backend, profile } = context;
  const path = (await context.opened()).reranker.session.artifact.files[0]?.path ?? "";
  // Modules of a head that lie in the artifact itself are read, and found damaged, before the backend sees it.
  const modules = "modules" in profile.head ? (profile.head.modules ?? []) : [];
  const isReadBefore = modules.some((module) => "file" in module && module.file === path);
  const problems: string[] = [];
  for (const [how, change] of Object.entries(damage)) {
    const copy = await context.platform.copyWith(fixture.files, path, change);
    try {
      const error = await rejection(
        createReranker({ model: copy.files, backend, dtype: context.dtype }).then((reranker) =>
          reranker.dispose(),
        ),
      );
      const wanted = how === "missing" ? ModelFileNotFoundError : ModelLoadError;
      if (wanted.isInstance(error) || (isReadBefore && ModelProfileError.isInstance(error))) continue;
      problems.push(
        `${path} ${how}: ${error === undefined ? "loads all the same" : textOf(error)}, wanted ${wanted.name}`,
      );
    } finally {
      await copy.close();
    }
  }
  report(problems);
  const row = (await context.sequences())[0] as Row;
  const wanted = await alone(context, (await context.opened()).session, row);
  const found = await withSession(context, (session) => alone(context, session, row));
  requireClose(found, wanted, batchTolerance, "the sound model, after the damaged ones");
};

/** Instead of all others, for a model of a family that the backend does not declare. */
export const refusal: Check = async (context) => {
  const { backend, fixture, profile } = context;
  const recorder = record(backend);
  const error = await rejection(createReranker({ model: fixture.files, backend: recorder.backend }));
  assert.ok(IncompatibleModelError.isInstance(error), `IncompatibleModelError, not ${textOf(error)}`);
  assert.equal(error.capability, "family");
  assert.equal(error.wanted, profile.family);
  assert.deepEqual(error.supported, backend.families);
  assert.equal(recorder.requests.length, 0, "nothing is loaded");
};

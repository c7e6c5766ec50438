// Entry of a contestant's own process. Takes commands as JSON lines on standard input: the first loads, each
// further one runs, the end of the input ends the process. Answers are lines that begin with the mark, because
// libraries print there too.
/** @import { Loaded, RunAnswer, Setup } from "../types.js" */
import { monitorEventLoopDelay } from "node:perf_hooks";
import { createInterface } from "node:readline";
import { setTimeout as sleep } from "node:timers/promises";
import { answerMark } from "../child.mjs";
import { countProcessorTime, peakMemory } from "./memory.mjs";

/** Milliseconds between the samples of event-loop delay; Node's default. A value includes it, so it is taken off. */
const resolution = 10;

/** @param {unknown} answer */
function answer(answer) {
  process.stdout.write(`${answerMark}${JSON.stringify(answer)}\n`);
}

/**
 * @param {Loaded} loaded
 * @param {Setup} setup
 * @returns {Promise<RunAnswer>}
 */
async function run(loaded, { query, documents }) {
  const histogram = monitorEventLoopDelay({ resolution });
  histogram.enable();
  // The first sample needs one before it, and the last comes after the work that delayed it.
  await sleep(3 * resolution);
  const withChildren = loaded.hasChildren === true;
  const processorTime = await countProcessorTime(withChildren);
  const started = performance.now();
  const scored = await loaded.score(query, documents);
  const seconds = (performance.now() - started) / 1000;
  const processorSeconds = await processorTime();
  await sleep(3 * resolution);
  histogram.disable();
  /** @param {number} nanoseconds */
  const late = (nanoseconds) => Math.max(0, nanoseconds / 1e6 - resolution);
  return {
    ...scored,
    seconds,
    processorSeconds,
    delay: {
      p50: late(histogram.percentile(50)),
      p99: late(histogram.percentile(99)),
      max: late(histogram.max),
    },
    peakMemory: await peakMemory(withChildren),
  };
}

try {
  /** @type {{ loaded: Loaded, setup: Setup } | undefined} */
  let ready;
  for await (const line of createInterface({ input: process.stdin })) {
    if (ready === undefined) {
      /** @type {Setup} */
      const setup = JSON.parse(line);
      /** @type {{ load: (setup: Setup) => Promise<Loaded> }} */
      const contestant = await import(new URL(`./${process.argv[2]}.mjs`, import.meta.url).href);
      ready = { loaded: await contestant.load(setup), setup };
      answer({ version: ready.loaded.version });
    } else {
      answer(await run(ready.loaded, ready.setup));
    }
  }
  await ready?.loaded.dispose();
} catch (error) {
  answer({ error: error instanceof Error ? error.message : String(error) });
  process.exitCode = 1;
}

// The order of play: load and one warm-up for everybody, the sweep's heats, then the rounds.
/** @import { BenchModel, Contestant, EventLoopDelay, RunAnswer, Scored, Skipped, SweepCell } from "./types.js" */
import { Child } from "./child.mjs";

/** Cells of the sweep that go on from the heats to the rounds. */
const finalists = 4;
/** A contestant whose warm-up takes longer than so many seconds runs in so many rounds at most. */
const usualPatience = { seconds: 10, rounds: 2 };

/**
 * @typedef {object} Measured
 * @property {Contestant} contestant
 * @property {string} version
 * @property {Scored} scored of the last run
 * @property {number[]} seconds of each timed run
 * @property {(number | undefined)[]} processorSeconds of each timed run
 * @property {EventLoopDelay | undefined} delay of the worst run, percentile by percentile
 * @property {number | undefined} peakMemory
 */

/** @typedef {{ contestant: Contestant, child: Child, rounds: number, warmUp: RunAnswer, runs: RunAnswer[] }} Entrant */

/**
 * Every second round goes backwards, so that what changes while a round lasts favours nobody.
 *
 * @param {BenchModel} model
 * @param {readonly Contestant[]} contestants
 * @param {{ query: string, documents: readonly string[] }} texts
 * @param {number} repeat
 * @param {(text: string) => void} progress
 * @param {{ patience?: typeof usualPatience, onRound?: () => Promise<void> }} options `onRound` is called in the middle of
 *   every round
 * @returns {Promise<{ measured: Measured[], sweep: SweepCell[], failed: Skipped[] }>}
 */
export async function measure(model, contestants, texts, repeat, progress, options = {}) {
  const { patience = usualPatience, onRound } = options;
  /** @type {Skipped[]} */
  const failed = [];
  /** @type {Entrant[]} */
  let entrants = [];
  /** @type {SweepCell[]} */
  const sweep = [];

  // The sweep first, so that the others are not in memory during its heats.
  const order = [...contestants].sort((left, right) => Number(right.sweep) - Number(left.sweep));
  for (const [index, contestant] of order.entries()) {
    progress(`warm-up ${index + 1}/${order.length}: ${contestant.title}`);
    try {
      const setup = { model, ...texts, ...contestant.setup, options: contestant.options };
      const child = await Child.load(contestant, setup);
      const entrant = await warmUp(contestant, child, repeat, patience);
      entrants.push(entrant);
      if (contestant.sweep) {
        const { workers = 0, threads = 1, rows } = contestant.options;
        sweep.push({
          workers,
          threads,
          rows: Number(rows),
          rate: texts.documents.length / entrant.warmUp.seconds,
        });
        entrants = await keepFinalists(entrants);
      }
    } catch (error) {
      failed.push({ title: contestant.title, reason: messageOf(error) });
    }
  }
  // In the rounds, everybody in the order of the table.
  entrants.sort(
    (left, right) => contestants.indexOf(left.contestant) - contestants.indexOf(right.contestant),
  );

  for (let round = 1; round <= repeat; round++) {
    const playing = entrants.filter(({ rounds }) => round <= rounds);
    if (round % 2 === 0) playing.reverse();
    for (const [index, entrant] of playing.entries()) {
      if (index === playing.length >> 1) await onRound?.();
      progress(`round ${round}/${repeat}: ${entrant.contestant.title}`);
      try {
        entrant.runs.push(await entrant.child.run());
      } catch (error) {
        failed.push({ title: entrant.contestant.title, reason: messageOf(error) });
        entrant.rounds = 0;
      }
      if (round >= entrant.rounds) await entrant.child.end();
    }
  }
  const finished = entrants.filter(({ rounds }) => rounds > 0);
  return { measured: finished.map(summarise), sweep, failed };
}

/**
 * @param {Contestant} contestant
 * @param {Child} child
 * @param {number} repeat
 * @param {typeof usualPatience} patience
 * @returns {Promise<Entrant>}
 */
async function warmUp(contestant, child, repeat, patience) {
  try {
    const answer = await child.run();
    const rounds = answer.seconds > patience.seconds ? Math.min(patience.rounds, repeat) : repeat;
    return { contestant, child, rounds, warmUp: answer, runs: [] };
  } catch (error) {
    await child.end();
    throw error;
  }
}

/**
 * Ends the slowest cell of the sweep once there are more than may go on.
 *
 * @param {readonly Entrant[]} entrants
 */
async function keepFinalists(entrants) {
  const bySpeed = entrants
    .filter(({ contestant }) => contestant.sweep)
    .sort((left, right) => left.warmUp.seconds - right.warmUp.seconds);
  const out = bySpeed.slice(finalists);
  await Promise.all(out.map(({ child }) => child.end()));
  return entrants.filter((entrant) => !out.includes(entrant));
}

/**
 * @param {Entrant} entrant
 * @returns {Measured}
 */
function summarise({ contestant, child, runs }) {
  const last = /** @type {RunAnswer} */ (runs.at(-1));
  const delays = runs.flatMap(({ delay }) => delay ?? []);
  /** @param {(delay: EventLoopDelay) => number} part */
  const worst = (part) => Math.max(...delays.map(part));
  return {
    contestant,
    version: child.version,
    scored: last,
    seconds: runs.map(({ seconds }) => seconds),
    processorSeconds: runs.map((run) => run.processorSeconds),
    delay:
      delays.length === 0
        ? undefined
        : { p50: worst(({ p50 }) => p50), p99: worst(({ p99 }) => p99), max: worst(({ max }) => max) },
    peakMemory: last.peakMemory,
  };
}

/** @param {unknown} error */
function messageOf(error) {
  return error instanceof Error ? error.message : String(error);
}

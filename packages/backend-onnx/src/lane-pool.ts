import type { CallOptions } from "@crossrank/backend-kit";
import type { Lane } from "./lanes.js";
import type { RunArgument, RunResult } from "./protocol.js";
import type { RunLane } from "./session.js";

export interface LanePoolFacts {
  /** Those that have the model loaded. */
  readonly loaded: readonly Lane[];
  /** How many there may be, the loaded ones included. */
  readonly most: number;
  /** Milliseconds that the first one took to start and to load. */
  readonly startTook: number;
  /** Starts a further one, without its model. */
  readonly open: () => Lane;
  /** Loads the model. @throws what the runtime throws. */
  readonly load: (lane: Lane) => Promise<unknown>;
}

/**
 * The runtimes of a session, of which the further ones start when there is work for them: once batches have waited, all
 * in all, for as long as a start takes. A program that scores a handful of documents never pays for them, and one that
 * scores many has lost no more by then than a start costs. Scores do not depend on which runtime computes.
 */
export class LanePool {
  /** As many as there may be; one that is not started yet rests. */
  readonly lanes: readonly RunLane[];
  readonly #facts: LanePoolFacts;
  readonly #places: Place[];
  /** One is started at a time, and none after one that failed to. */
  #starting: Lane | "failed" | undefined;
  #underWay = 0;
  #waited = 0;
  #since = performance.now();
  #isClosed = false;

  constructor(facts: LanePoolFacts) {
    this.#facts = facts;
    this.#places = Array.from({ length: Math.max(facts.most, facts.loaded.length) }, (_, index) => {
      const place = new Place(this);
      place.lane = facts.loaded[index];
      return place;
    });
    this.lanes = this.#places;
  }

  begins(): void {
    this.#count(1);
    const empty = this.#places.find(({ lane }) => lane === undefined);
    if (empty === undefined || this.#isClosed || this.#starting !== undefined) return;
    if (this.#waited < this.#facts.startTook) return;
    this.#waited = 0;
    void this.#start(empty);
  }

  ends(): void {
    this.#count(-1);
  }

  /** For a place that is empty: whoever calls it means any. */
  get first(): Lane | undefined {
    return this.#places[0]?.lane;
  }

  /** Closes one place; with the first to be closed no more are started, and one that is on its way is not waited for. */
  async close(lane: Lane | undefined): Promise<void> {
    this.#isClosed = true;
    const starting = this.#starting;
    this.#starting = undefined;
    await Promise.all([lane?.close(), typeof starting === "object" && starting.abandon()]);
  }

  /** Adds up the time in which there was more under way than is computed at once. */
  #count(change: number): void {
    const now = performance.now();
    const able = this.#places.filter(({ lane }) => lane !== undefined).length;
    if (this.#underWay > able) this.#waited += now - this.#since;
    this.#since = now;
    this.#underWay += change;
  }

  /** One that does not start is left out: those that are there compute everything, and nobody asked for more. */
  async #start(place: Place): Promise<void> {
    let lane: Lane | undefined;
    try {
      lane = this.#facts.open();
      this.#starting = lane;
      await this.#facts.load(lane);
      if (this.#isClosed) return;
      place.lane = lane;
      this.#starting = undefined;
    } catch {
      this.#starting = "failed";
      await lane?.abandon();
    }
  }
}

/** One runtime's place, which may be empty yet. */
class Place implements RunLane {
  lane: Lane | undefined;
  readonly #pool: LanePool;

  constructor(pool: LanePool) {
    this.#pool = pool;
  }

  get underWay(): number {
    return this.lane?.underWay ?? 0;
  }

  get isResting(): boolean {
    return this.lane?.isResting ?? true;
  }

  async call(kind: "run", argument: RunArgument, options?: CallOptions): Promise<RunResult> {
    const lane = this.lane ?? this.#pool.first;
    if (lane === undefined) throw new Error("no runtime was started");
    this.#pool.begins();
    try {
      return await lane.call(kind, argument, options);
    } finally {
      this.#pool.ends();
    }
  }

  close(): Promise<void> {
    return this.#pool.close(this.lane);
  }
}

import { registeredNames } from "../backend-names.js";
import type { Candidate } from "./candidates.js";

/** Part of the time that is kept for timing those that passed. */
const timingShare = 0.2;

/** Fewer queries say nothing about a loss, whatever the time. */
const fewestQueries = 20;

/** The order in which classes are exact. */
const classes: readonly (string | null)[] = ["fp32", "fp16", "8-bit", "4-bit"];

/** Lower is more exact; what is of no known class comes last. */
export function classRank({ precision }: Pick<Candidate, "precision">): number {
  const place = classes.indexOf(precision);
  return place < 0 ? classes.length : place;
}

/**
 * Those that can be the reference, best first: the most exact; of equal ones those of the runtime that a model which names
 * none tries first.
 */
export function referenceOrder(candidates: readonly Candidate[]): readonly Candidate[] {
  return [...candidates].sort((a, b) => classRank(a) - classRank(b) || placeOf(a) - placeOf(b));
}

function placeOf({ backend }: Candidate): number {
  const place = registeredNames.indexOf(backend);
  return place < 0 ? registeredNames.length : place;
}

/** Cheap first: what is there before what has to be made, fewer bits before more. What is equal keeps its order. */
export function cheapFirst(candidates: readonly Candidate[]): readonly Candidate[] {
  return [...candidates].sort((a, b) => Number(a.converts) - Number(b.converts) || bitsOf(a) - bitsOf(b));
}

function bitsOf({ dtype }: Candidate): number {
  const bits = Number(/\d+/.exec(dtype ?? "")?.[0] ?? 32);
  return bits > 0 && bits <= 32 ? bits : 32;
}

/** The time of a pick. Seconds of the clock, milliseconds inside. */
export class Schedule {
  readonly limit: number;
  readonly #started: number;

  /** @param seconds that the whole may take. */
  constructor(seconds: number) {
    this.limit = seconds;
    this.#started = performance.now();
  }

  /** Seconds so far. */
  get spent(): number {
    return (performance.now() - this.#started) / 1000;
  }

  /** Milliseconds that one candidate may take where so many are still to be scored, itself among them. At least 1. */
  shareOf(left: number): number {
    const forScoring = this.limit * (1 - timingShare) - this.spent;
    return Math.max(1, (1000 * forScoring) / Math.max(1, left));
  }

  /** Milliseconds that are left for timing. */
  forTiming(): number {
    return Math.max(0, 1000 * (this.limit - this.spent));
  }

  /**
   * Queries that all candidates can be scored on in the time, one of which took so many milliseconds on the reference. As
   * slow as that are few: half of the time stays for loading, converting and those that are slower.
   */
  queriesFor(candidates: number, millisecondsPerQuery: number, all: number): number {
    const available = (1000 * this.limit * (1 - timingShare)) / 2;
    const fitting = Math.floor(available / (Math.max(1, candidates) * Math.max(1e-6, millisecondsPerQuery)));
    return Math.min(all, Math.max(fewestQueries, fitting));
  }
}

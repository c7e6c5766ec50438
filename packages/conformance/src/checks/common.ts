import type { BackendSession, PairScore } from "@crossrank/core";
import { assert } from "../assert.js";
import type { FixtureContext, Item } from "../context.js";
import type { Row } from "../recorder.js";

/** The golden cases that a check looks at, and how far numbers may be apart. */
export interface Terms {
  readonly items: readonly Item[];
  /** Of a logit or score from the golden one. */
  readonly tolerance: number;
  /** Of two runs of one sequence in different company or padding. */
  readonly batchTolerance: number;
  /** Of two runs of one and the same batch. */
  readonly repeatTolerance: number;
}

/** Throws when the backend does not do what it should. */
export type Check = (context: FixtureContext, terms: Terms) => Promise<void>;

/** Fails with the first few of a list of problems, or not at all when there are none. */
export function report(problems: readonly string[]): void {
  if (problems.length === 0) return;
  const shown = problems.slice(0, 6).join("\n");
  const more = problems.length > 6 ? `\nand ${problems.length - 6} more` : "";
  assert.fail(`${problems.length} do not hold:\n${shown}${more}`);
}

/** Largest difference; infinite where the lengths differ or something is no number. */
export function distance(a: readonly number[], b: readonly number[]): number {
  if (a.length !== b.length || a.length === 0) return Number.POSITIVE_INFINITY;
  const differences = a.map((value, index) => Math.abs(value - (b[index] as number)));
  return differences.some(Number.isNaN) ? Number.POSITIVE_INFINITY : Math.max(...differences);
}

export function requireClose(
  found: readonly number[],
  wanted: readonly number[],
  tolerance: number,
  what: string,
): void {
  const apart = distance(found, wanted);
  assert.ok(apart <= tolerance, `${what}: numbers differ by ${apart}, more than ${tolerance}`);
}

/** For numbers that may lie anywhere, as those of rows that affect each other. */
export function requireFinite(found: readonly (number | null | undefined)[], what: string): void {
  const isSound = found.length > 0 && found.every(Number.isFinite);
  assert.ok(
    isSound,
    `${what}: ${found.slice(0, 3).join(", ") || "no numbers"}, which are not finite numbers`,
  );
}

export function logits(scores: readonly PairScore[]): (number | null)[] {
  return scores.map(({ logit }) => logit);
}

/** Two logits, or two nulls. */
export function isClose(
  a: number | null | undefined,
  b: number | null | undefined,
  tolerance: number,
): boolean {
  if (typeof a !== "number" || typeof b !== "number") return a === b;
  return Math.abs(a - b) <= tolerance;
}

export async function rejection(work: Promise<unknown>): Promise<unknown> {
  try {
    await work;
  } catch (error) {
    return error;
  }
  return undefined;
}

export function textOf(error: unknown): string {
  return error instanceof Error ? `${error.name}: ${error.message}` : String(error);
}

export async function withSession<T>(
  context: FixtureContext,
  work: (session: BackendSession) => Promise<T>,
): Promise<T> {
  const session = await context.load();
  try {
    return await work(session);
  } finally {
    await session.dispose();
  }
}

/** Runs a sequence in the smallest shape there is. */
export async function alone(context: FixtureContext, session: BackendSession, row: Row): Promise<number[]> {
  return (await context.run(session, [row]))[0] as number[];
}

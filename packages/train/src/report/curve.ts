import { appendFile, readFile } from "node:fs/promises";
import { join } from "node:path";
import { writeWholeFile } from "@crossrank/disk";

/** A step of training. */
export interface LossPoint {
  readonly kind: "loss";
  readonly step: number;
  readonly epoch: number;
  readonly loss: number;
  readonly learningRate: number;
  readonly gradientNorm: number;
}

/** A held-out evaluation. */
export interface HeldOutPoint {
  readonly kind: "held-out";
  readonly step: number;
  /** nDCG@10, with its 95 % interval. */
  readonly mean: number;
  readonly lower: number;
  readonly upper: number;
  /** Against step 0, paired by query, with its one-sided 95 % bound; null for step 0 itself. */
  readonly change: { readonly mean: number; readonly lowerBound: number } | null;
  readonly queries: number;
  /** The best weights so far. */
  readonly best: boolean;
}

export type CurvePoint = LossPoint | HeldOutPoint;

/**
 * What happened at each step, in a file that grows with the training: after a kill the same command goes on with it.
 */
export class Curve {
  readonly #path: string;
  readonly #keys: Set<string>;
  #points: CurvePoint[];
  #written: Promise<void> = Promise.resolve();

  private constructor(path: string, points: CurvePoint[]) {
    this.#path = path;
    this.#points = points;
    this.#keys = new Set(points.map(keyOf));
  }

  /** @param upTo steps that count: what a killed process did after its last checkpoint is done again. */
  static async open(folder: string, upTo: number): Promise<Curve> {
    const path = join(folder, "curve.jsonl");
    const text = await readFile(path, "utf8").catch((error: NodeJS.ErrnoException) => {
      if (error.code === "ENOENT") return "";
      throw error;
    });
    const points = text.split("\n").flatMap((line): CurvePoint[] => {
      try {
        const point: CurvePoint = JSON.parse(line);
        return point.step <= upTo ? [point] : [];
      } catch {
        // The last line of a process that was killed; the step is done again.
        return [];
      }
    });
    await writeWholeFile(path, textOf(points));
    return new Curve(path, points);
  }

  get points(): readonly CurvePoint[] {
    return this.#points;
  }

  get evaluations(): readonly HeldOutPoint[] {
    return this.#points.filter((point) => point.kind === "held-out");
  }

  /** When everything is on disk. */
  written(): Promise<void> {
    return this.#written;
  }

  /** Written in the order of the calls; what the disk refuses rejects, and the calls after it as well. */
  add(point: CurvePoint): Promise<void> {
    const key = keyOf(point);
    const isThere = this.#keys.has(key);
    this.#keys.add(key);
    if (isThere) this.#points = this.#points.map((old) => (keyOf(old) === key ? point : old));
    else this.#points.push(point);
    // An evaluation at the checkpoint's own step is one that a resumed training makes again.
    const text = isThere ? textOf(this.#points) : textOf([point]);
    this.#written = this.#written.then(() =>
      isThere ? writeWholeFile(this.#path, text) : appendFile(this.#path, text),
    );
    this.#written.catch(() => undefined);
    return this.#written;
  }
}

function keyOf({ kind, step }: CurvePoint): string {
  return `${kind} ${step}`;
}

function textOf(points: readonly CurvePoint[]): string {
  return points.map((point) => `${JSON.stringify(point)}\n`).join("");
}

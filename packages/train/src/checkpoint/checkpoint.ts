import { createHash } from "node:crypto";
import { mkdir, readdir, rm } from "node:fs/promises";
import { join } from "node:path";
import type { TrainingSession } from "@crossrank/backend-mlx/training";
import { removeUnfinished } from "@crossrank/disk";
import * as z from "zod/mini";
import type { TrainedValues } from "../adapters/trained.js";
import { TrainingCheckpointError } from "../errors.js";
import { readNumberFile, writeNumberFile } from "./number-file.js";

const kept = ["value", "mean", "square"] as const;

/** Where a training is. */
export interface TrainingState {
  readonly step: number;
  /** The step whose weights are the best so far; -1 before an evaluation. */
  readonly bestStep: number;
  readonly tokens: number;
  readonly trainingMs: number;
  /** An evaluation ended it. */
  readonly stopped: boolean;
}

const count = z.number().check(z.int(), z.minimum(0));
const stateSchema = z.object({
  identity: z.string(),
  step: count,
  bestStep: z.number().check(z.int(), z.minimum(-1)),
  tokens: count,
  trainingMs: z.number().check(z.minimum(0)),
  stopped: z.boolean(),
});

/** The state of one training in a folder: what goes on from it is what would have been without a break. */
export class Checkpoint {
  readonly #folder: string;
  readonly #session: TrainingSession;
  readonly #identity: string;

  /** @param decides everything that decides the result: a checkpoint belongs to exactly this. */
  constructor(folder: string, session: TrainingSession, decides: unknown) {
    this.#folder = folder;
    this.#session = session;
    const names = session.parameters.map(({ name, shape }) => `${name} ${shape.join()}`);
    this.#identity = createHash("sha256")
      .update(JSON.stringify([decides, names]))
      .digest("hex");
  }

  get #path(): string {
    return join(this.#folder, "state.bin");
  }

  /** Whether there is one, of whatever training. */
  async exists(): Promise<boolean> {
    const names: readonly string[] = await readdir(this.#folder).catch(() => []);
    return names.includes("state.bin");
  }

  /** Removes what is there. */
  async clear(): Promise<void> {
    await rm(this.#folder, { recursive: true, force: true });
  }

  /** Keeps the weights as they are as the best ones. */
  async writeBest(step: number): Promise<void> {
    await mkdir(this.#folder, { recursive: true });
    const { parameters } = this.#session;
    const values = async function* (this: Checkpoint): AsyncGenerator<Float32Array> {
      for (const place of parameters.keys()) yield await this.#session.read(place, "value");
    };
    await writeNumberFile(this.#bestPath(step), { identity: this.#identity, step }, values.call(this));
  }

  /** Writes the state, and removes the weights of earlier best steps. */
  async write(state: TrainingState): Promise<void> {
    await mkdir(this.#folder, { recursive: true });
    const arrays = async function* (this: Checkpoint): AsyncGenerator<Float32Array> {
      for (const place of this.#session.parameters.keys())
        for (const what of kept) yield await this.#session.read(place, what);
    };
    await writeNumberFile(this.#path, { ...state, identity: this.#identity }, arrays.call(this));
    for (const name of await readdir(this.#folder)) {
      if (/^best-\d+\.bin$/.test(name) && name !== `best-${state.bestStep}.bin`)
        await rm(join(this.#folder, name), { force: true });
    }
  }

  /**
   * Puts the session where the checkpoint is.
   *
   * @returns undefined where there is none.
   * @throws {TrainingCheckpointError} when it belongs to another training, or is damaged.
   */
  async restore(): Promise<TrainingState | undefined> {
    await removeUnfinished(this.#folder);
    const sizes = this.#sizes();
    const facts = await readNumberFile(
      this.#path,
      (given) => {
        this.#read(given);
        return sizes.flatMap((size) => kept.map(() => size));
      },
      (place, data) =>
        this.#session.write(
          Math.floor(place / kept.length),
          kept[place % kept.length] as (typeof kept)[number],
          data,
        ),
    );
    if (facts === undefined) return undefined;
    const state = this.#read(facts);
    await this.#session.setSteps(state.step);
    return state;
  }

  /** Reads the weights of a best step one by one. @throws {TrainingCheckpointError} */
  async readBest(step: number): Promise<TrainedValues> {
    const path = this.#bestPath(step);
    const arrays: Float32Array[] = [];
    const facts = await readNumberFile(
      path,
      () => this.#sizes(),
      (_, data) => {
        arrays.push(data);
      },
    );
    if (facts === undefined)
      throw new TrainingCheckpointError({
        path,
        problem: "is gone, and holds the best weights",
        fix: "Begin anew",
      });
    return async (place) => arrays[place] as Float32Array;
  }

  #bestPath(step: number): string {
    return join(this.#folder, `best-${step}.bin`);
  }

  #sizes(): readonly number[] {
    return this.#session.parameters.map(({ shape }) => shape.reduce((product, size) => product * size, 1));
  }

  #read(facts: unknown): TrainingState {
    const parsed = stateSchema.safeParse(facts);
    if (!parsed.success || parsed.data.identity !== this.#identity)
      throw new TrainingCheckpointError({
        path: this.#path,
        problem: "belongs to a training of another model, other examples or other settings",
        fix: "Give the settings that it was begun with, or begin anew in another folder",
      });
    return parsed.data;
  }
}

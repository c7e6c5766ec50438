import { type Handlers, messageOf, RuntimeFailure } from "@crossrank/backend-kit/runtime";
import type { GraphTensor } from "./graph-plan.js";
import { type Addon, type AddonSession, type AddonTensor, loadAddon } from "./native.js";
import type {
  Calls,
  FailureStage,
  LoadArgument,
  LoadedGraph,
  Rehearsal,
  RehearsalArgument,
  RunArgument,
  RunResult,
} from "./protocol.js";

interface Lane {
  readonly session: AddonSession;
  underWay: number;
}

/** MNN with one model, in as many sessions as were asked for. */
export class Runtime implements Handlers<Calls> {
  #sessions: readonly Lane[] = [];
  #release: Promise<undefined> | undefined;
  /** Each is several runs, one after the other. */
  readonly #rehearsals: Set<Promise<Rehearsal>> = new Set();

  diagnose(): { readonly version: string } {
    return { version: addon().version() };
  }

  async load({ modelPath, sessions, options }: LoadArgument): Promise<LoadedGraph> {
    const { load, version } = addon();
    const opened: AddonSession[] = [];
    try {
      // One after the other: only one copy of the file is in memory beside the models.
      for (let index = 0; index < sessions; index += 1) opened.push(await load(modelPath, options));
      const [first] = opened;
      if (first === undefined) throw new Error("failed: no session");
      const outputs = await outputsOf(first);
      this.#sessions = opened.map((session) => ({ session, underWay: 0 }));
      return {
        version: version(),
        // The file says 1 or -1 for free dimensions; that they are free has just been tried.
        inputs: first.inputs.map(({ name, type, shape, below }) => ({
          name,
          type,
          shape: shape.map((_, axis) => ["batch", "sequence"][axis] ?? "?"),
          below,
        })),
        outputs,
        longest: first.longest ?? undefined,
      };
    } catch (error) {
      await Promise.all(opened.map((session) => session.close()));
      throw failureOf(error, "model");
    }
  }

  /** All in one session: what a batch leaves behind in it is what the next one meets. */
  async rehearse(argument: RehearsalArgument): Promise<Rehearsal> {
    const rehearsal = this.#rehearse(argument);
    this.#rehearsals.add(rehearsal);
    try {
      return await rehearsal;
    } finally {
      this.#rehearsals.delete(rehearsal);
    }
  }

  async #rehearse({ first, last, together }: RehearsalArgument): Promise<Rehearsal> {
    const [lane] = this.#sessions;
    const { data: firstAlone } = await this.#run(lane, first);
    const { data: lastAlone } = await this.#run(lane, last);
    const { data: all } = await this.#run(lane, together);
    const { data: again } = await this.#run(lane, last);
    let difference = 0;
    let magnitude = 0;
    for (const [expected, found] of [
      [firstAlone, all.subarray(0, firstAlone.length)],
      [lastAlone, all.subarray(-lastAlone.length)],
      [lastAlone, again],
    ] as const) {
      for (const [index, number] of expected.entries()) {
        magnitude = Math.max(magnitude, Math.abs(number));
        difference = Math.max(difference, Math.abs((found[index] ?? Number.NaN) - number));
      }
    }
    return { difference, magnitude };
  }

  run(argument: RunArgument): Promise<RunResult> {
    return this.#run(this.#freest(), argument);
  }

  async #run(lane: Lane | undefined, { plan, rows, columns, inputs }: RunArgument): Promise<RunResult> {
    if (lane === undefined) throw new RuntimeFailure("run", "no model is loaded");
    lane.underWay += 1;
    try {
      const shape = [rows, columns];
      const { data, shape: found } = await lane.session.run(
        inputs.map((array) => ({ shape, data: array })),
        plan.output.index,
      );
      const { kind, name, width } = plan.output;
      const wanted = kind === "hidden-states" ? [rows, columns, width] : [rows, width];
      if (found.length !== wanted.length || found.some((size, axis) => size !== wanted[axis])) {
        throw new Error(
          `output "${name}" has shape [${found.join(", ")}] for ${rows} rows of ${columns} tokens`,
        );
      }
      return { data, shape: wanted };
    } catch (error) {
      throw failureOf(error, "run");
    } finally {
      lane.underWay -= 1;
    }
  }

  #freest(): Lane | undefined {
    const [first, ...others] = this.#sessions;
    return others.reduce(
      (least, other) => (least !== undefined && other.underWay < least.underWay ? other : least),
      first,
    );
  }

  release(): Promise<undefined> {
    this.#release ??= Promise.allSettled(this.#rehearsals)
      .then(() => Promise.all(this.#sessions.map(({ session }) => session.close())))
      .then(() => undefined);
    return this.#release;
  }
}

const trials = [
  { rows: 2, columns: 5 },
  { rows: 3, columns: 7 },
] as const;

/** Outputs, found by preparing the graph for two shapes. @throws when the graph takes no other than its own. */
async function outputsOf(session: AddonSession): Promise<readonly GraphTensor[]> {
  const found: (readonly AddonTensor[])[] = [];
  for (const { rows, columns } of trials) {
    found.push(await session.resize(session.inputs.map(() => [rows, columns])));
  }
  return (found[0] ?? []).map(({ name, type, shape }, index) => ({
    name,
    type,
    shape: shape.map((_, axis) => {
      const sizes = found.map((outputs) => outputs[index]?.shape[axis]);
      const [first] = sizes;
      if (sizes.every((size, trial) => size === trials[trial]?.rows)) return "batch";
      if (sizes.every((size, trial) => size === trials[trial]?.columns)) return "sequence";
      if (first !== undefined && sizes.every((size) => size === first)) return first;
      throw new Error(
        `unsupported: output "${name}" has ${sizes.join(" and ")} numbers in dimension ${axis}`,
      );
    }),
  }));
}

function addon(): Addon {
  try {
    return loadAddon();
  } catch (cause) {
    throw new RuntimeFailure("runtime", messageOf(cause), { cause });
  }
}

const stages: Readonly<Record<string, FailureStage>> = { threads: "threads", "out-of-memory": "memory" };

/** The addon's messages begin with a code. */
function failureOf(error: unknown, stage: FailureStage): RuntimeFailure {
  if (error instanceof RuntimeFailure) return error;
  const message = messageOf(error);
  const [, code = "", text = message] = /^([a-z-]+): (.*)$/s.exec(message) ?? [];
  return new RuntimeFailure(stages[code] ?? stage, text, { cause: error });
}

import { type Handlers, messageOf, RuntimeFailure } from "@crossrank/backend-kit/runtime";
import { type Addon, type AddonSession, loadAddon } from "./native.js";
import type { Calls, FailureStage, LoadArgument, RunArgument } from "./protocol.js";

interface Lane {
  readonly session: AddonSession;
  underWay: number;
}

/** CTranslate2 with one model, in as many sessions as were asked for. */
export class Runtime implements Handlers<Calls> {
  #lanes: readonly Lane[] = [];
  #release: Promise<undefined> | undefined;

  diagnose(): { readonly version: string; readonly hasIntegers: boolean } {
    return { version: addon().version(), hasIntegers: addon().hasIntegers() };
  }

  async load({ modelPath, sessions, options }: LoadArgument): Promise<{ readonly version: string }> {
    const { load, version } = addon();
    const opened: AddonSession[] = [];
    try {
      const first = await load(modelPath, options);
      opened.push(first);
      while (opened.length < sessions) opened.push(await first.share());
      this.#lanes = opened.map((session) => ({ session, underWay: 0 }));
      return { version: version() };
    } catch (error) {
      await Promise.all(opened.map((session) => session.close()));
      throw failureOf(error, "model");
    }
  }

  async run({ reading, ...batch }: RunArgument): Promise<{ readonly data: Float32Array }> {
    const lane = this.#freest();
    if (lane === undefined) throw new RuntimeFailure("run", "no model is loaded");
    lane.underWay += 1;
    try {
      return { data: await lane.session.run(batch, reading) };
    } catch (error) {
      throw failureOf(error, "run");
    } finally {
      lane.underWay -= 1;
    }
  }

  #freest(): Lane | undefined {
    const [first, ...others] = this.#lanes;
    return others.reduce(
      (least, other) => (least !== undefined && other.underWay < least.underWay ? other : least),
      first,
    );
  }

  release(): Promise<undefined> {
    this.#release ??= Promise.all(this.#lanes.map(({ session }) => session.close())).then(() => undefined);
    return this.#release;
  }
}

function addon(): Addon {
  try {
    return loadAddon();
  } catch (cause) {
    throw new RuntimeFailure("runtime", messageOf(cause), { cause });
  }
}

const stages: Readonly<Record<string, FailureStage>> = {
  "out-of-memory": "memory",
  unsupported: "processor",
};

/** The addon's messages begin with a code. */
function failureOf(error: unknown, stage: FailureStage): RuntimeFailure {
  if (error instanceof RuntimeFailure) return error;
  const message = messageOf(error);
  const [, code = "", text = message] = /^([a-z-]+): (.*)$/s.exec(message) ?? [];
  return new RuntimeFailure(stages[code] ?? stage, text, { cause: error });
}

import { type Handlers, messageOf, RuntimeFailure } from "@crossrank/backend-kit/runtime";
import { operationNames } from "./graph/operations.js";
import {
  type Addon,
  type AddonBatch,
  type AddonModel,
  type AddonModelFacts,
  type AddonTraining,
  loadAddon,
} from "./native.js";
import type { Calls, FailureStage, LoadedModel, RunResult } from "./protocol.js";

/** MLX with one model. */
export class Runtime implements Handlers<Calls> {
  #model: AddonModel | undefined;
  #release: Promise<undefined> | undefined;

  diagnose(): LoadedModel {
    return factsOf(addon());
  }

  async load(facts: AddonModelFacts): Promise<LoadedModel> {
    const native = addon();
    try {
      this.#model = await native.load(facts);
      return factsOf(native);
    } catch (error) {
      throw failureOf(error, "model");
    }
  }

  run(batch: AddonBatch): Promise<RunResult> {
    return this.#ask((model) => model.run(batch));
  }

  train(facts: AddonTraining): Promise<undefined> {
    return this.#ask((model) => model.train(facts).then(() => undefined));
  }

  accumulate({ batch, wanted }: Calls["accumulate"]["argument"]): Promise<number> {
    return this.#ask((model) => model.accumulate(batch, wanted));
  }

  apply({ rate, clip }: Calls["apply"]["argument"]): Promise<number> {
    return this.#ask((model) => model.apply(rate, clip));
  }

  kept({ at, kept }: Calls["kept"]["argument"]): Promise<RunResult> {
    return this.#ask((model) => model.kept(at, kept));
  }

  keep({ at, kept, data }: Calls["keep"]["argument"]): Promise<undefined> {
    return this.#ask((model) => model.keep(at, kept, data).then(() => undefined));
  }

  setSteps(steps: number): Promise<undefined> {
    return this.#ask((model) => model.setSteps(steps).then(() => undefined));
  }

  async #ask<Result>(call: (model: AddonModel) => Promise<Result>): Promise<Result> {
    if (this.#model === undefined) throw new RuntimeFailure("run", "no model is loaded");
    try {
      return await call(this.#model);
    } catch (error) {
      throw failureOf(error, "run");
    }
  }

  release(): Promise<undefined> {
    this.#release ??= Promise.resolve(this.#model?.close()).then(() => undefined);
    return this.#release;
  }
}

function factsOf(native: Addon): LoadedModel {
  return { version: native.version(), onGpu: native.onGpu() };
}

function addon(): Addon {
  let native: Addon;
  try {
    native = loadAddon();
  } catch (cause) {
    throw new RuntimeFailure("runtime", messageOf(cause), { cause });
  }
  const [theirs, ours] = [native.operations().join(" "), operationNames.join(" ")];
  if (theirs !== ours) {
    throw new RuntimeFailure(
      "runtime",
      "the addon is of another version than its package: build or install it again",
    );
  }
  return native;
}

/** The addon's messages begin with a code. */
function failureOf(error: unknown, stage: FailureStage): RuntimeFailure {
  if (error instanceof RuntimeFailure) return error;
  const message = messageOf(error);
  const [, code = "", text = message] = /^([a-z-]+): (.*)$/s.exec(message) ?? [];
  return new RuntimeFailure(code === "out-of-memory" ? "memory" : stage, text, { cause: error });
}

import { batching, concurrency, independentRows, limits, padding, repetition, sessions } from "./batches.js";
import type { Check } from "./common.js";
import { ids, scores, truncation } from "./golden.js";
import {
  abort,
  artifact,
  capabilities,
  damaged,
  dispose,
  dtype,
  failures,
  leftovers,
  loads,
  outputs,
  settings,
} from "./session.js";

export type CheckName =
  | "loads"
  | "capabilities"
  | "settings"
  | "artifact"
  | "ids"
  | "truncation"
  | "scores"
  | "batching"
  | "independentRows"
  | "padding"
  | "limits"
  | "repetition"
  | "sessions"
  | "concurrency"
  | "abort"
  | "failures"
  | "dispose"
  | "leftovers"
  | "outputs"
  | "dtype"
  | "damaged"
  | "refusal";

interface CheckEntry {
  /** Test name: what must hold. */
  readonly title: string;
  readonly check: Check;
  /** Whether it looks at the golden cases one by one, so that single cases may deviate. */
  readonly byCase?: true;
}

/** In the order that they run. */
export const checks: Readonly<Record<Exclude<CheckName, "refusal">, CheckEntry>> = {
  loads: { title: "loads, and says what runs where", check: loads },
  capabilities: { title: "declares capabilities that make sense", check: capabilities },
  settings: { title: "declares its settings as a record of text", check: settings },
  artifact: { title: "names its files with their real sha256", check: artifact },
  ids: { title: "receives exactly the golden ids", check: ids, byCase: true },
  truncation: {
    title: "reports what was cut, and queries that leave no room",
    check: truncation,
    byCase: true,
  },
  scores: { title: "gives the golden logits and scores", check: scores, byCase: true },
  batching: { title: "scores alike alone, together, in any order, twice", check: batching },
  independentRows: {
    title: "scores a row alike among others, unless declared otherwise",
    check: independentRows,
  },
  padding: { title: "scores alike whatever the padding", check: padding },
  limits: { title: "keeps to every declared limit, at it and beyond", check: limits },
  repetition: { title: "gives the same numbers again", check: repetition },
  sessions: { title: "runs two sessions at once", check: sessions },
  concurrency: { title: "keeps concurrent runs and calls apart", check: concurrency },
  abort: { title: "aborts with the caller's reason, and goes on working", check: abort },
  failures: { title: "fails with a typed error from a run that cannot be", check: failures },
  dispose: { title: "can be disposed of twice, during a run, and loaded again", check: dispose },
  leftovers: { title: "leaves nothing alive behind", check: leftovers },
  outputs: { title: "gives an output as asked, or refuses it", check: outputs },
  dtype: { title: "never takes another precision in silence", check: dtype },
  damaged: { title: "refuses a damaged or missing artifact with a typed error", check: damaged },
};

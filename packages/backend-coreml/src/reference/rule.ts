import type { Call } from "./translation.js";

/** How one type of operation becomes nodes. The semantics are those of coremltools' own documentation of MIL's operations. */
export interface Rule {
  /** False for what only moves or selects numbers, so that nothing of theirs could be rounded. */
  readonly rounds: boolean;
  /** @returns names in the graph of what it makes, one an output. */
  translate(call: Call): string | readonly string[];
}

export type Rules = Readonly<Record<string, Rule>>;

export function computing(translate: Rule["translate"]): Rule {
  return { rounds: true, translate };
}

export function moving(translate: Rule["translate"]): Rule {
  return { rounds: false, translate };
}

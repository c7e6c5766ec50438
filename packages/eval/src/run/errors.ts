import { CrossrankError } from "@crossrank/core";

/** Scores of an earlier run that were made of something else: they cannot be continued. */
export class ScoreIdentityError extends CrossrankError<"score-identity"> {
  static override readonly code = "score-identity";

  readonly path: string;
  /** What differs, each as it was and as it is. */
  readonly differences: readonly { readonly what: string; readonly before: string; readonly now: string }[];

  constructor(facts: {
    path: string;
    differences: readonly { readonly what: string; readonly before: string; readonly now: string }[];
  }) {
    const list = facts.differences.map(({ what, before, now }) => `${what} was ${before} and is ${now}`);
    super(
      "score-identity",
      `The scores in ${facts.path} are of another run: ${list.join("; ")}. ` +
        "Take another folder, or score anew with the option `fresh`, which removes them.",
    );
    this.path = facts.path;
    this.differences = facts.differences;
  }
}

/** A file of stored scores or vectors that cannot be read on. */
export class ScoreStoreError extends CrossrankError<"score-store"> {
  static override readonly code = "score-store";

  readonly path: string;
  /** From 1; undefined where the file as a whole is meant. */
  readonly line: number | undefined;

  constructor(
    facts: { path: string; line?: number | undefined; problem: string; fix: string },
    options?: { cause?: unknown },
  ) {
    const place = facts.line === undefined ? facts.path : `${facts.path}:${facts.line}`;
    super("score-store", `${place} ${facts.problem}. ${facts.fix}`, options);
    this.path = facts.path;
    this.line = facts.line;
  }
}

/** A gate file with an entry that says nothing to us: a gate that was misspelt would pass for ever. */
export class GateRulesError extends CrossrankError<"gate-rules"> {
  static override readonly code = "gate-rules";

  /** Place in the file, e.g. `"systems.onnx:int8.margin"`. */
  readonly field: string;

  constructor(field: string, problem: string) {
    super("gate-rules", `The gate's ${field === "" ? "content" : field} ${problem}.`);
    this.field = field;
  }
}

/** A system gave a score that is no finite number. No metric is made of any of its scores. */
export class NonFiniteSystemScoreError extends CrossrankError<"non-finite-system-score"> {
  static override readonly code = "non-finite-system-score";

  readonly system: string;
  /** Ids; undefined where the text at fault is not a pair. */
  readonly query: string | undefined;
  readonly document: string | undefined;
  /** As text: `"NaN"`, `"Infinity"`, `"-Infinity"`. */
  readonly value: string;

  constructor(
    facts: { system: string; query?: string | undefined; document?: string | undefined; value: string },
    options?: { cause?: unknown },
  ) {
    const place = [
      ...(facts.document === undefined ? [] : [`document ${JSON.stringify(facts.document)}`]),
      ...(facts.query === undefined ? [] : [`query ${JSON.stringify(facts.query)}`]),
    ].join(" of ");
    super(
      "non-finite-system-score",
      `${facts.system} gave ${facts.value} for ${place || "a text"}. Nothing is computed from such scores: the artifact is ` +
        "damaged or overflows at this precision. Try fp32, and check the file's sha256.",
      options,
    );
    this.system = facts.system;
    this.query = facts.query;
    this.document = facts.document;
    this.value = facts.value;
  }
}

/** Nothing was asked that could be evaluated. */
export class EvaluationSetupError extends CrossrankError<"evaluation-setup"> {
  static override readonly code = "evaluation-setup";

  constructor(message: string) {
    super("evaluation-setup", message);
  }
}

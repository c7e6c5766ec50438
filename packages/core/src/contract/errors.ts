const marker = Symbol.for("crossrank.error");

/**
 * Base of every error that crossrank throws on purpose. Each subclass carries its facts as fields, and a
 * message that names the cause and the fix. An abort is not one of them: it rejects with the signal's own
 * reason, as `fetch` does.
 *
 * A subclass is identified by its `code`, a literal that minification cannot change: switch on `error.code`, or ask
 * `InvalidInputError.isInstance(error)`. `isInstance` also recognises errors of another copy of this package, which
 * `instanceof` does not.
 */
export class CrossrankError<Code extends string = string> extends Error {
  /** The code of the class, one for each class. A subclass declares its own. */
  static readonly code: string = "crossrank";

  /** Stable identifier for programs, e.g. `"invalid-input"`. */
  readonly code: Code;

  /** @param code the `code` of the class that is constructed. */
  constructor(code: Code, message: string, options?: { cause?: unknown }) {
    super(message, options);
    this.code = code;
    this.name = nameOf(code);
    Object.defineProperty(this, marker, { value: codesOf(new.target) });
  }

  static isInstance<Class extends abstract new (...facts: never[]) => unknown>(
    this: Class,
    value: unknown,
  ): value is InstanceType<Class> {
    const codes = typeof value === "object" && value !== null ? Reflect.get(value, marker) : undefined;
    // biome-ignore lint/complexity/noThisInStatic: the class that was asked is the point
    return Array.isArray(codes) && Object.hasOwn(this, "code") && codes.includes(Reflect.get(this, "code"));
  }
}

/** Codes of a class and of those that it extends, up to CrossrankError's. */
function codesOf(start: typeof CrossrankError): string[] {
  const codes: string[] = [];
  for (let current = start; current.prototype instanceof Error; current = Object.getPrototypeOf(current)) {
    if (Object.hasOwn(current, "code")) codes.push(current.code);
  }
  return codes;
}

/** `"invalid-input"` → `"InvalidInputError"`: the name in a stack trace, also where class names were minified. */
function nameOf(code: string): string {
  return `${code.replace(/(?:^|-)([a-z])/g, (_, letter: string) => letter.toUpperCase())}Error`;
}

/** The caller passed something that cannot be ranked: an empty query, a document without text, a bad option. */
export class InvalidInputError extends CrossrankError<"invalid-input"> {
  static override readonly code = "invalid-input";

  /** Where, as a path into the arguments, e.g. `"documents[3]"`. */
  readonly path: string;
  constructor(path: string, problem: string, options?: { cause?: unknown }) {
    super("invalid-input", `${path} ${problem}`, options);
    this.path = path;
  }
}

/** The model's files contradict each other, lack a fact, or describe something that crossrank does not support. */
export class ModelProfileError extends CrossrankError<"model-profile"> {
  static override readonly code = "model-profile";

  /** Model id or folder. */
  readonly model: string;
  /** The file at fault, relative to the model, where one is known. */
  readonly file: string | undefined;
  constructor(
    facts: { model: string; file?: string | undefined; problem: string; fix: string },
    options?: { cause?: unknown },
  ) {
    const place = facts.file === undefined ? facts.model : `${facts.model}: ${facts.file}`;
    super("model-profile", `${place}: ${facts.problem}. ${facts.fix}`, options);
    this.model = facts.model;
    this.file = facts.file;
  }
}

/** A file that the model needs is not there. */
export class ModelFileNotFoundError extends CrossrankError<"model-file-not-found"> {
  static override readonly code = "model-file-not-found";

  readonly model: string;
  /** The path or paths looked for, relative to the model. */
  readonly expected: readonly string[];
  /** What is there instead, as far as it helps. */
  readonly found: readonly string[];
  constructor(
    facts: { model: string; expected: readonly string[]; found?: readonly string[]; fix: string },
    options?: { cause?: unknown },
  ) {
    const found = facts.found ?? [];
    const there = found.length === 0 ? "" : ` There is: ${found.join(", ")}.`;
    super(
      "model-file-not-found",
      `${facts.model} has no ${facts.expected.join(" or ")}.${there} ${facts.fix}`,
      options,
    );
    this.model = facts.model;
    this.expected = facts.expected;
    this.found = found;
  }
}

/** The runtime could not open the model: corrupt or truncated file, unsupported operator, wrong inputs or outputs. */
export class ModelLoadError extends CrossrankError<"model-load"> {
  static override readonly code = "model-load";

  readonly model: string;
  readonly backend: string;
  /** The artifact file that failed, where one is known. */
  readonly file: string | undefined;
  constructor(
    facts: { model: string; backend: string; file?: string | undefined; problem: string; fix: string },
    options?: { cause?: unknown },
  ) {
    super(
      "model-load",
      `${facts.backend} cannot load ${facts.file ?? facts.model}: ${facts.problem}. ${facts.fix}`,
      options,
    );
    this.model = facts.model;
    this.backend = facts.backend;
    this.file = facts.file;
  }
}

/** Model and backend are both sound but do not go together; nothing was scored. */
export class IncompatibleModelError extends CrossrankError<"incompatible-model"> {
  static override readonly code = "incompatible-model";

  readonly model: string;
  readonly backend: string;
  /** The capability in question, e.g. `"family"` or `"output"`. */
  readonly capability: string;
  readonly wanted: string;
  readonly supported: readonly string[];
  constructor(facts: {
    model: string;
    backend: string;
    capability: string;
    wanted: string;
    supported: readonly string[];
  }) {
    super(
      "incompatible-model",
      `${facts.model} needs ${facts.capability} "${facts.wanted}", and backend ${facts.backend} offers ` +
        `${facts.supported.join(", ") || "none"}. Choose another backend for this model.`,
    );
    this.model = facts.model;
    this.backend = facts.backend;
    this.capability = facts.capability;
    this.wanted = facts.wanted;
    this.supported = facts.supported;
  }
}

/** The model loaded but did not behave like a reranker on the fixed probe pairs. */
export class ProbeFailedError extends CrossrankError<"probe-failed"> {
  static override readonly code = "probe-failed";

  readonly model: string;
  readonly backend: string;
  /** Logits seen on the probe pairs, in order. */
  readonly logits: readonly number[];
  constructor(facts: {
    model: string;
    backend: string;
    logits: readonly number[];
    problem: string;
    fix: string;
  }) {
    super("probe-failed", `${facts.model} on ${facts.backend}: ${facts.problem}. ${facts.fix}`);
    this.model = facts.model;
    this.backend = facts.backend;
    this.logits = facts.logits;
  }
}

/** The model returned NaN or an infinity for one sequence. The whole call fails: no ranking is made from it. */
export class NonFiniteScoreError extends CrossrankError<"non-finite-score"> {
  static override readonly code = "non-finite-score";

  /** Position of the pair in `documents` or `pairs`; -1 when it is the query of a bi-encoder. */
  readonly index: number;
  /** What the head read, as text (`"NaN"`, `"Infinity"`, `"-Infinity"`). */
  readonly value: string;
  constructor(facts: { index: number; value: number; model: string; backend: string; text: string }) {
    const place = facts.index < 0 ? "the query" : `pair ${facts.index}`;
    super(
      "non-finite-score",
      `${facts.model} on ${facts.backend} returned ${facts.value} for ${place} ` +
        `(${JSON.stringify(facts.text.slice(0, 60))}). The artifact is damaged or overflows at this precision; ` +
        "try dtype fp32, and check the file's sha256.",
    );
    this.index = facts.index;
    this.value = String(facts.value);
  }
}

/** The backend broke its contract or its runtime failed while running a batch. */
export class BackendRunError extends CrossrankError<"backend-run"> {
  static override readonly code = "backend-run";

  readonly backend: string;
  constructor(facts: { backend: string; problem: string }, options?: { cause?: unknown }) {
    super("backend-run", `${facts.backend}: ${facts.problem}`, options);
    this.backend = facts.backend;
  }
}

/** The reranker was disposed before or during the call. */
export class DisposedError extends CrossrankError<"disposed"> {
  static override readonly code = "disposed";

  constructor(what = "reranker") {
    super("disposed", `This ${what} was disposed. Create a new one; a disposed one cannot be used again.`);
  }
}

/** The reranker drains: it finishes the calls that it has, and takes no new ones. */
export class DrainingError extends CrossrankError<"draining"> {
  static override readonly code = "draining";

  constructor(what = "reranker") {
    super(
      "draining",
      `This ${what} drains and takes no new calls. Send the call to another one, or open one anew.`,
    );
  }
}

/** The backend was written for a version of the contract that this core does not have. */
export class UnsupportedSpecificationError extends CrossrankError<"unsupported-specification"> {
  static override readonly code = "unsupported-specification";

  readonly backend: string;
  /** What the backend says; undefined where it says nothing. */
  readonly found: string | undefined;
  readonly supported: readonly string[];
  constructor(facts: { backend: string; found: string | undefined; supported: readonly string[] }) {
    const found =
      facts.found === undefined ? "no specificationVersion" : `specificationVersion "${facts.found}"`;
    super(
      "unsupported-specification",
      `Backend ${facts.backend} has ${found}, and this core supports ${facts.supported.join(", ")}. ` +
        "Install versions of the backend and of @crossrank/core that belong together.",
    );
    this.backend = facts.backend;
    this.found = facts.found;
    this.supported = facts.supported;
  }
}

import { CrossrankError } from "@crossrank/core";
import type { Verification } from "@crossrank/core/verify";
import type { BatchUse } from "./batch-use.js";

/** A model cannot be written in a format: nobody's runtime computes it there, or we do not write it. */
export class UnsupportedConversionError extends CrossrankError<"unsupported-conversion"> {
  static override readonly code = "unsupported-conversion";

  /** Model id or folder. */
  readonly model: string;
  /** `"onnx"`, `"gguf"`, `"mnn"`, `"mlpackage"`, or `"description"` where the architecture itself is not known. */
  readonly format: string;
  /** What stands in the way, as a clause. */
  readonly problem: string;

  constructor(facts: { model: string; format: string; problem: string; fix: string }) {
    const target = facts.format === "description" ? "converted" : `converted to ${facts.format}`;
    super("unsupported-conversion", `${facts.model} cannot be ${target}: ${facts.problem}. ${facts.fix}`);
    this.model = facts.model;
    this.format = facts.format;
    this.problem = facts.problem;
  }
}

/** An artifact was written, and what it gives is not what its source gives. It was removed. */
export class ConversionNotFaithfulError extends CrossrankError<"conversion-not-faithful"> {
  static override readonly code = "conversion-not-faithful";

  /** Model id or folder. */
  readonly model: string;
  readonly format: string;
  readonly dtype: string;
  /** What it was held against: the source's weights, or the golden.json that the source brings. */
  readonly against: "source" | "golden.json";
  /** How its sequences were put into batches; undefined where the backend chose. */
  readonly batches: BatchUse | undefined;
  /** The backend that computed it. */
  readonly backend: string;
  /** By how much, and where. */
  readonly verification: Verification;

  constructor(facts: {
    model: string;
    format: string;
    dtype: string;
    against: "source" | "golden.json";
    batches?: BatchUse | undefined;
    /** Whether the artifact is held against its source by other backends as well. */
    isOneOfSeveral?: boolean | undefined;
    verification: Verification;
  }) {
    const { model, format, dtype, against, batches, isOneOfSeveral = false, verification } = facts;
    const backend = verification.backend.name;
    const problem =
      against === "source"
        ? `does not give what its weights give: ${verification.reason}`
        : `gives what its weights give, but not what its golden.json says: ${verification.reason}; the two are not of one model`;
    const how = [isOneOfSeveral ? `computed by ${backend}` : undefined, batches].filter(
      (one) => one !== undefined,
    );
    const where = how.length === 0 ? "" : ` (${how.join(", ")})`;
    super(
      "conversion-not-faithful",
      `${model} as ${format} ${dtype}${where} ${problem}. Nothing of it was kept.`,
    );
    this.model = model;
    this.format = format;
    this.dtype = dtype;
    this.against = against;
    this.batches = batches;
    this.backend = backend;
    this.verification = verification;
  }
}

/** A program of somebody else's that a format is written with is not there, or failed. */
export class ExternalConverterError extends CrossrankError<"external-converter"> {
  static override readonly code = "external-converter";

  /** E.g. `"MNN"`. */
  readonly converter: string;
  /** `missing`: it, or what it runs on, is not installed. `version`: it writes for another runtime. `failed`: it did. */
  readonly reason: "missing" | "version" | "failed";
  /** What it printed, the last megabyte; empty where it was not run. */
  readonly output: string;

  constructor(facts: {
    converter: string;
    reason: ExternalConverterError["reason"];
    problem: string;
    fix: string;
    output: string;
  }) {
    super("external-converter", `${facts.problem}. ${facts.fix}.`);
    this.converter = facts.converter;
    this.reason = facts.reason;
    this.output = facts.output;
  }
}

/** The source's weights are not what they were when the conversion began. */
export class SourceChangedError extends CrossrankError<"source-changed"> {
  static override readonly code = "source-changed";

  readonly model: string;
  /** Relative to the model. */
  readonly path: string;

  constructor(facts: { model: string; path: string }) {
    super(
      "source-changed",
      `${facts.model}: ${facts.path} was changed while it was converted. Convert it again; nothing was kept.`,
    );
    this.model = facts.model;
    this.path = facts.path;
  }
}

/** The output folder cannot take the artifact. Nothing in it was changed. */
export class OutputFolderError extends CrossrankError<"output-folder"> {
  static override readonly code = "output-folder";

  /** As it was given. */
  readonly output: string;
  /** The file or folder at fault. */
  readonly path: string;
  /**
   * `exists`: the artifact is there already. `conflict`: the folder holds another model. `busy`: another conversion
   * moves its files there. `system`: it cannot be written.
   */
  readonly reason: "exists" | "conflict" | "busy" | "system";

  constructor(
    facts: {
      output: string;
      path: string;
      reason: OutputFolderError["reason"];
      problem: string;
      fix: string;
    },
    options?: { cause?: unknown },
  ) {
    super(
      "output-folder",
      `cannot write to the folder ${facts.output}: ${facts.problem}. ${facts.fix}`,
      options,
    );
    this.output = facts.output;
    this.path = facts.path;
    this.reason = facts.reason;
  }
}

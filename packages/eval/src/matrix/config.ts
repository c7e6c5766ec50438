import type { TruncationStrategy } from "@crossrank/core";
import type { GateFile } from "../run/gate-rules.js";

/**
 * A matrix, as `crossrank ci` reads it from a file: every model on every task with every backend, less `exclude`, plus `include`. A model on a
 * task is one cell, whose backends are held against its reference. Paths are relative to the configuration's folder.
 */
export interface CrossrankConfig {
  /** Default `["nano"]`. */
  readonly models?: readonly (string | ModelEntry)[] | undefined;
  /**
   * With a precision as in `"onnx:int8"`. Also the path of a backend's file (`"./mine.mjs"`) or an npm package. Default
   * `["onnx"]`.
   */
  readonly backends?: readonly string[] | undefined;
  /** The backend that the others are held against. It runs in every cell. Default: the first of `backends`. */
  readonly reference?: string | undefined;
  readonly tasks: readonly (string | TaskEntry)[];
  /** The first one is gated. Default: nDCG@10, MRR@10, MAP, Recall@10. */
  readonly metrics?: readonly string[] | undefined;
  /**
   * A number is the loss of the first metric that is accepted, 0 to 1, and nothing else is judged; an object is what
   * `crossrank eval --gate FILE` reads; false judges nothing. Default `{}`: the bounds of each precision.
   */
  readonly gates?: Gates | undefined;
  /** Added after `exclude`. */
  readonly include?: readonly IncludeEntry[] | undefined;
  readonly exclude?: readonly ExcludeEntry[] | undefined;
  /** Folder of scores and reports. Default `"crossrank-report"`. */
  readonly report?: string | undefined;
  /** File that `--update-baseline` writes and every other run is compared with. Default: none. */
  readonly baseline?: string | undefined;
  /** Of everything that is drawn at random. Default 1. */
  readonly seed?: number | undefined;
}

export type Gates = number | false | GateFile;

/** Settings that are left out are the model's or the backend's own. */
export interface ModelEntry {
  /** A folder, a repository id, or `"nano"`, the embedded model. */
  readonly model: string;
  /** Unique. Default: the repository's id, or the folder's name. */
  readonly name?: string | undefined;
  /** In place of the configuration's. */
  readonly backends?: readonly string[] | undefined;
  /** In place of the configuration's. */
  readonly reference?: string | undefined;
  readonly revision?: string | undefined;
  /** Lock file that pins revision and hashes. */
  readonly lock?: string | undefined;
  /** Uses what is in the cache, downloads nothing. */
  readonly offline?: boolean | undefined;
  /**
   * The model whose configuration and tokenizer belong to an artifact that has none of its own: a folder, or a repository
   * id. Default: the `base_model` of its card.
   */
  readonly base?: string | undefined;
  /** Converts the weights of a model that has no file for the backend, once, into the cache. Default true. */
  readonly convert?: boolean | undefined;
  /** A crossrank.json whose facts override the model's own. */
  readonly profile?: string | undefined;
  /** Tokens. */
  readonly maxLength?: number | undefined;
  readonly truncation?: TruncationStrategy | undefined;
  /** Default `"truncate"`. `"chunk"` scores a document that is longer than the model by passages, with core's settings. */
  readonly longDocuments?: "truncate" | "chunk" | undefined;
  /** `""` for none. */
  readonly instruction?: string | undefined;
  readonly threads?: number | undefined;
  readonly workers?: number | undefined;
  /**
   * A small model before this one. Each backend then stands twice in a cell: by itself, and as
   * `"onnx:int8 after nano keep 30"`, which is held against the reference too. By that name gates and `exclude` know it.
   */
  readonly cascade?: CascadeEntry | undefined;
}

/** The first stage of a cascade. What is left out is the small model's or the backend's own, save threads and workers. */
export interface CascadeEntry {
  /** A folder, a repository id, or `"nano"`, the embedded model. */
  readonly model: string;
  /** How many documents of a query go on, 1 or more. */
  readonly keep: number;
  /** In the system's name. Default: the repository's id, or the folder's name, and the backend where one is named. */
  readonly name?: string | undefined;
  /** Of the small model. Default: the first of the command, as for models. */
  readonly backend?: string | undefined;
  /** Backends of the large model that stand behind it. Default: all of the cell. */
  readonly large?: readonly string[] | undefined;
  readonly revision?: string | undefined;
  readonly lock?: string | undefined;
  readonly base?: string | undefined;
  readonly convert?: boolean | undefined;
  readonly profile?: string | undefined;
  readonly maxLength?: number | undefined;
  readonly truncation?: TruncationStrategy | undefined;
  readonly threads?: number | undefined;
  readonly workers?: number | undefined;
}

export interface TaskEntry {
  /** A folder, or a dataset's id on the hub. */
  readonly task: string;
  /** Unique. Default: the dataset's id, or the folder's name. */
  readonly name?: string | undefined;
  readonly split?: string | undefined;
  readonly subset?: string | undefined;
  /** TREC run whose documents are scored, in place of the task's own. */
  readonly candidates?: string | undefined;
  /** Candidates of a query where BM25 finds them. Default 100. */
  readonly depth?: number | undefined;
  /** Searches the whole corpus; bi-encoders only. */
  readonly retrieve?: boolean | undefined;
  /** No document for a query of the same id (ArguAna, Quora). */
  readonly excludeIdenticalIds?: boolean | undefined;
  /** First n queries alone. */
  readonly limit?: number | undefined;
  /** In place of the configuration's. */
  readonly metrics?: readonly string[] | undefined;
  /** In place of the configuration's. */
  readonly gates?: Gates | undefined;
}

/** A cell, or backends for a cell that is there. */
export interface IncludeEntry {
  /** Name of one of `models`, or another model. */
  readonly model: string | ModelEntry;
  /** Name of one of `tasks`, or another task. */
  readonly task: string | TaskEntry;
  /** Default: the model's. */
  readonly backends?: readonly string[] | undefined;
}

/** Takes out what all of its entries name; at least one. One that takes out nothing is an error. */
export interface ExcludeEntry {
  /** Name of a model. */
  readonly model?: string | undefined;
  /** Name of a task. */
  readonly task?: string | undefined;
  /** Not a cell's reference, without which nothing could be compared. */
  readonly backend?: string | undefined;
}

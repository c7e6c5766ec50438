import type { ScorerChoices } from "../commands/score/scorer-options.js";
import type { SentError } from "../scoring-process.js";

/** Name of the hidden command that a worker's own process of the model runs. */
export const shardCommand = "shard-process";

export type ShardRequest =
  | { readonly ask: "open"; readonly choices: ScorerChoices; readonly files: readonly string[] }
  | { readonly ask: "shard"; readonly output: string; readonly shard: number; readonly id: string }
  | { readonly ask: "stop" }
  | { readonly ask: "close" };

/** A request and its number, which its answer has too: several may be under way. */
export type NumberedShardRequest = ShardRequest & { readonly number: number };

export type ShardReply = { readonly number: number } & (
  | { readonly reply: "done"; readonly value: unknown }
  | { readonly reply: "failed"; readonly error: SentError }
);

/** What a model's process says of its model. */
export interface OpenedShardModel {
  readonly fingerprint: string;
  /** For people. */
  readonly name: string;
}

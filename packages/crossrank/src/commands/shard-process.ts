import type { Command } from "commander";
import { shardCommand } from "../score/shard-protocol.js";

/** The other side of `openShardProcess`; not for people. */
export function addShardProcessCommand(program: Command): void {
  program
    .command(shardCommand, { hidden: true })
    .description("Runs the model of crossrank worker, which starts it.")
    .action(async () => {
      const { serveShards } = await import("../score/serve-shards.js");
      await serveShards();
    });
}

import type { Command } from "commander";
import { scoringCommand } from "../scoring-process.js";

/** The other side of `openScoringProcess`; not for people. */
export function addScoringProcessCommand(program: Command): void {
  program
    .command(scoringCommand, { hidden: true })
    .description("Runs one model for crossrank eval and compare, which start it.")
    .action(async () => {
      const { serve } = await import("../evaluation/serve-scoring.js");
      await serve();
    });
}

import { TrainingSetupError } from "../errors.js";
import type { Engine } from "../types.js";
import type { MlxEngineOptions } from "./mlx-engine.js";

export type { MlxEngineOptions } from "./mlx-engine.js";

/**
 * MLX, in a process of its own: on Apple Silicon on the GPU, elsewhere on the processor.
 *
 * @throws {TrainingSetupError} when @crossrank/backend-mlx does not start here; the message says what to do.
 */
export async function openMlxEngine(options: MlxEngineOptions = {}): Promise<Engine> {
  const { mlx } = await import("@crossrank/backend-mlx");
  const { available, detail } = await mlx().diagnose();
  if (!available)
    throw new TrainingSetupError({
      subject: "The engine mlx",
      problem: `does not start: ${detail.replace(/\.$/, "")}`,
      fix: "Install or build @crossrank/backend-mlx, or take the engine torch",
    });
  const { createMlxEngine } = await import("./mlx-engine.js");
  return createMlxEngine(options, !/no GPU/.test(detail));
}

import type { Backend, BatchPreference } from "@crossrank/core";

/** How sequences are put into batches: each by itself, or of different lengths together, with padding. */
export type BatchUse = "one row at a time" | "padded batches";

/** In the order in which they are to be tried: a runtime may be wrong in the second shape that it sees. */
export const batchUses: readonly BatchUse[] = ["one row at a time", "padded batches"];

const preferences: Readonly<Record<BatchUse, BatchPreference>> = {
  "one row at a time": { rows: 1, tokens: Number.MAX_SAFE_INTEGER, padding: 0 },
  // Whatever differs in length is padded. Long sequences stay alone: attention's memory grows with their square.
  "padded batches": { rows: 4, tokens: 2048, padding: 1 },
};

/** The same backend, whose sessions are asked for batches of this kind, one after the other. */
export function inBatches(backend: Backend, use: BatchUse): Backend {
  return {
    specificationVersion: backend.specificationVersion,
    name: backend.name,
    families: backend.families,
    diagnose: () => backend.diagnose(),
    async load(request) {
      const session = await backend.load(request);
      const dispose = (): Promise<void> => session.dispose();
      return {
        info: session.info,
        artifact: session.artifact,
        settings: session.settings,
        bounds: session.bounds,
        capabilities: {
          ...session.capabilities,
          batchPreference: preferences[use],
          // One batch at a time goes to the same session of the runtime each time.
          concurrentRuns: 1,
        },
        run: (batch, options) => session.run(batch, options),
        dispose,
        [Symbol.asyncDispose]: dispose,
      };
    },
  };
}

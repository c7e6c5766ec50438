import { availableParallelism } from "node:os";
import { defineConfig, type ViteUserConfig } from "vitest/config";

// One configuration for the whole repository; in a package's folder `vitest run` finds it and runs that package.
const config: ViteUserConfig = {
  test: {
    include: ["**/test/**/*.test.ts"],
    // One more than the processor has threads: many tests wait for a process, a timer or a server of their own.
    maxWorkers: availableParallelism() + 1,
    // Real runtimes on two shared cores: a slow machine must not look like a failure.
    testTimeout: 120_000,
    hookTimeout: 120_000,
  },
};

export default defineConfig(config) as ViteUserConfig;

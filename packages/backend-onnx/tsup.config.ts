import { defineConfig, type Options } from "tsup";

const config: Options = {
  // The worker is a file of its own beside index.js: index.js starts it by URL.
  entry: ["src/index.ts", "src/graph.ts", "src/worker.ts"],
  format: "esm",
  dts: { entry: ["src/index.ts", "src/graph.ts"] },
  clean: true,
  sourcemap: true,
  target: "es2022",
  platform: "node",
};

export default defineConfig(config) as Options;

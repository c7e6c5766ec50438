import { defineConfig, type Options } from "tsup";

const config: Options = {
  // A command, not a library: no types.
  entry: ["src/main.ts"],
  format: "esm",
  clean: true,
  sourcemap: true,
  target: "es2022",
  platform: "node",
};

export default defineConfig(config) as Options;

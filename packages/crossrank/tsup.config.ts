import { defineConfig, type Options } from "tsup";

const config: Options = {
  // The command, and what a configuration imports, which alone has types.
  entry: { main: "src/main.ts", config: "src/config/index.ts" },
  format: "esm",
  dts: { entry: { config: "src/config/index.ts" } },
  clean: true,
  sourcemap: true,
  target: "es2022",
  platform: "node",
};

export default defineConfig(config) as Options;

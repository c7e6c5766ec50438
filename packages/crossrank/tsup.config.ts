import { defineConfig, type Options } from "tsup";

const config: Options = {
  // The command, and the library, which alone has types.
  // `config` is what a configuration file imports: it loads nothing else.
  entry: { main: "src/main.ts", index: "src/index.ts", config: "src/config/index.ts" },
  format: "esm",
  dts: { entry: { index: "src/index.ts" } },
  clean: true,
  sourcemap: true,
  target: "es2022",
  platform: "node",
};

export default defineConfig(config) as Options;

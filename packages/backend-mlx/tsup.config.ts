import type { Options } from "tsup";
import { library } from "../../tsup.base.js";

const config: Options = library({
  // The child process is a file of its own beside index.js: index.js starts it by URL.
  entry: { index: "src/index.ts", training: "src/training/index.ts", worker: "src/worker.ts" },
  types: ["src/index.ts", "src/training/index.ts"],
});

export default config;

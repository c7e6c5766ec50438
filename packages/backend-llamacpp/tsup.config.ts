import type { Options } from "tsup";
import { library } from "../../tsup.base.js";

const config: Options = library({
  // The child process is a file of its own beside index.js: index.js starts it by URL. So is the one that it starts.
  entry: ["src/index.ts", "src/worker.ts", "src/binary-test.ts"],
  types: ["src/index.ts"],
});

export default config;

import type { Options } from "tsup";
import { library } from "../../tsup.base.js";

const config: Options = library({
  // The command, and the library, which alone has types.
  entry: ["src/index.ts", "src/main.ts"],
  types: ["src/index.ts"],
});

export default config;

import type { Options } from "tsup";
import { library } from "../../tsup.base.js";

const config: Options = library({
  // The command, and the library, which alone has types.
  // `config` is what a configuration file imports: it loads nothing else.
  // `pick` evaluates, which nobody who ranks has a use for.
  entry: {
    main: "src/main.ts",
    index: "src/index.ts",
    config: "src/config/index.ts",
    pick: "src/pick/index.ts",
  },
  types: ["src/index.ts", "src/pick/index.ts"],
});

export default config;

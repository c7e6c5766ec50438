import type { Options } from "tsup";
import { library } from "../../tsup.base.js";

const config: Options = library({
  entry: { index: "src/index.ts", scorer: "src/entries/scorer.ts" },
  noExternal: ["zod"],
});

export default config;

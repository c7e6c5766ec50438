import type { Options } from "tsup";
import { library } from "../../tsup.base.js";

const config: Options = library({
  entry: ["src/index.ts"],
  noExternal: ["zod"],
});

export default config;

import type { Options } from "tsup";
import { library } from "../../tsup.base.js";

const config: Options = library({
  entry: {
    index: "src/index.ts",
    encoding: "src/entries/encoding.ts",
    files: "src/entries/files.ts",
    half: "src/entries/half.ts",
    verify: "src/entries/verify.ts",
  },
  platform: "neutral",
  noExternal: ["zod"],
});

export default config;

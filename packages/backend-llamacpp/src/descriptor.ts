import type { BackendDescriptor } from "@crossrank/backend-kit";
import { artifactsAmong, ggufPaths } from "./artifact.js";
import { describe } from "./describe.js";
import { dtypes } from "./dtype.js";
import { llamacpp } from "./llamacpp.js";

/** This package's backends, as data. */
export const backends: readonly BackendDescriptor[] = [
  {
    name: "llamacpp",
    format: "gguf",
    families: ["cross-encoder", "bi-encoder", "causal-lm"],
    dtypes,
    artifacts: artifactsAmong,
    candidates: ggufPaths,
    describe,
    install: ["@crossrank/backend-llamacpp", "node-llama-cpp"],
    create: ({ threads, workers, file }) => llamacpp({ threads, contexts: workers, file }),
  },
];

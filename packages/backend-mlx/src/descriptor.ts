import type { BackendDescriptor } from "@crossrank/backend-kit";
import { artifactsAmong, weightPaths } from "./artifact.js";
import { describeWeights } from "./describe.js";
import { dtypes } from "./dtype.js";
import { mlx } from "./mlx.js";

/** This package's backends, as data. */
export const backends: readonly BackendDescriptor[] = [
  {
    name: "mlx",
    format: "safetensors",
    families: ["cross-encoder", "bi-encoder", "causal-lm", "listwise", "late-interaction"],
    dtypes,
    artifacts: artifactsAmong,
    candidates: weightPaths,
    describe: describeWeights,
    install: ["@crossrank/backend-mlx"],
    // What a model computes is read by it.
    alsoUses: ["@crossrank/convert"],
    onlyByName: "is the model's own weights, of which every format is made",
    create: ({ threads, file }) => mlx({ threads, file }),
  },
];

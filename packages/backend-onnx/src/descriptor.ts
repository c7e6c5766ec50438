import type { BackendDescriptor } from "@crossrank/backend-kit";
import { describe } from "./describe.js";
import { dtypes } from "./dtype.js";
import { onnx } from "./onnx.js";
import { artifactsAmong, onnxPaths } from "./published-names.js";
import { thisProcessor } from "./this-processor.js";

/** This package's backends, as data. */
export const backends: readonly BackendDescriptor[] = [
  {
    name: "onnx",
    format: "onnx",
    families: ["cross-encoder", "bi-encoder", "causal-lm", "listwise", "late-interaction"],
    dtypes,
    artifacts: (paths) => artifactsAmong(paths, thisProcessor()),
    candidates: onnxPaths,
    describe,
    install: ["@crossrank/backend-onnx"],
    create: ({ threads, workers, file }) => onnx({ threads, workers, file }),
  },
];

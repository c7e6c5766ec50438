import type { BackendDescriptor } from "@crossrank/backend-kit";
import { artifactsAmong, onnxPaths } from "./artifact.js";
import { dtypes } from "./dtype.js";
import { onnx } from "./onnx.js";

/** This package's backends, as data. */
export const backends: readonly BackendDescriptor[] = [
  {
    name: "onnx",
    format: "onnx",
    families: ["cross-encoder", "bi-encoder", "causal-lm", "listwise"],
    dtypes,
    artifacts: artifactsAmong,
    candidates: onnxPaths,
    install: ["@crossrank/backend-onnx"],
    create: ({ threads, workers, file }) => onnx({ threads, workers, file }),
  },
];

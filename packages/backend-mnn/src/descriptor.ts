import type { BackendDescriptor } from "@crossrank/backend-kit";
import { artifactsAmong, mnnPaths } from "./artifact.js";
import { dtypes } from "./dtype.js";
import { mnn } from "./mnn.js";

/** This package's backends, as data. */
export const backends: readonly BackendDescriptor[] = [
  {
    name: "mnn",
    format: "mnn",
    families: ["cross-encoder", "bi-encoder", "late-interaction"],
    dtypes,
    artifacts: artifactsAmong,
    candidates: mnnPaths,
    install: ["@crossrank/backend-mnn"],
    create: ({ threads, workers, file }) => mnn({ threads, sessions: workers, file }),
  },
];

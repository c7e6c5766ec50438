import { type BackendDescriptor, BackendNotInstalledError } from "@crossrank/backend-kit";
import type { Backend } from "@crossrank/core";
import { artifactsAmong, packagePaths } from "./artifact.js";
import { coreml } from "./coreml.js";
import { dtypes } from "./dtype.js";
import type { Arithmetic } from "./reference/translation.js";

const format = {
  format: "mlpackage",
  families: ["cross-encoder", "bi-encoder"],
  dtypes,
  artifacts: artifactsAmong,
  candidates: packagePaths,
} as const satisfies Partial<BackendDescriptor>;

const ownPackage = "@crossrank/backend-coreml";
const onnxPackage = "@crossrank/backend-onnx";

/** This package's backends, as data: Core ML, and the two that compute its packages without it. */
export const backends: readonly BackendDescriptor[] = [
  {
    ...format,
    name: "coreml",
    install: [ownPackage],
    only: {
      platform: "darwin",
      elsewhere:
        "Core ML is on macOS only; coreml:reference computes the same package here, in ONNX Runtime, to judge it",
    },
    // Core ML chooses its own threads.
    create: ({ file }) => coreml({ file }),
  },
  referenceDescriptor("coreml:reference", "single"),
  referenceDescriptor("coreml:reference-half", "half"),
];

function referenceDescriptor(name: string, arithmetic: Arithmetic): BackendDescriptor {
  const install = [ownPackage, onnxPackage];
  return {
    ...format,
    name,
    install,
    alsoUses: [onnxPackage],
    isReference: true,
    create: async ({ threads, workers, file }): Promise<Backend> => {
      const { onnx } = await import("@crossrank/backend-onnx").catch((cause: NodeJS.ErrnoException) => {
        // Only the package itself: a file that is missing inside it is another fault, with another remedy.
        const isMissing = cause.code === "ERR_MODULE_NOT_FOUND" && cause.message.includes(`'${onnxPackage}'`);
        throw isMissing ? new BackendNotInstalledError({ backend: name, install }, { cause }) : cause;
      });
      return coreml({ file, reference: { backend: onnx({ threads, workers }), arithmetic } });
    },
  };
}

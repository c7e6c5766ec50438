import type { BackendDescriptor } from "./registry.js";

type CoreMl = typeof import("@crossrank/backend-coreml");

/** Core ML's descriptors, for as long as its package exports none itself. Its index tells everything else. */
export function coremlDescriptors({
  artifactPaths,
  coreml,
  dtypes,
  lengthPaths,
}: CoreMl): BackendDescriptor[] {
  const candidates = (paths: readonly string[]): readonly string[] => [
    ...new Set(paths.flatMap((path) => /^(.*?\.mlpackage)\//.exec(path)?.[1] ?? [])),
  ];
  const facts = {
    format: "mlpackage",
    families: ["cross-encoder", "bi-encoder"],
    dtypes,
    artifacts: (paths) => {
      const packages = candidates(paths);
      return dtypes.flatMap((dtype) => {
        const path = artifactPaths(dtype).find((candidate) => packages.includes(candidate));
        const found = path === undefined ? lengthPaths(dtype, packages) : [path];
        return found.map((one) => ({ dtype, path: one }));
      });
    },
    candidates,
  } satisfies Partial<BackendDescriptor>;
  const reference = (name: string, arithmetic: "single" | "half"): BackendDescriptor => ({
    ...facts,
    name,
    install: ["@crossrank/backend-coreml", "@crossrank/backend-onnx"],
    alsoUses: ["@crossrank/backend-onnx"],
    isReference: true,
    create: async ({ threads, workers, file }) => {
      const { onnx } = await import("@crossrank/backend-onnx");
      return coreml({ file, reference: { backend: onnx({ threads, workers }), arithmetic } });
    },
  });
  return [
    {
      ...facts,
      name: "coreml",
      install: ["@crossrank/backend-coreml"],
      only: {
        platform: "darwin",
        elsewhere:
          "Core ML is on macOS only; coreml:reference computes the same package in ONNX Runtime, to judge it",
      },
      // Core ML chooses its own threads.
      create: ({ file }) => coreml({ file }),
    },
    reference("coreml:reference", "single"),
    reference("coreml:reference-half", "half"),
  ];
}

// What an application needs is the first line, and with `output: "standalone"` the includes. The rest lets this
// example build in several ways beside each other.
const bundled = process.env.NEXT_BUNDLED !== undefined;

/** @type {import("next").NextConfig} */
export default {
  serverExternalPackages: bundled ? [] : ["crossrank"],
  ...(process.env.NEXT_STANDALONE === undefined
    ? {}
    : {
        output: "standalone",
        outputFileTracingIncludes: {
          "/*": [
            "node_modules/crossrank/**",
            "node_modules/@crossrank/**",
            "node_modules/onnxruntime-common/**",
          ],
        },
      }),
  distDir: process.env.NEXT_DIST ?? ".next",
  turbopack: { root: import.meta.dirname },
  outputFileTracingRoot: import.meta.dirname,
};

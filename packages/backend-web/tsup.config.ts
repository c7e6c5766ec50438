import type { Options } from "tsup";
import { library } from "../../tsup.base.js";

const shared = library({
  // The worker is a file of its own beside index.js: index.js starts it by URL.
  entry: ["src/index.ts", "src/worker.ts", "src/files.ts", "src/web-files.ts"],
  types: ["src/index.ts", "src/worker.ts", "src/files.ts"],
  // The rules of backend-onnx and its kin are compiled in: a page has no use for their packages, nor for what they
  // install. Of Node's modules those that nothing here uses fall away with the code that does.
  noExternal: [
    "@crossrank/backend-kit",
    "@crossrank/backend-onnx",
    "@crossrank/disk",
    "@crossrank/formats",
    "@crossrank/hub",
    "@bufbuild/protobuf",
  ],
});

const config: Options = {
  ...shared,
  // Each of them runs somewhere else: a worker that shares a file with the page would load what only the page needs.
  splitting: false,
  // Of the hub only its reading of folders is compiled in, which needs nothing of its client.
  esbuildPlugins: [
    ...(shared.esbuildPlugins ?? []),
    {
      name: "no client of the hub",
      setup: (build) =>
        build.onResolve({ filter: /^@huggingface\/hub$/ }, ({ path }) => ({
          path,
          external: true,
          sideEffects: false,
        })),
    },
  ],
  esbuildOptions: (options) => {
    options.logOverride = { "ignored-bare-import": "silent" };
  },
};

export default config;

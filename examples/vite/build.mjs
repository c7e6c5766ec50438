import { build } from "vite";

const shared = { configFile: false, logLevel: "warn" };
const output = (file) => ({
  ssr: "rank.mjs",
  target: "node20",
  outDir: "out",
  emptyOutDir: false,
  rollupOptions: { output: { entryFileNames: file } },
});
// Vite leaves packages out of what it builds for Node by itself.
await build({ ...shared, build: output("external.mjs") });
// With `noExternal` they are in it; then `external` keeps crossrank out.
await build({ ...shared, ssr: { noExternal: true, external: ["crossrank"] }, build: output("named.mjs") });
await build({ ...shared, ssr: { noExternal: true }, build: output("bundle.mjs") });

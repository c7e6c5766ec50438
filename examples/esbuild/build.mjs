import { build } from "esbuild";

const node = { bundle: true, platform: "node", target: "node20", logLevel: "warning" };
// The way to go: crossrank stays in node_modules.
await build({
  ...node,
  entryPoints: ["rank.mjs"],
  format: "esm",
  packages: "external",
  outfile: "out/external.mjs",
});
await build({
  ...node,
  entryPoints: ["rank.mjs"],
  format: "esm",
  outfile: "out/named.mjs",
  external: ["crossrank"],
});
// Everything in one file works too, as long as node_modules is there at run time.
await build({ ...node, entryPoints: ["rank.mjs"], format: "esm", outfile: "out/bundle.mjs" });
await build({ ...node, entryPoints: ["use.cjs"], format: "cjs", outfile: "out/bundle.cjs" });
await build({ ...node, entryPoints: ["use.cjs"], format: "cjs", outfile: "out/minified.cjs", minify: true });

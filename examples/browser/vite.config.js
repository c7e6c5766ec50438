import { defineConfig } from "vite";

// What the page needs to have threads in WebAssembly: it shares memory with nobody else.
const headers = {
  "Cross-Origin-Opener-Policy": "same-origin",
  "Cross-Origin-Embedder-Policy": "require-corp",
};

export default defineConfig({
  // Addresses relative to the page: it may lie in any folder of a site.
  base: "./",
  build: { target: "es2022", chunkSizeWarningLimit: 1000 },
  worker: { format: "es" },
  // In development Vite packs dependencies into one file, where a worker beside it is not found.
  optimizeDeps: { exclude: ["@crossrank/backend-web", "onnxruntime-web"] },
  server: { headers },
  preview: { headers },
});

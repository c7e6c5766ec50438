import type { WasmPaths, WebOptions } from "./options.js";
import type { Environment } from "./protocol.js";

/** ONNX Runtime's own choice: hyperthreads and the page's thread gain nothing. */
const usualThreads = 4;

/** Whether threads can share memory here: the page is cross-origin isolated. */
export function isIsolated(): boolean {
  return globalThis.crossOriginIsolated === true;
}

/** Threads that compute: one without cross-origin isolation, whatever was asked for. */
export function chooseThreads(asked: number | undefined, isolated: boolean, processors: number): number {
  if (!isolated) return 1;
  return asked ?? Math.min(usualThreads, Math.max(1, Math.ceil(processors / 2)));
}

/** What the worker has to know of this page and of the options. */
export function environmentFor(options: WebOptions): Environment {
  return {
    executionProvider: options.executionProvider ?? "wasm",
    threads: chooseThreads(options.threads, isIsolated(), globalThis.navigator?.hardwareConcurrency ?? 1),
    wasmPaths: absolutePaths(options.wasmPaths),
  };
}

/** A worker's script may lie elsewhere than the page, so that a relative path would mean another place there. */
function absolutePaths(paths: WasmPaths | undefined): Environment["wasmPaths"] {
  if (paths === undefined) return undefined;
  const base = globalThis.document?.baseURI ?? globalThis.location?.href;
  const absolute = (path: string): string => new URL(path, base).href;
  if (typeof paths === "string") return absolute(paths.endsWith("/") ? paths : `${paths}/`);
  const { wasm, mjs } = paths;
  return {
    ...(wasm === undefined ? {} : { wasm: absolute(wasm) }),
    ...(mjs === undefined ? {} : { mjs: absolute(mjs) }),
  };
}

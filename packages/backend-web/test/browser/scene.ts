import { createReadStream } from "node:fs";
import { readdir, stat } from "node:fs/promises";
import { createServer, type IncomingMessage, type ServerResponse } from "node:http";
import { createRequire } from "node:module";
import type { AddressInfo } from "node:net";
import { dirname, extname, join, sep } from "node:path";
import { fileURLToPath } from "node:url";
import type { ModelFile } from "@crossrank/core";
import { modelFolder } from "@crossrank/model-nano";
import chromium from "@sparticuz/chromium";
import { build } from "esbuild";
import { type Browser, type Page, chromium as playwright } from "playwright-core";
import type { CrossrankPage } from "./page.js";

declare global {
  var crossrank: CrossrankPage;
}

const packageFolder = fileURLToPath(new URL("../..", import.meta.url));
const fixtures = fileURLToPath(new URL("../../../conformance/fixtures", import.meta.url));
const library = dirname(createRequire(import.meta.url).resolve("onnxruntime-web"));

/**
 * What the page, the worker and onnxruntime-web become where esbuild bundles them: with the library in files of its own,
 * and `single/worker.js`, which holds it.
 */
async function bundle(): Promise<ReadonlyMap<string, string>> {
  const worker = join(packageFolder, "dist/worker.js");
  const parts = await Promise.all([
    bundled({ page: join(packageFolder, "test/browser/page.ts"), worker }, true),
    bundled({ "single/worker": worker }, false),
  ]);
  return new Map(parts.flat());
}

async function bundled(
  entryPoints: Readonly<Record<string, string>>,
  splitting: boolean,
): Promise<readonly (readonly [path: string, text: string])[]> {
  const { outputFiles } = await build({
    entryPoints: { ...entryPoints },
    bundle: true,
    splitting,
    format: "esm",
    platform: "browser",
    outdir: packageFolder,
    write: false,
    logLevel: "error",
  });
  return outputFiles.map(({ path, text }) => [`/${path.slice(packageFolder.length)}`, text] as const);
}

/** Of a Chromium that computes WebGPU on the processor. */
export const gpuArguments = [
  "--enable-unsafe-webgpu",
  "--use-webgpu-adapter=swiftshader",
  "--enable-features=Vulkan",
] as const;

const types: Readonly<Record<string, string>> = {
  ".html": "text/html",
  ".js": "text/javascript",
  ".mjs": "text/javascript",
  ".json": "application/json",
  ".wasm": "application/wasm",
};

/** Answers instead of the usual files, for tests of servers that are not as they should be. */
export type Answer = (request: IncomingMessage, response: ServerResponse) => void;

export interface Scene {
  readonly browser: Browser;
  /** Of a page that is cross-origin isolated, and of one that is not. */
  readonly isolated: string;
  readonly plain: string;
  /** By path, for both. */
  readonly answers: Map<string, Answer>;
  /** Folders of this machine, by the first step of a path. */
  readonly folders: Map<string, string>;
  /** Paths that were asked for. */
  readonly requests: string[];
  open(url: string): Promise<Page>;
  close(): Promise<void>;
}

/** A browser, and two servers on this machine that give out the page, the fixtures and nano. */
export async function openScene(...args: readonly string[]): Promise<Scene> {
  const scripts = await bundle();
  const answers = new Map<string, Answer>();
  const folders = new Map([
    ["fixtures", fixtures],
    ["nano", modelFolder],
  ]);
  const requests: string[] = [];
  const serve = (isIsolated: boolean) =>
    createServer(async (request, response) => {
      const path = decodeURIComponent(new URL(request.url ?? "/", "http://localhost").pathname);
      requests.push(path);
      if (isIsolated) {
        response.setHeader("Cross-Origin-Opener-Policy", "same-origin");
        response.setHeader("Cross-Origin-Embedder-Policy", "require-corp");
      }
      // Nothing but what the page's own origin gives out, and WebAssembly.
      response.setHeader(
        "Content-Security-Policy",
        "default-src 'none'; script-src 'self' 'wasm-unsafe-eval'; worker-src 'self'; connect-src 'self'",
      );
      const answer = answers.get(path);
      if (answer !== undefined) return answer(request, response);
      response.setHeader("Content-Type", types[extname(path)] ?? "application/octet-stream");
      if (path === "/index.html") {
        response.end('<!doctype html><meta charset="utf-8"><script type="module" src="/page.js"></script>');
        return;
      }
      const text = scripts.get(path);
      if (text !== undefined) return response.end(text);
      const file = fileAt(path, folders);
      const found = file === undefined ? undefined : await stat(file).catch(() => undefined);
      if (file === undefined || !found?.isFile()) {
        response.statusCode = 404;
        return response.end();
      }
      response.setHeader("Content-Length", found.size);
      response.setHeader("Cache-Control", "max-age=600");
      createReadStream(file).pipe(response);
    });
  const servers = [serve(true), serve(false)];
  const addresses = await Promise.all(
    servers.map(
      (server) =>
        new Promise<string>((resolve) => {
          server.listen(0, "127.0.0.1", () =>
            resolve(`http://127.0.0.1:${(server.address() as AddressInfo).port}/index.html`),
          );
        }),
    ),
  );
  const browser = await playwright.launch({
    executablePath: await chromium.executablePath(),
    // Root, as in a container, has no sandbox.
    args: ["--no-sandbox", "--disable-dev-shm-usage", "--disable-gpu", ...args],
    headless: true,
  });
  return {
    browser,
    isolated: addresses[0] as string,
    plain: addresses[1] as string,
    answers,
    folders,
    requests,
    async open(url) {
      const page = await browser.newPage();
      await page.goto(url);
      await page.waitForFunction("globalThis.crossrank !== undefined");
      return page;
    },
    async close() {
      await browser.close();
      for (const server of servers) {
        server.closeAllConnections();
        server.close();
      }
    },
  };
}

function fileAt(path: string, folders: ReadonlyMap<string, string>): string | undefined {
  if (path.includes("..")) return undefined;
  const [, first = "", ...rest] = path.split("/");
  const folder = folders.get(first);
  if (folder !== undefined) return join(folder, ...rest);
  // Beside the script that holds the library, wherever that is.
  const name = path.slice(path.lastIndexOf("/") + 1);
  return name.startsWith("ort-") && !path.startsWith("/nowhere/") ? join(library, name) : undefined;
}

/** The files of a folder, as a page is told of them. */
export async function listFolder(folder: string): Promise<readonly ModelFile[]> {
  const files: ModelFile[] = [];
  for (const path of await readdir(folder, { recursive: true })) {
    const found = await stat(join(folder, path));
    if (found.isFile()) files.push({ path: path.split(sep).join("/"), size: found.size });
  }
  return files;
}

export const fixtureFolder = (name: string): string => join(fixtures, name);
export { modelFolder };

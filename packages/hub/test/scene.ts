import { mkdtemp, readdir, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, vi } from "vitest";
import type { OpenModelOptions, RetryPolicy } from "../src/index.js";
import { gitFile, type HubServer, lfsFile, noise, type Repository, startHub } from "./hub-server.js";

export const commit = "0123456789abcdef0123456789abcdef01234567";
export const model = "acme/reranker";
export const weights: Buffer = noise(300_000);
export const config: Buffer = Buffer.from('{"model_type":"bert"}\n');

export const repository: Repository = {
  id: model,
  commit,
  revisions: ["main", "v1", "refs/pr/1"],
  files: {
    "config.json": gitFile(config),
    "tokenizer.json": lfsFile('{"version":"1.0"}'),
    "onnx/model.onnx": lfsFile(weights),
    "onnx/model_int8.onnx": lfsFile(noise(70_000, 2)),
    "README.md": gitFile("# A model\n"),
    "empty.txt": gitFile(""),
    "odd names/a b#c%25.txt": gitFile("odd"),
  },
};

/** Quick retries, and nothing else changed. */
export const quick: Partial<RetryPolicy> = { delay: 1 };

const variables = [
  "HF_ENDPOINT",
  "HF_HOME",
  "HF_HUB_CACHE",
  "HF_HUB_DISABLE_IMPLICIT_TOKEN",
  "HF_HUB_DISABLE_SYMLINKS",
  "HF_HUB_OFFLINE",
  "HF_TOKEN",
  "HF_TOKEN_PATH",
  "ALL_PROXY",
  "HTTPS_PROXY",
  "HTTP_PROXY",
  "NO_PROXY",
  "all_proxy",
  "http_proxy",
  "https_proxy",
  "no_proxy",
  "HUGGINGFACE_HUB_CACHE",
  "HUGGING_FACE_HUB_TOKEN",
  "TRANSFORMERS_OFFLINE",
  "XDG_CACHE_HOME",
];

export interface Scene {
  readonly hub: HubServer;
  /** An empty folder of this test's own. */
  readonly folder: string;
  readonly cacheFolder: string;
  /** The model's folder in the cache. */
  readonly modelFolder: string;
  readonly options: OpenModelOptions;
}

/** A hub, an empty cache, and an environment without any of the hub's variables, anew for every test. */
export function useScene(...repositories: Repository[]): Scene {
  let scene: Scene | undefined;
  beforeEach(async () => {
    const folder = await mkdtemp(join(tmpdir(), "crossrank-hub-"));
    for (const name of variables) vi.stubEnv(name, undefined);
    vi.stubEnv("HOME", folder);
    const hub = await startHub(...(repositories.length > 0 ? repositories : [repository]));
    const cacheFolder = join(folder, "cache");
    scene = {
      hub,
      folder,
      cacheFolder,
      modelFolder: join(cacheFolder, "models--acme--reranker"),
      options: { endpoint: hub.endpoint, cacheFolder, retry: quick },
    };
  });
  afterEach(async () => {
    vi.unstubAllEnvs();
    await scene?.hub[Symbol.asyncDispose]();
    if (scene !== undefined) await rm(scene.folder, { recursive: true });
  });
  return new Proxy({} as Scene, {
    get: (_, name) => Reflect.get(scene ?? {}, name),
  });
}

/** What a promise rejects with. */
export async function failureOf(promise: Promise<unknown>): Promise<unknown> {
  try {
    await promise;
  } catch (error) {
    return error;
  }
  throw new Error("did not fail");
}

export async function namesIn(folder: string): Promise<string[]> {
  return (await readdir(folder)).sort();
}

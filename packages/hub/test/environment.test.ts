import { mkdir, stat, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { describe, expect, it, vi } from "vitest";
import { openModel, readEnvironment } from "../src/index.js";
import { commit, model, useScene } from "./scene.js";

const scene = useScene();

describe("the environment", () => {
  const home = "/home/someone";

  it.each([
    [{}, "/home/someone/.cache/huggingface/hub"],
    [{ XDG_CACHE_HOME: "/xdg" }, "/xdg/huggingface/hub"],
    [{ XDG_CACHE_HOME: "/xdg", HF_HOME: "~/hf" }, "/home/someone/hf/hub"],
    [{ HF_HOME: "/hf" }, "/hf/hub"],
    [{ HF_HOME: "" }, "/home/someone/.cache/huggingface/hub"],
    [{ HF_HOME: "/hf", HUGGINGFACE_HUB_CACHE: "/old" }, "/old"],
    [{ HF_HOME: "/hf", HUGGINGFACE_HUB_CACHE: "/old", HF_HUB_CACHE: "/new" }, "/new"],
    // biome-ignore lint/suspicious/noTemplateCurlyInString: a shell's variable, not a template
    [{ HF_HUB_CACHE: "~/$PROJECT/${PROJECT}/$UNKNOWN", PROJECT: "p" }, "/home/someone/p/p/$UNKNOWN"],
  ])("%j gives the cache folder %s", async (variables, cacheFolder) => {
    expect((await readEnvironment({ HOME: home, ...variables })).cacheFolder).toBe(cacheFolder);
  });

  it.each([
    [undefined, "https://huggingface.co"],
    ["https://mirror.example/", "https://mirror.example"],
    ["https://mirror.example/hub//", "https://mirror.example/hub"],
  ])("HF_ENDPOINT %j gives %s", async (value, endpoint) => {
    expect((await readEnvironment({ HOME: home, HF_ENDPOINT: value })).endpoint).toBe(endpoint);
  });

  it.each([
    [{ HF_HUB_OFFLINE: "1" }, true],
    [{ HF_HUB_OFFLINE: "yes" }, true],
    [{ HF_HUB_OFFLINE: "True" }, true],
    [{ HF_HUB_OFFLINE: "on" }, true],
    [{ HF_HUB_OFFLINE: "0" }, false],
    [{ HF_HUB_OFFLINE: "y" }, false],
    [{}, false],
    [{ TRANSFORMERS_OFFLINE: "1" }, true],
    [{ HF_HUB_OFFLINE: "0", TRANSFORMERS_OFFLINE: "1" }, false],
  ])("%j means offline: %s", async (variables, offline) => {
    expect((await readEnvironment({ HOME: home, ...variables })).offline).toBe(offline);
  });

  it("gives the token by precedence, trimmed", async () => {
    const files = { HOME: scene.folder, HF_HOME: scene.folder, HF_TOKEN_PATH: join(scene.folder, "other") };
    await writeFile(join(scene.folder, "token"), " from-home \n");
    await writeFile(join(scene.folder, "other"), "from-path\r\n");
    const tokenOf = async (variables: Record<string, string>): Promise<string | undefined> =>
      (await readEnvironment(variables)).token;
    expect(await tokenOf({ HOME: scene.folder, HF_HOME: scene.folder })).toBe("from-home");
    expect(await tokenOf(files)).toBe("from-path");
    expect(await tokenOf({ ...files, HUGGING_FACE_HUB_TOKEN: "old" })).toBe("old");
    expect(await tokenOf({ ...files, HUGGING_FACE_HUB_TOKEN: "old", HF_TOKEN: "new\n" })).toBe("new");
    expect(await tokenOf({ ...files, HF_HUB_DISABLE_IMPLICIT_TOKEN: "1" })).toBeUndefined();
    expect(await tokenOf({ HOME: join(scene.folder, "empty") })).toBeUndefined();
  });
});

describe("openModel", () => {
  it("takes endpoint, cache and token from the environment", async () => {
    vi.stubEnv("HF_ENDPOINT", `${scene.hub.endpoint}/`);
    vi.stubEnv("HF_HOME", "~/hf");
    await mkdir(join(scene.folder, "hf"));
    await writeFile(join(scene.folder, "hf", "token"), "from-file\n");
    const path = await (await openModel(model)).localPath("config.json");
    expect(path).toBe(
      join(scene.folder, "hf", "hub", "models--acme--reranker", "snapshots", commit, "config.json"),
    );
    expect(scene.hub.log[0]?.authorization).toBe("Bearer from-file");
  });

  it("puts HF_HUB_CACHE before HF_HOME, and its options before both", async () => {
    vi.stubEnv("HF_ENDPOINT", "http://127.0.0.1:1");
    vi.stubEnv("HF_HOME", join(scene.folder, "hf"));
    vi.stubEnv("HF_HUB_CACHE", join(scene.folder, "hub-cache"));
    vi.stubEnv("HF_TOKEN", "from-environment");
    const { endpoint } = scene.hub;
    await (await openModel(model, { endpoint })).localPath("config.json");
    expect((await stat(join(scene.folder, "hub-cache", "models--acme--reranker"))).isDirectory()).toBe(true);
    await (await openModel(model, { ...scene.options, token: "" })).localPath("config.json");
    expect((await stat(scene.modelFolder)).isDirectory()).toBe(true);
    expect(scene.hub.log[0]?.authorization).toBe("Bearer from-environment");
    expect(scene.hub.log.at(-1)?.authorization).toBeUndefined();
  });
});

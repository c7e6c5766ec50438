import { mkdir, symlink, writeFile } from "node:fs/promises";
import { join, relative } from "node:path";
import {
  type Backend,
  createFallbackReranker,
  InvalidInputError,
  ModelFileNotFoundError,
} from "@crossrank/core";
import { describe, expect, it } from "vitest";
import { isFolderSource, openFolder, openModel, UnsafePathError } from "../src/index.js";
import { commit, failureOf, model, useScene } from "./scene.js";

const scene = useScene();

async function writeModel(): Promise<string> {
  const folder = join(scene.folder, "model");
  for (const inner of ["onnx", ".git", "node_modules/x"])
    await mkdir(join(folder, inner), { recursive: true });
  await writeFile(join(folder, "config.json"), '{"a":1}');
  await writeFile(join(folder, "onnx/model.onnx"), "weights");
  await writeFile(join(folder, ".git/config"), "no");
  await writeFile(join(folder, "node_modules/x/index.js"), "no");
  await symlink("config.json", join(folder, "linked.json"));
  await symlink("nowhere", join(folder, "dangling.json"));
  return folder;
}

describe("a folder", () => {
  it("is listed without .git and node_modules", async () => {
    const folder = await writeModel();
    const files = await openModel(folder);
    expect(files).toMatchObject({ id: folder, revision: undefined });
    expect(await files.list()).toEqual([
      { path: "config.json", size: 7 },
      { path: "linked.json", size: 7 },
      { path: "onnx/model.onnx", size: 7 },
    ]);
    expect(new TextDecoder().decode(await files.readBytes("config.json", { start: 1, end: 4 }))).toBe('"a"');
    expect(await files.readBytes("config.json", { start: 5, end: 100 })).toEqual(
      new TextEncoder().encode("1}"),
    );
    expect((await files.readBytes("config.json", { start: 50, end: 100 })).length).toBe(0);
    expect(await files.readText("config.json")).toBe('{"a":1}');
    expect(await files.localPath("onnx/model.onnx")).toBe(join(folder, "onnx", "model.onnx"));
    expect(scene.hub.log).toEqual([]);
  });

  it.each(["../secret", "onnx/../../secret", "/etc/passwd"])("keeps %j out", async (path) => {
    await writeFile(join(scene.folder, "secret"), "secret");
    const files = await openFolder(await writeModel());
    expect(await failureOf(files.readText(path))).toBeInstanceOf(UnsafePathError);
  });

  it("says what is there in place of a missing file", async () => {
    const files = await openFolder(await writeModel());
    const error = await failureOf(files.localPath("model.onnx"));
    expect(error).toBeInstanceOf(ModelFileNotFoundError);
    expect(error).toMatchObject({ expected: ["model.onnx"], found: ["onnx/model.onnx"] });
  });

  it("may be a snapshot in the hub's cache", async () => {
    const path = await (await openModel(model, scene.options)).localPath("config.json");
    const files = await openModel(join(path, ".."));
    expect((await files.list()).map((file) => file.path)).toEqual(["config.json"]);
  });

  it("may be given by its place in the home folder", async () => {
    await writeModel();
    expect(await (await openModel("~/model")).readText("config.json")).toBe('{"a":1}');
    expect(await isFolderSource("~/model")).toBe(true);
    expect(await isFolderSource("./nowhere")).toBe(true);
    expect(await isFolderSource("owner/name")).toBe(false);
  });

  it("may be any folder that exists relative to the working directory", async () => {
    const relativePath = relative(process.cwd(), import.meta.dirname);
    expect((await openModel(relativePath)).id).toBe(relativePath);
  });

  it.each(["./absent", "../absent/model", "/absent", "~/absent"])(
    "%s that does not exist is an error",
    async (path) => {
      const error = await failureOf(openModel(path, scene.options));
      expect(error).toBeInstanceOf(InvalidInputError);
      expect((error as Error).message).toContain("does not exist");
      expect(scene.hub.log).toEqual([]);
    },
  );

  it("that is gone falls out of a chain of variants, with the reason", async () => {
    const reranker = createFallbackReranker({
      variants: [
        {
          name: "gone",
          model: ({ signal }) => openModel(join(scene.folder, "gone"), { ...scene.options, signal }),
          backend: (): Backend => {
            throw new Error("no backend is needed where no model was opened");
          },
        },
      ],
      whenExhausted: "passthrough",
    });
    const result = await reranker.rerank({ query: "q", documents: ["a", "b"] });
    expect(result).toMatchObject({ status: "passthrough", results: [{ index: 0 }, { index: 1 }] });
    expect(result.fallbacks).toMatchObject([{ variant: "gone", during: "load", reason: "invalid-input" }]);
    expect(result.fallbacks[0]?.error.message).toContain("does not exist");
    await reranker.dispose();
  });

  it("is not a file", async () => {
    const folder = await writeModel();
    const error = await failureOf(openModel(join(folder, "config.json")));
    expect((error as Error).message).toContain("Pass the folder");
  });

  it.each(["revision", "lockFile"])("does not go with %s", async (name) => {
    const folder = await writeModel();
    expect(await failureOf(openModel(folder, { [name]: "x" }))).toMatchObject({ path: `options.${name}` });
  });
});

describe("a repository id", () => {
  it("may carry its revision", async () => {
    const files = await openModel(`${model}@v1`, scene.options);
    expect(files).toMatchObject({ id: model, revision: commit });
    expect(scene.hub.log[0]?.path).toBe(`/api/models/${model}/revision/v1`);
  });

  it("needs no request when its revision is a commit", async () => {
    expect((await openModel(model, { ...scene.options, revision: commit })).revision).toBe(commit);
    expect(scene.hub.log).toEqual([]);
  });

  it("takes one revision", async () => {
    const options = { ...scene.options, revision: "main" };
    expect(await failureOf(openModel(`${model}@v1`, options))).toMatchObject({ path: "options.revision" });
    await openModel(`${model}@main`, options);
  });

  it.each([
    "",
    "name",
    "a/b/c",
    "a/..",
    "a--b/c",
    "a/b.git",
    "-a/b",
    "a/b-",
    "a/b c",
    "https://example.com/a/b",
  ])("is not %j", async (source) => {
    const error = await failureOf(openModel(source, scene.options));
    expect(error).toBeInstanceOf(InvalidInputError);
    expect(error).toMatchObject({ path: "source" });
    expect(scene.hub.log).toEqual([]);
  });

  it.each(["", "../main", "/main", "a/../../b"])("has no revision %j", async (revision) => {
    const error = await failureOf(openModel(model, { ...scene.options, revision }));
    expect(error).toMatchObject({ code: "invalid-input", path: "options.revision" });
  });

  it.each(["", "huggingface.co", "file:///tmp"])("is not looked up at the endpoint %j", async (endpoint) => {
    const error = await failureOf(openModel(model, { ...scene.options, endpoint }));
    expect(error).toMatchObject({ code: "invalid-input", path: "options.endpoint" });
  });
});

describe("a link in a folder", () => {
  it.each(["model.onnx_data", "config.json", "onnx/model.onnx_data"])(
    "to a file outside is refused: %s",
    async (path) => {
      const folder = join(scene.folder, "linked");
      await mkdir(join(folder, "onnx"), { recursive: true });
      await writeFile(join(scene.folder, "secret"), "secret");
      await symlink(join(scene.folder, "secret"), join(folder, path));
      const files = await openFolder(folder);
      expect(await failureOf(files.localPath(path))).toBeInstanceOf(UnsafePathError);
      expect(await failureOf(files.readText(path))).toBeInstanceOf(UnsafePathError);
    },
  );
});

import { cp, mkdir, mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { pathToFileURL } from "node:url";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { findPackageFile, Host, type Isolation, RuntimeStartError } from "../src/index.js";

interface Calls {
  load: { argument: undefined; result: undefined };
  release: { argument: undefined; result: undefined };
}

let folder = "";
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "program-start-"));
});
afterAll(() => rm(folder, { recursive: true }));

async function failureOf(
  isolation: Isolation,
  entry: ConstructorParameters<typeof Host<Calls>>[0]["entry"],
  startsWithin?: number,
): Promise<RuntimeStartError> {
  const host = new Host<Calls>({ isolation, entry, runtime: "toy", startsWithin });
  try {
    await host.call("load", undefined);
  } catch (error) {
    expect(RuntimeStartError.isInstance(error), String(error)).toBe(true);
    return error as RuntimeStartError;
  } finally {
    await host.close();
  }
  throw new Error("it started");
}

const programs: readonly (readonly [string, string, RegExp])[] = [
  ["lives and says nothing", "setInterval(() => {}, 1000);", /gave no sign of life within 1 s/],
  ["blocks", "for (;;) {}", /gave no sign of life within 1 s/],
  [
    "waits for ever before it serves",
    "await new Promise((go) => setTimeout(go, 1e6));",
    /gave no sign of life within 1 s/,
  ],
  ["ends", "", /(process|thread) ended with code 0/],
  ["ends with a code", "process.exit(7);", /(process|thread) ended with code 7/],
  ["throws", 'throw new Error("no such luck");', /no such luck/],
  ["imports what is not there", 'import "not-there";', /Cannot find package 'not-there'/],
  ["is no program", "}{", /Unexpected token/],
  [
    "says something else",
    "process.send?.({ hello: 1 }); setInterval(() => {}, 1000);",
    /gave no sign of life within 1 s/,
  ],
];

describe.each(["process", "thread"] as const)("in a %s, a program that", (isolation) => {
  it.each(programs)("%s is a runtime that does not start", async (name, text, message) => {
    const file = join(folder, `${name.replaceAll(" ", "-")}.mjs`);
    await writeFile(file, text);
    const isSilent = message.source.includes("no sign");
    const error = await failureOf(isolation, pathToFileURL(file), isSilent ? 1000 : undefined);
    expect(error.message).toMatch(message);
    expect(error).toMatchObject({ code: "runtime-start", runtime: "toy" });
  });

  it("is not there is one too", async () => {
    const error = await failureOf(isolation, pathToFileURL(join(folder, "absent.mjs")));
    expect(error.message).toMatch(/^toy does not start: its (process|thread) .*Cannot find module/s);
  });

  it("belongs to a package that is not there: the bundle is named, and what to do", async () => {
    const module = pathToFileURL(join(folder, "bundle.mjs")).href;
    const entry = { name: "@crossrank/none", version: "1.0.0", module, path: "dist/worker.js" };
    const error = await failureOf(isolation, entry);
    expect(error.message).toContain("bundle.mjs is a bundle without it");
    for (const setting of [
      "serverExternalPackages",
      "--packages=external",
      "ssr.external",
      "@crossrank/none",
    ]) {
      expect(error.message).toContain(setting);
    }
  });
});

/** A package in a folder, with one file. */
async function install(place: string, name: string, version: string): Promise<string> {
  const root = join(place, "node_modules", name);
  await mkdir(join(root, "dist"), { recursive: true });
  await writeFile(join(root, "package.json"), JSON.stringify({ name, version }));
  await writeFile(join(root, "dist", "worker.js"), "");
  return root;
}

describe("the file of a package", () => {
  const path = "dist/worker.js";
  const find = (place: string, module = "out/bundle.mjs", version = "1.0.0") =>
    findPackageFile({
      ...{ name: "@some/backend", version, path },
      module: pathToFileURL(join(place, module)).href,
    });

  it("is found beside the module", async () => {
    const place = await mkdtemp(join(folder, "own-"));
    const root = await install(place, "@some/backend", "1.0.0");
    for (const module of ["dist/index.js", "src/index.ts", "dist/chunk-X.js"]) {
      expect(find(root, module)).toEqual({ path: join(root, path) });
    }
    await rm(join(root, path));
    expect(find(root, "dist/index.js")).toMatchObject({ problem: expect.stringContaining("is not whole") });
  });

  it("is found in the package that is installed for a bundle, and not in one of another version", async () => {
    const place = await mkdtemp(join(folder, "installed-"));
    const root = await install(place, "@some/backend", "1.0.0");
    expect(find(place)).toEqual({ path: join(root, path) });
    expect(find(place, "out/deep/down/bundle.mjs")).toEqual({ path: join(root, path) });
    expect(find(place, "out/bundle.mjs", "2.0.0")).toEqual({
      problem: expect.stringMatching(/the bundle holds @some\/backend 2\.0\.0, and .* is version 1\.0\.0/),
    });
  });

  it("is found where crossrank alone sees the package", async () => {
    const place = await mkdtemp(join(folder, "strict-"));
    const store = join(place, "store");
    await install(store, "crossrank", "1.0.0");
    const root = await install(store, "@some/backend", "1.0.0");
    // As package managers do that keep dependencies apart: a link into a store.
    const { symlink } = await import("node:fs/promises");
    await mkdir(join(place, "node_modules"), { recursive: true });
    await symlink(
      join(store, "node_modules", "crossrank"),
      join(place, "node_modules", "crossrank"),
      "junction",
    );
    expect(find(place)).toEqual({ path: join(root, path) });
  });

  it("is never that of a stranger beside the bundle", async () => {
    const place = await mkdtemp(join(folder, "stranger-"));
    await mkdir(join(place, "dist"));
    await writeFile(join(place, "dist", "worker.js"), "");
    await cp(join(place, "dist"), join(place, "out"), { recursive: true });
    await writeFile(join(place, "package.json"), JSON.stringify({ name: "the-program", version: "1.0.0" }));
    expect(find(place, "dist/bundle.mjs")).toHaveProperty("problem");
    expect(find(place)).toHaveProperty("problem");
  });

  it("is looked for without a place too, where a bundler took it away", () => {
    for (const module of [undefined, "", "https://example.org/a.mjs", "webpack://a/b.js"]) {
      const facts = { name: "@some/nowhere", version: "1.0.0", path, module };
      expect(findPackageFile(facts)).toHaveProperty("problem");
    }
  });
});

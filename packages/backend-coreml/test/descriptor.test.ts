import { cpSync, mkdirSync, symlinkSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath, pathToFileURL } from "node:url";
import { backends, coreml } from "@crossrank/backend-coreml";
import { onnx } from "@crossrank/backend-onnx";
import { describe, expect, onTestFinished, test } from "vitest";
import { load, modelFolder, rejection, temporaryFolder, usual } from "./reference-fixtures.js";

const [own, single, half, ...others] = backends;

describe("the descriptors", () => {
  test("are Core ML's, for a Mac, and the two references", async () => {
    expect(others).toEqual([]);
    expect(own).toMatchObject({ name: "coreml", only: { platform: "darwin" } });
    expect(own?.isReference).toBeUndefined();
    for (const [descriptor, name] of [
      [own, "coreml"],
      [single, "coreml:reference"],
      [half, "coreml:reference-half"],
    ] as const) {
      const backend = await descriptor?.create({ threads: 1, workers: 1 });
      expect(backend).toMatchObject({ name, families: descriptor?.families });
    }
  });

  test("find packages by name: of each precision the best place, or there one a length", () => {
    const inside = (path: string): string[] => [`${path}/Manifest.json`, `${path}/Data/a.mlmodel`];
    const paths = [
      "onnx/model.onnx",
      ...["model_fp32", "mlpackage/model_256", "mlpackage/model_128", "other"].flatMap((name) =>
        inside(`${name}.mlpackage`),
      ),
    ];
    expect(own?.artifacts(paths)).toEqual([
      { dtype: "fp16", path: "mlpackage/model_128.mlpackage" },
      { dtype: "fp16", path: "mlpackage/model_256.mlpackage" },
      { dtype: "fp32", path: "model_fp32.mlpackage" },
    ]);
    expect(own?.candidates(paths)).toHaveLength(4);
  });

  test("a reference without the ONNX backend says what to install", async () => {
    const modules = join(temporaryFolder(), "node_modules");
    const copy = join(modules, "@crossrank/backend-coreml");
    const packages = fileURLToPath(new URL("../..", import.meta.url));
    mkdirSync(copy, { recursive: true });
    for (const part of ["dist", "package.json"]) {
      cpSync(join(packages, "backend-coreml", part), join(copy, part), { recursive: true });
    }
    for (const name of ["core", "backend-kit", "disk", "formats"]) {
      symlinkSync(join(packages, name), join(modules, "@crossrank", name), "dir");
    }
    symlinkSync(join(packages, "backend-coreml/node_modules/zod"), join(modules, "zod"), "dir");
    const alone = (await import(pathToFileURL(join(copy, "dist/index.js")).href)) as {
      backends: typeof backends;
    };
    expect(await alone.backends[0]?.create({})).toMatchObject({ name: "coreml" });
    const error = await rejection(Promise.resolve().then(() => alone.backends[2]?.create({})));
    expect(error).toMatchObject({
      code: "backend-not-installed",
      backend: "coreml:reference-half",
      install: ["@crossrank/backend-coreml", "@crossrank/backend-onnx"],
    });
    expect(error.message).toContain("npm install @crossrank/backend-coreml @crossrank/backend-onnx");
  });
});

describe("what a session declares", () => {
  const folder = modelFolder("bert-logit", {
    [usual]: "bert-logit_plain",
    "mlpackage/model_fp32.mlpackage": "bert-logit_plain_fp32",
  });

  test.each([
    ["single", "fp32"],
    ["half", "fp32"],
    ["single", "fp16"],
  ] as const)("%s arithmetic, %s: settings, bounds, and rows that stand alone", async (arithmetic, dtype) => {
    const inner = onnx({ workers: 1, threads: 1 });
    const session = await load(coreml({ reference: { backend: inner, arithmetic } }), folder, { dtype });
    onTestFinished(() => session.dispose());
    expect(session.settings).toMatchObject({ arithmetic });
    // What the backend that computes was told stands in it, too.
    expect(Object.keys(session.settings).length).toBeGreaterThan(1);
    expect(session.capabilities.rowsAffectScores).toBe(false);
    if (dtype === "fp32") expect(session.bounds).toBeUndefined();
    else expect(session.bounds).toMatchObject({ logit: 4e-2, cosine: 1e-2 });
  });
});

import { execFile } from "node:child_process";
import { cp, mkdir, readFile, realpath, symlink } from "node:fs/promises";
import { createRequire } from "node:module";
import { dirname, join } from "node:path";
import { fileURLToPath, pathToFileURL } from "node:url";
import { promisify } from "node:util";
import { beforeAll, describe, expect, it } from "vitest";
import { conformanceFixture, temporaryFolder } from "./run-command.js";

// The projects of examples/ build and run from packed packages with npm, in CI's long run. Here the same for esbuild and
// CommonJS, on copies of the packages as they are built.

const execute = promisify(execFile);
const repository = fileURLToPath(new URL("../../..", import.meta.url));
const folder = temporaryFolder();
const project = (): string => join(folder.path("project"));
const folderModel = conformanceFixture("bert-logit");

interface Manifest {
  readonly dependencies?: Readonly<Record<string, string>>;
}

/** A package of ours is copied, with what npm would take; others are linked to where they are installed. */
async function install(name: string, installed: Set<string>): Promise<void> {
  if (installed.has(name)) return;
  installed.add(name);
  const source = join(repository, "packages", name.replace("@crossrank/", ""));
  const target = join(project(), "node_modules", name);
  for (const part of ["package.json", "dist", "model"]) {
    await cp(join(source, part), join(target, part), { recursive: true }).catch((error) => {
      if (part !== "model") throw error;
    });
  }
  const { dependencies = {} } = JSON.parse(await readFile(join(source, "package.json"), "utf8")) as Manifest;
  const others = name === "@crossrank/backend-onnx" ? ["onnxruntime-node"] : [];
  for (const dependency of [...Object.keys(dependencies), ...others]) {
    if (dependency.startsWith("@crossrank/")) await install(dependency, installed);
    else if (!installed.has(dependency)) {
      installed.add(dependency);
      const link = join(project(), "node_modules", dependency);
      await mkdir(dirname(link), { recursive: true });
      await symlink(await realpath(join(source, "node_modules", dependency)), link, "junction");
    }
  }
}

interface Esbuild {
  build(options: Readonly<Record<string, unknown>>): Promise<{ readonly warnings: readonly unknown[] }>;
}

const bundles = ["external.mjs", "bundle.mjs", "minified.cjs"];

beforeAll(async () => {
  const example = join(repository, "examples", "esbuild");
  for (const file of ["rank.mjs", "use.cjs"]) await cp(join(example, file), join(project(), file));
  await install("crossrank", new Set());
  const resolve = createRequire(join(repository, "packages", "core", "package.json")).resolve;
  const { build } = (await import(pathToFileURL(resolve("esbuild")).href)) as Esbuild;
  for (const file of bundles) {
    const isModule = file.endsWith(".mjs");
    const { warnings } = await build({
      entryPoints: [join(project(), isModule ? "rank.mjs" : "use.cjs")],
      outfile: join(project(), "out", file),
      format: isModule ? "esm" : "cjs",
      ...{ bundle: true, platform: "node", target: "node20", logLevel: "silent" },
      ...(file === "external.mjs" ? { packages: "external" } : {}),
      minify: file === "minified.cjs",
    });
    // A bundle in CommonJS has no `import.meta`, which esbuild remarks.
    if (isModule) expect(warnings).toEqual([]);
    await cp(join(project(), "out", file), join(folder.path("alone"), file));
  }
});

// Where pnpm has started the tests it names the workspace's packages.
const { NODE_PATH: _nodePath, ...env } = process.env;

const models = [
  ["nano", "nano"],
  ["a folder's model, in a child process", folderModel],
] as const;

describe.each(bundles)("%s, with the packages installed", (file) => {
  it.each(models)("ranks with %s, and ends by itself", async (_, model) => {
    const { stdout } = await execute(process.execPath, [join("out", file), model], {
      cwd: project(),
      env,
      timeout: 100_000,
    });
    const results = JSON.parse(stdout) as { readonly index: number }[];
    expect(results).toHaveLength(3);
    if (model === "nano") expect(results[0]?.index).toBe(1);
  });
});

describe.each(bundles.slice(1))("%s, alone", (file) => {
  it.each(models)("says for %s that it is a bundle, and what to do", async (_, model) => {
    const { stderr, code } = await execute(process.execPath, [file, model], {
      cwd: folder.path("alone"),
      env,
      timeout: 100_000,
    }).then(
      () => ({ stderr: "it ran", code: 0 }),
      (error: { readonly stderr: string; readonly code: number }) => error,
    );
    expect(code).toBe(1);
    expect(stderr).toMatch(/is a bundle without it\. .*leave crossrank's packages out of the bundle/);
    expect(stderr).toContain("--packages=external");
    // Not the model's fault.
    expect(stderr).not.toMatch(/cannot load|model\.onnx/);
  });
});

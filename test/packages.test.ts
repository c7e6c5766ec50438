import { existsSync, readdirSync, readFileSync, statSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { gzipSync } from "node:zlib";
import { describe, expect, test } from "vitest";

const root = fileURLToPath(new URL("..", import.meta.url));

interface Manifest {
  readonly name: string;
  readonly private?: boolean;
  readonly description?: string;
  readonly keywords?: readonly string[];
  readonly license?: string;
  readonly type?: string;
  readonly sideEffects?: unknown;
  readonly engines?: { readonly node?: string };
  readonly publishConfig?: unknown;
  readonly files?: readonly string[];
  readonly exports?: Readonly<
    Record<string, string | { readonly types?: string; readonly default?: string }>
  >;
}

const readManifest = (path: string): Manifest => JSON.parse(readFileSync(path, "utf8"));
const engines = readManifest(join(root, "package.json")).engines;

const packages = readdirSync(join(root, "packages"))
  .filter((folder) => existsSync(join(root, "packages", folder, "package.json")))
  .map((folder) => ({ folder, manifest: readManifest(join(root, "packages", folder, "package.json")) }))
  .filter(({ manifest }) => manifest.private !== true);

/** A package may ask for a later Node than the others for one reason: that its framework does. */
const stricterEngines: Readonly<Record<string, { readonly node: string; readonly of: string }>> = {
  mastra: { node: ">=22.13", of: "@mastra/core" },
  lancedb: { node: ">=22", of: "@lancedb/lancedb" },
};

/**
 * Most kilobytes (of 1024 bytes) that a package's tarball may have; 400 where none is named. Raise one here when a
 * package grows for a reason: a download is what every user pays.
 */
const ceilings: Readonly<Record<string, number>> = {
  // The model itself.
  "model-nano": 21_000,
  // The weights themselves.
  "model-nano-weights": 30_000,
  // Rules of other packages, compiled in, with their source maps.
  "backend-web": 430,
  // Every command.
  crossrank: 520,
  // Tiny models of every family, with their ONNX exports and goldens.
  conformance: 13_000,
};

/** Bytes of the files that npm would pack, compressed file by file, which is never less than the tarball by much. */
function packedSize(folder: string, files: readonly string[]): number {
  const sizeOf = (path: string): number => {
    if (!existsSync(path)) return 0;
    if (!statSync(path).isDirectory()) return gzipSync(readFileSync(path), { level: 1 }).length;
    return readdirSync(path).reduce((sum, name) => sum + sizeOf(join(path, name)), 0);
  };
  return [...files, "README.md", "package.json"].reduce(
    (sum, file) => sum + sizeOf(join(root, "packages", folder, file)),
    0,
  );
}

test("packages are found", () => {
  expect(packages.length).toBeGreaterThan(10);
});

describe.each(packages)("packages/$folder", ({ folder, manifest }) => {
  test("describes itself as the others do", () => {
    expect(manifest).toMatchObject({
      name: folder === "crossrank" ? "crossrank" : `@crossrank/${folder}`,
      license: "Apache-2.0",
      type: "module",
      sideEffects: false,
      engines: folder in stricterEngines ? { node: stricterEngines[folder]?.node } : engines,
      publishConfig: { access: "public", provenance: true },
    });
    expect(manifest.description).toMatch(/^\S.{20,}\.$/);
    expect(manifest.keywords).toEqual(expect.arrayContaining(["rerank", "reranker"]));
    expect(new Set(manifest.keywords).size).toBe(manifest.keywords?.length);
  });

  test("has a README that begins with its name", () => {
    expect(readFileSync(join(root, "packages", folder, "README.md"), "utf8").split("\n")[0]).toBe(
      `# ${manifest.name}`,
    );
  });

  test("exports its own package.json, and types beside every module", () => {
    const { "./package.json": own, ...entries } = manifest.exports ?? {};
    expect(own).toBe("./package.json");
    expect(Object.keys(entries)).toContain(".");
    for (const [name, entry] of Object.entries(entries)) {
      expect(entry, name).toEqual({
        types: expect.stringMatching(/^\.\/dist\/.+\.d\.ts$/),
        default: expect.stringMatching(/^\.\/dist\/.+\.js$/),
      });
      if (typeof entry === "string") continue;
      expect(entry.types?.replace(/\.d\.ts$/, ".js"), name).toBe(entry.default);
      expect(
        existsSync(join(root, "packages", folder, entry.types ?? "")),
        `${entry.types}: build the package`,
      ).toBe(true);
    }
  });

  test("packs files that are there, and keeps below its size", () => {
    expect(manifest.files).toContain("dist");
    for (const file of manifest.files ?? []) {
      expect(existsSync(join(root, "packages", folder, file)), `files: ${file}`).toBe(true);
    }
    const kilobytes = packedSize(folder, manifest.files ?? []) / 1024;
    const ceiling = ceilings[folder] ?? 400;
    expect(kilobytes, `kB of the tarball; the ceiling is in test/packages.test.ts`).toBeLessThan(ceiling);
  });
});

test.each(Object.entries(stricterEngines))("%s asks for its framework's own Node", (folder, { node, of }) => {
  const framework = readManifest(join(root, "packages", folder, "node_modules", of, "package.json"));
  expect(framework.engines?.node?.replace(/ /g, "").replace(/\.0$/, "")).toBe(node);
});

test("ceilings name packages that there are", () => {
  expect(packages.map(({ folder }) => folder)).toEqual(expect.arrayContaining(Object.keys(ceilings)));
});

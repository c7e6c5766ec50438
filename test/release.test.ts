import { spawnSync } from "node:child_process";
import { createHash } from "node:crypto";
import { cpSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { slimPackage } from "../packages/backend-onnx/src/library.js";
import { root } from "./documents/blocks.js";

interface Platform {
  readonly name: string;
  readonly version: string;
  readonly os: string;
  readonly cpu: string;
  readonly key: string;
}

interface Platforms {
  readonly onnxRuntime: {
    readonly version: string;
    readonly tarball: { readonly integrity: string };
    readonly shared: Readonly<Record<string, string>>;
    readonly platforms: Readonly<Record<string, { readonly files: Readonly<Record<string, string>> }>>;
  };
  readonly isHere: (where: { readonly os: string; readonly cpu: string }) => boolean;
  readonly platformPackages: (manifest: object) => readonly Platform[];
  readonly writePlatformPackage: (options: object) => boolean;
}

interface Examples {
  readonly allows: (engines: string | undefined, version: string) => boolean;
}

const load = async <Module>(path: string): Promise<Module> => (await import(join(root, path))) as Module;
const { onnxRuntime, platformPackages, writePlatformPackage } = await load<Platforms>(
  "scripts/release/platforms.mjs",
);
const manifestOf = (name: string): Readonly<Record<string, unknown>> =>
  JSON.parse(readFileSync(join(root, "packages", name, "package.json"), "utf8"));

let folder: string;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "crossrank-release-"));
});
afterEach(() => rmSync(folder, { recursive: true }));

describe("ONNX Runtime's packages of one platform", () => {
  const packages = platformPackages(manifestOf("backend-onnx"));

  test("are of the version that the lockfile pins, and those that the backend looks for", () => {
    const lockfile = readFileSync(join(root, "pnpm-lock.yaml"), "utf8");
    const [, integrity] =
      new RegExp(
        `\\n {2}onnxruntime-node@${onnxRuntime.version}:\\n {4}resolution: \\{integrity: (\\S+)\\}`,
      ).exec(lockfile) ?? [];
    expect(onnxRuntime.tarball.integrity).toBe(integrity);
    expect(packages).toHaveLength(5);
    for (const { name, os, cpu } of packages) expect(slimPackage(os, cpu)).toBe(name);
  });

  test.each(packages)(
    "$name has the official bytes, and what tells package managers where it runs",
    (platform) => {
      const owner = {
        ...manifestOf("backend-onnx"),
        repository: { type: "git", url: "git+https://example.org/a/b.git" },
      };
      expect(writePlatformPackage({ root, folder, owner, platform, addons: [] })).toBe(true);
      const manifest = JSON.parse(readFileSync(join(folder, "package.json"), "utf8")) as Record<
        string,
        unknown
      >;
      expect(manifest).toMatchObject({
        name: platform.name,
        version: onnxRuntime.version,
        license: "MIT",
        main: "dist/index.js",
        os: [platform.os],
        cpu: [platform.cpu],
        dependencies: { "onnxruntime-common": onnxRuntime.version },
        repository: { url: "git+https://example.org/a/b.git" },
        publishConfig: { access: "public", provenance: true },
      });
      expect(manifest["libc"]).toEqual(platform.os === "linux" ? ["glibc"] : undefined);
      expect(manifest["scripts"]).toBeUndefined();
      const files = Object.entries(onnxRuntime.platforms[platform.key]?.files ?? {});
      expect(files).toHaveLength(2);
      for (const [file, sha256] of [...files, ...Object.entries(onnxRuntime.shared)]) {
        expect(
          createHash("sha256")
            .update(readFileSync(join(folder, file)))
            .digest("hex"),
          file,
        ).toBe(sha256);
      }
      expect(readFileSync(join(folder, "LICENSE"), "utf8")).toContain("Copyright (c) Microsoft Corporation");
      expect(readFileSync(join(folder, "ThirdPartyNotices.txt"), "utf8").length).toBeGreaterThan(300_000);
    },
  );

  test.each<[string, (official: string) => void, RegExp]>([
    [
      "another version",
      (official) => writeFileSync(join(official, "package.json"), '{ "version": "1.31.0" }'),
      /onnxruntime-node 1\.31\.0 is installed.*write that file for the new version/,
    ],
    [
      "a changed file",
      (official) => writeFileSync(join(official, "dist/version.js"), "exports.version = '1.30.0';\n"),
      /dist\/version\.js has the sha256 [0-9a-f]{64}, and not [0-9a-f]{64}: install it again/,
    ],
  ])("are not made of %s", (_name, change, message) => {
    const official = join(folder, "root/packages/backend-onnx/node_modules/onnxruntime-node");
    mkdirSync(official, { recursive: true });
    const source = join(root, "packages/backend-onnx/node_modules/onnxruntime-node");
    for (const name of ["package.json", "dist"])
      cpSync(join(source, name), join(official, name), { recursive: true });
    change(official);
    const [platform] = packages;
    const options = {
      root: join(folder, "root"),
      folder: join(folder, "out"),
      owner: {},
      platform,
      addons: [],
    };
    expect(() => writePlatformPackage(options)).toThrow(message);
  });
});

test.each(["backend-mnn", "backend-coreml", "backend-ctranslate2", "backend-mlx"])(
  "%s names a package for each of its targets",
  (name) => {
    const manifest = manifestOf(name) as {
      readonly name: string;
      readonly napi: { readonly targets: readonly string[] };
    };
    const packages = platformPackages(manifest);
    expect(packages).toHaveLength(manifest.napi.targets.length);
    for (const one of packages) {
      expect(one.name).toBe(`${manifest.name}-${one.key}`);
      expect(one.version).toBe(manifestOf(name)["version"]);
      // Of an addon that is not there, no package is made.
      const there = writePlatformPackage({ root, folder, owner: manifest, platform: one, addons: [folder] });
      expect(there).toBe(false);
    }
    expect(() => platformPackages({ ...manifest, napi: { targets: ["riscv64-unknown-linux-gnu"] } })).toThrow(
      /add the target riscv64/,
    );
  },
);

describe("publishing refuses", () => {
  /** A workspace of one package. */
  function workspace(repository: string, changesets: readonly string[], isBuilt = true): void {
    writeFileSync(join(folder, "package.json"), JSON.stringify({ repository }));
    mkdirSync(join(folder, ".changeset"));
    for (const name of changesets) writeFileSync(join(folder, ".changeset", `${name}.md`), "");
    mkdirSync(join(folder, "packages/core"), { recursive: true });
    writeFileSync(
      join(folder, "packages/core/package.json"),
      '{ "name": "@crossrank/core", "version": "1.0.0" }',
    );
    if (isBuilt) mkdirSync(join(folder, "packages/core/dist"));
  }

  function publish(...args: string[]): { readonly status: number | null; readonly output: string } {
    const script = join(root, "scripts/publish.mjs");
    const { status, stdout, stderr } = spawnSync(process.execPath, [script, "--root", folder, ...args], {
      encoding: "utf8",
    });
    return { status, output: stdout + stderr };
  }

  const address = "https://example.org/owner/name";

  test.each<[string, string, readonly string[], readonly string[], RegExp]>([
    ["to guess what is meant", address, [], [], /--dry-run.*--stage FOLDER or --from FOLDER/],
    [
      "without an address",
      "",
      [],
      ["--stage", "packed"],
      /"repository" of the root's package\.json is empty/,
    ],
    ["an address that is none", "somewhere", [], ["--dry-run"], /is no https address/],
    [
      "while changesets wait",
      address,
      ["one", "two"],
      ["--stage", "packed"],
      /2 changesets have no version yet/,
    ],
    ["what is not built", address, [], ["--stage", "packed"], /@crossrank\/core: not built/],
  ])("%s", (name, repository, changesets, args, message) => {
    workspace(repository, changesets, name !== "what is not built");
    const paths = args.map((one) => (one === "packed" ? join(folder, one) : one));
    const { status, output } = publish(...paths);
    expect(output).toMatch(message);
    expect(output).not.toMatch(/^\s+at /m);
    expect(status).toBe(1);
  });

  test("a tarball that changed since it was packed", () => {
    workspace(address, []);
    const sha256 = createHash("sha256").update("packed").digest("hex");
    const index = [{ name: "@crossrank/core", version: "1.0.0", file: "core.tgz", sha256 }];
    writeFileSync(join(folder, "packages.json"), JSON.stringify(index));
    writeFileSync(join(folder, "core.tgz"), "changed");
    const { status, output } = publish("--from", folder);
    expect(output).toMatch(/core\.tgz: changed since it was packed/);
    expect(status).toBe(1);
  });

  test("and lists nothing while changesets wait", () => {
    workspace(address, ["one"]);
    expect(publish("--list")).toEqual({ status: 0, output: "" });
  });
});

test("an example's engines are read as they are written, and no other way", async () => {
  const { allows } = await load<Examples>("scripts/examples.mjs");
  for (const [engines, version, expected] of [
    [">=20.19", "20.19.0", true],
    [">=20.19", "v20.18.9", false],
    [">=20.19", "26.10.0", true],
    [">=22", "20.20.2", false],
    [">=22.13", "22.13.0", true],
    [">=22.13.1", "22.13.0", false],
    [undefined, "20.20.2", true],
  ] as const) {
    expect(allows(engines, version), `${engines} ${version}`).toBe(expected);
  }
  expect(() => allows("^22 || ^24", "24.0.0")).toThrow(/write it as/);
});

// Packages of one platform each: ONNX Runtime's library, and the addons for the other runtimes. The packages that need
// them name them as optional dependencies, and a package manager takes the one that fits by `os`, `cpu` and `libc`.
import { createHash } from "node:crypto";
import {
  copyFileSync,
  cpSync,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  realpathSync,
  writeFileSync,
} from "node:fs";
import path from "node:path";
import { fileURLToPath } from "node:url";

const folderOfOnnxRuntime = fileURLToPath(new URL("onnxruntime/", import.meta.url));

/** What of Microsoft's package is shipped, each file with its sha256. */
export const onnxRuntime = JSON.parse(readFileSync(path.join(folderOfOnnxRuntime, "files.json"), "utf8"));

/** What a target of `napi` in a package.json is called, and where it runs. */
const targets = {
  "x86_64-unknown-linux-gnu": { name: "linux-x64-gnu", os: "linux", cpu: "x64", libc: "glibc" },
  "aarch64-unknown-linux-gnu": { name: "linux-arm64-gnu", os: "linux", cpu: "arm64", libc: "glibc" },
  "aarch64-apple-darwin": { name: "darwin-arm64", os: "darwin", cpu: "arm64" },
  "x86_64-apple-darwin": { name: "darwin-x64", os: "darwin", cpu: "x64" },
  "x86_64-pc-windows-msvc": { name: "win32-x64-msvc", os: "win32", cpu: "x64" },
};

/** @returns whether a package for it is of use on this machine */
export const isHere = ({ os, cpu }) => os === process.platform && cpu === process.arch;

/**
 * The platform packages that a package names, whether or not what is in them is there.
 *
 * @param {{ name: string, version: string, napi?: { binaryName: string, targets: string[], libraries?: string } }} manifest
 *   of ours
 * @returns {{ name: string, version: string, os: string, cpu: string, libc?: string, key: string }[]}
 */
export function platformPackages({ name, version, napi }) {
  if (name === "@crossrank/backend-onnx") {
    return Object.entries(onnxRuntime.platforms).map(([key, { os, cpu, libc }]) => ({
      name: `@crossrank/onnxruntime-${key}`,
      version: onnxRuntime.version,
      os,
      cpu,
      ...(libc === undefined ? {} : { libc }),
      key,
    }));
  }
  return (napi?.targets ?? []).map((target) => {
    const known = targets[target];
    if (known === undefined)
      throw new Error(`${name}: add the target ${target} to scripts/release/platforms.mjs.`);
    const { name: key, ...where } = known;
    return { name: `${name}-${key}`, version, ...where, key };
  });
}

/**
 * Writes the folder of a platform package.
 *
 * @param {{ root: string, folder: string, owner: object, platform: object, addons: readonly string[] }} options `owner`
 *   is the package.json of the package that names it; `addons` are folders that may hold its addon.
 * @returns whether what belongs in it is there
 */
export function writePlatformPackage({ root, folder, owner, platform, addons }) {
  return owner.napi === undefined
    ? writeOnnxRuntime({ root, folder, owner, platform })
    : writeAddon({ folder, owner, platform, addons });
}

/** The same fields in each: where it runs, and where it comes from. */
function manifestOf(owner, { name, version, os, cpu, libc }, further) {
  const { repository, homepage, bugs } = owner;
  return {
    name,
    version,
    ...further,
    ...(repository === undefined ? {} : { homepage, bugs, repository }),
    os: [os],
    cpu: [cpu],
    ...(libc === undefined ? {} : { libc: [libc] }),
    publishConfig: owner.publishConfig,
  };
}

function writeJson(file, value) {
  writeFileSync(file, `${JSON.stringify(value, null, 2)}\n`);
}

/** The official package's files for one platform, byte by byte, without its install script and what that needs. */
function writeOnnxRuntime({ root, folder, owner, platform }) {
  const source = realpathSync(path.join(root, "packages/backend-onnx/node_modules/onnxruntime-node"));
  const official = JSON.parse(readFileSync(path.join(source, "package.json"), "utf8"));
  if (official.version !== onnxRuntime.version) {
    throw new Error(
      `onnxruntime-node ${official.version} is installed, and scripts/release/onnxruntime/files.json is of ` +
        `${onnxRuntime.version}: write that file for the new version, after a look at what changed in it.`,
    );
  }
  const files = { ...onnxRuntime.shared, ...onnxRuntime.platforms[platform.key].files };
  for (const [file, sha256] of Object.entries(files)) {
    const found = createHash("sha256")
      .update(readFileSync(path.join(source, file)))
      .digest("hex");
    if (found !== sha256) {
      throw new Error(
        `onnxruntime-node's ${file} has the sha256 ${found}, and not ${sha256}: install it again.`,
      );
    }
    mkdirSync(path.dirname(path.join(folder, file)), { recursive: true });
    copyFileSync(path.join(source, file), path.join(folder, file));
  }
  for (const name of ["LICENSE", "ThirdPartyNotices.txt"]) {
    copyFileSync(path.join(folderOfOnnxRuntime, name), path.join(folder, name));
  }
  writeFileSync(
    path.join(folder, "README.md"),
    `# ${platform.name}\n\nONNX Runtime ${onnxRuntime.version} for Node.js on ${platform.key}: the files of Microsoft's ` +
      "package `onnxruntime-node` that this platform's processor needs, unchanged, without an install script. " +
      "`@crossrank/backend-onnx` depends on it. For CUDA, TensorRT, DirectML and WebGPU install `onnxruntime-node`.\n\n" +
      `The official tarball's sha256 is ${onnxRuntime.tarball.sha256}. Licence: MIT, of Microsoft Corporation; ` +
      "ThirdPartyNotices.txt has those of what is linked into the library.\n",
  );
  writeJson(
    path.join(folder, "package.json"),
    manifestOf(owner, platform, {
      description: `ONNX Runtime's official library for Node.js on ${platform.key}, and nothing else.`,
      license: "MIT",
      author: "Microsoft Corporation",
      main: "dist/index.js",
      types: "dist/index.d.ts",
      files: ["bin", "dist", "ThirdPartyNotices.txt"],
      dependencies: { "onnxruntime-common": official.dependencies["onnxruntime-common"] },
    }),
  );
  return true;
}

/** @returns {string | undefined} the file of a platform's addon, in the first of the folders that has it */
export function addonFile(owner, platform, folders) {
  const file = `${owner.napi.binaryName}.${platform.key}.node`;
  return folders.map((one) => path.join(one, file)).find((one) => existsSync(one));
}

/**
 * An addon as napi-rs' own tool packs it: one file. Beside it the folder of the libraries that it is linked to, where
 * the package.json's `napi.libraries` gives the folder's name, which the platform's follows (`mlx-linux-x64-gnu`).
 */
function writeAddon({ folder, owner, platform, addons }) {
  const source = addonFile(owner, platform, addons);
  if (source === undefined) return false;
  const file = path.basename(source);
  mkdirSync(folder, { recursive: true });
  copyFileSync(source, path.join(folder, file));
  const files = [file];
  if (owner.napi.libraries !== undefined) {
    const libraries = `${owner.napi.libraries}-${platform.key}`;
    const found = path.join(path.dirname(source), libraries);
    // The addon alone would not load.
    if (!existsSync(found)) throw new Error(`${owner.name}: ${file} has no folder ${libraries} beside it.`);
    if (platform.os === "win32") {
      // Windows looks for them in the addon's own folder.
      cpSync(found, folder, { recursive: true });
      files.push(...readdirSync(found));
    } else {
      cpSync(found, path.join(folder, libraries), { recursive: true });
      files.push(libraries);
    }
  }
  writeFileSync(
    path.join(folder, "README.md"),
    `# ${platform.name}\n\nThe addon of \`${owner.name}\` for ${platform.key}. That package depends on it.\n`,
  );
  writeJson(
    path.join(folder, "package.json"),
    manifestOf(owner, platform, {
      description: `The addon of ${owner.name} for ${platform.key}.`,
      license: owner.license,
      main: file,
      files,
      engines: owner.engines,
    }),
  );
  return true;
}

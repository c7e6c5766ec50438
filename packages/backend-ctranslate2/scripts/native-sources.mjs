// CTranslate2 as others have built it: the library of the Python package's wheel, which pip fetches and checks, and the
// headers of the same version, which are part of the crate ct2rs.
import { spawnSync } from "node:child_process";
import { existsSync, mkdirSync, mkdtempSync, readdirSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";

export const version = "4.8.4";
export const python = process.env.PYTHON ?? (process.platform === "win32" ? "python" : "python3");

/** By this package's name of the platform: pip's name of it, and the wheel's sha256. */
export const wheels = {
  "linux-x64-gnu": {
    platform: "manylinux_2_28_x86_64",
    sha256: "1037b3f51d18f1546120686670d71fcdaf85a0500fffccc56d8439ded5d284e5",
  },
  "linux-arm64-gnu": {
    platform: "manylinux_2_28_aarch64",
    sha256: "bd6ed9d10b46b9bc2ee801ea9624acf28bd53ffddfd5e92d23b2340dbc4d6474",
  },
  "darwin-arm64": {
    platform: "macosx_11_0_arm64",
    sha256: "d7b6cd9e832e47c00d3da14976b1621b065d8680a7d27a95a009af4a41e169ac",
  },
  "darwin-x64": {
    platform: "macosx_11_0_x86_64",
    sha256: "2c366cb89ffcd99f76e44dfbb199979d450a9c698dae5eefd65e94a7ef25443c",
  },
};

/** As src/native.ts has it. */
export function platformName() {
  const { platform, arch } = process;
  if (platform === "win32") return `win32-${arch}-msvc`;
  if (platform !== "linux") return `${platform}-${arch}`;
  return `linux-${arch}-${process.report.getReport().header.glibcVersionRuntime === undefined ? "musl" : "gnu"}`;
}

/** The folder of the headers: where cargo has unpacked the crate, whose sha256 Cargo.lock has. */
export function findHeaders(native) {
  const metadata = JSON.parse(
    outputOf("cargo", ["metadata", "--locked", "--format-version", "1"], { cwd: native }),
  );
  const { manifest_path: manifest } = metadata.packages.find((one) => one.name === "ct2rs");
  return join(manifest, "../CTranslate2/include");
}

/**
 * Fetches the wheel once, and takes the libraries out of it.
 *
 * @param folder where they are kept: in a folder of their version within.
 * @returns the library to link to, and all that lie beside it.
 */
export function fetchLibraries(folder) {
  const { platform, sha256 } = wheels[platformName()];
  const kept = join(folder, `${version}-${sha256.slice(0, 12)}`);
  if (!existsSync(kept)) {
    mkdirSync(folder, { recursive: true });
    const staged = mkdtempSync(join(folder, "staged-"));
    try {
      const requirements = join(staged, "requirements.txt");
      writeFileSync(requirements, `ctranslate2==${version} --hash=sha256:${sha256}\n`);
      const target = [
        "--only-binary=:all:",
        "--implementation",
        "cp",
        "--abi",
        "cp311",
        "--python-version",
        "3.11",
      ];
      const pip = ["-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--no-deps"];
      outputOf(python, [
        ...pip,
        "--require-hashes",
        ...target,
        "--platform",
        platform,
        "-d",
        staged,
        "-r",
        requirements,
      ]);
      const wheel = readdirSync(staged).find((name) => name.endsWith(".whl"));
      const libraries = join(staged, "libraries");
      mkdirSync(libraries);
      // A wheel is a zip archive, and Python reads those everywhere.
      const unpack = `
import pathlib, re, sys, zipfile
with zipfile.ZipFile(sys.argv[1]) as wheel:
    for name in wheel.namelist():
        if re.search(r"(?:\\.libs|\\.dylibs)/[^/]+$", name):
            pathlib.Path(sys.argv[2], name.rsplit("/", 1)[1]).write_bytes(wheel.read(name))
`;
      outputOf(python, ["-c", unpack, join(staged, wheel), libraries]);
      renameSync(libraries, kept);
    } finally {
      rmSync(staged, { recursive: true, force: true });
    }
  }
  const all = readdirSync(kept).map((name) => join(kept, name));
  return { library: all.find((path) => /libctranslate2[^/\\]*$/.test(path)), all };
}

function outputOf(command, given, options = {}) {
  const { status, stdout, stderr, error } = spawnSync(command, given, {
    encoding: "utf8",
    maxBuffer: 1 << 28,
    ...options,
  });
  if (status === 0) return stdout;
  throw new Error(`${command} ${given[0]} ${given[1] ?? ""} failed: ${error?.message ?? stderr}`);
}

// A release from its beginning to a user's empty folder, against a registry on this machine: versions by changesets in
// a clone, publishing by the workflow's own script (stopped in its middle and run again), and installs by plain npm,
// pnpm, yarn and bun, each with the README's program, then one backend at a time with its size.
//
//   node scripts/rehearse-release.mjs            after `node scripts/run.mjs build`
//   node scripts/rehearse-release.mjs --keep     leaves the folder
//   node scripts/rehearse-release.mjs --in FOLDER --keep   takes what was packed in a folder that was left
//   node scripts/rehearse-release.mjs --only npm,onnx
import { spawn } from "node:child_process";
import {
  cpSync,
  existsSync,
  lstatSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import path from "node:path";
import { parseArgs } from "node:util";
import { isBuilt } from "./built-files.mjs";
import { execute, plainEnvironment, pnpm, repository, succeed } from "./release/commands.mjs";
import { startRegistry } from "./release/registry.mjs";
import { publicPackages } from "./release/stage.mjs";

const { values: options } = parseArgs({
  options: {
    keep: { type: "boolean", default: false },
    in: { type: "string" },
    only: { type: "string" },
  },
});
const address = "https://example.org/crossrank/crossrank";
const megabyte = 1e6;

/**
 * What a program installs for one backend, and at most how much that may be. The numbers in the README are what this
 * script prints.
 */
const backends = [
  {
    name: "onnx",
    packages: ["@crossrank/core", "@crossrank/hub", "@crossrank/backend-onnx", "@crossrank/model-nano"],
    most: { packages: 30, megabytes: 80 },
    program: programOf('import { onnx } from "@crossrank/backend-onnx";', "onnx()"),
    model: "packages/model-nano/model",
  },
  {
    name: "mnn",
    packages: ["@crossrank/core", "@crossrank/hub", "@crossrank/backend-mnn"],
    most: { packages: 30, megabytes: 30 },
    program: programOf('import { mnn } from "@crossrank/backend-mnn";', "mnn()"),
    model: "mnn",
  },
  {
    name: "coreml",
    packages: ["@crossrank/core", "@crossrank/hub", "@crossrank/backend-coreml", "@crossrank/backend-onnx"],
    most: { packages: 30, megabytes: 65 },
    program: programOf(
      'import { coreml } from "@crossrank/backend-coreml";\nimport { onnx } from "@crossrank/backend-onnx";',
      "coreml({ reference: { backend: onnx({ workers: 1 }) } })",
    ),
    model: "mlpackage",
  },
  {
    name: "llamacpp",
    packages: ["@crossrank/core", "@crossrank/hub", "@crossrank/backend-llamacpp", "node-llama-cpp@3.22.1"],
    most: { packages: 180, megabytes: 900 },
    program: programOf('import { llamacpp } from "@crossrank/backend-llamacpp";', "llamacpp()"),
    model: "gguf",
  },
  {
    name: "mlx",
    packages: ["@crossrank/core", "@crossrank/hub", "@crossrank/backend-mlx"],
    most: { packages: 60, megabytes: 60 },
    program: programOf('import { mlx } from "@crossrank/backend-mlx";', "mlx()"),
    model: "packages/conformance/fixtures/bert-logit",
  },
  {
    name: "ctranslate2",
    packages: ["@crossrank/core", "@crossrank/hub", "@crossrank/backend-ctranslate2"],
    most: { packages: 30, megabytes: 110 },
    program: programOf('import { ctranslate2 } from "@crossrank/backend-ctranslate2";', "ctranslate2()"),
    model: "ctranslate2",
  },
];

/** A package manager: how it adds packages to the folder that it runs in. */
const managers = [
  { name: "npm", command: (names) => ["npm", "install", ...names] },
  { name: "pnpm", command: (names) => exec("pnpm@10.34.9", "pnpm", "add", ...names) },
  { name: "yarn-classic", command: (names) => exec("yarn@1.22.22", "yarn", "add", ...names) },
  { name: "yarn-berry", command: (names) => exec("@yarnpkg/cli-dist@4.18.1", "yarn", "add", ...names) },
  { name: "bun", command: (names) => exec("bun@1.4.5", "bun", "add", ...names) },
];

/** What npm installs for other machines than this one: the package of that platform, or none and no complaint. */
const elsewhere = [
  { os: "linux", cpu: "arm64", expected: "@crossrank/onnxruntime-linux-arm64" },
  { os: "darwin", cpu: "arm64", expected: "@crossrank/onnxruntime-darwin-arm64" },
  { os: "win32", cpu: "x64", expected: "@crossrank/onnxruntime-win32-x64" },
  { os: "win32", cpu: "arm64", expected: "@crossrank/onnxruntime-win32-arm64" },
  { os: "darwin", cpu: "x64" },
  { os: "linux", cpu: "x64", libc: "musl" },
];

function exec(tool, ...command) {
  return ["npm", "exec", "--yes", `--package=${tool}`, "--", ...command];
}

function programOf(imports, backend) {
  return `${imports}
import { createReranker } from "@crossrank/core";
import { openModel } from "@crossrank/hub";

const reranker = await createReranker({ model: await openModel(process.argv[2]), backend: ${backend} });
const { results } = await reranker.rerank({
  query: "how is bread baked?",
  documents: ["cats bark", "bread is baked in an oven"],
});
await reranker.dispose();
if (results.length !== 2 || results.some(({ logit }) => !Number.isFinite(logit))) throw new Error(JSON.stringify(results));
console.log("ok", JSON.stringify(results.map(({ index, logit }) => [index, logit])));
`;
}

const failures = [];

/** Runs a part of the rehearsal; one that fails does not hide the others. */
async function part(name, run) {
  const started = performance.now();
  try {
    const words = await run();
    const seconds = Math.round((performance.now() - started) / 1000);
    console.log(`ok      ${name}${words === undefined ? "" : `: ${words}`} (${seconds} s)`);
    return true;
  } catch (error) {
    failures.push(name);
    console.log(`failed  ${name}: ${error.message}`);
    return false;
  }
}

function check(condition, words) {
  if (!condition) throw new Error(words);
}

/** A clone with what is not committed, what is built, and what this machine compiled. */
async function cloneInto(folder) {
  await succeed("git", ["clone", "--quiet", "--no-checkout", repository, folder]);
  await succeed("git", ["reset", "--quiet"], { cwd: folder });
  const listed = async (...args) =>
    (await succeed("git", ["ls-files", "-z", ...args], { cwd: repository })).stdout.split("\0");
  const own = await listed("--cached", "--others", "--exclude-standard");
  const built = (await listed("--others", "--ignored", "--exclude-standard", "--directory")).filter(isBuilt);
  for (const file of new Set([...own, ...built])) {
    if (file === "" || !existsSync(path.join(repository, file))) continue;
    cpSync(path.join(repository, file), path.join(folder, file), { recursive: true });
  }
  await pnpm(folder, ["install", "--frozen-lockfile", "--prefer-offline", "--ignore-scripts"]);
}

/** The release's own script, in the clone, as its workflow starts it. */
function publish(clone, registry, ...args) {
  return execute(process.execPath, ["scripts/publish.mjs", ...args], {
    cwd: clone,
    env: environmentFor(registry, clone),
    seconds: 1800,
  });
}

/** A home with nothing in it: no cache knows these versions, and no setting of this machine helps. */
function environmentFor(registry, folder) {
  const home = path.join(path.dirname(folder), `home-${path.basename(folder)}`);
  mkdirSync(home, { recursive: true });
  const host = registry.url.replace(/^http:/, "");
  writeFileSync(
    path.join(home, ".npmrc"),
    // npm does not publish without a token, and this registry does not read it.
    `registry=${registry.url}\n${host}:_authToken=rehearsal\ncache=${path.join(home, "npm")}\n`,
  );
  return plainEnvironment({
    HOME: home,
    USERPROFILE: home,
    npm_config_userconfig: path.join(home, ".npmrc"),
    npm_config_registry: registry.url,
    npm_config_cache: path.join(home, "npm"),
    XDG_CACHE_HOME: path.join(home, "cache"),
    XDG_DATA_HOME: path.join(home, "data"),
    YARN_NPM_REGISTRY_SERVER: registry.url,
    YARN_UNSAFE_HTTP_WHITELIST: "127.0.0.1",
    YARN_ENABLE_TELEMETRY: "0",
    // The classic one looks for the field packageManager in every folder above.
    SKIP_YARN_COREPACK_CHECK: "1",
    // A new project's lockfile is what is to be written.
    YARN_ENABLE_IMMUTABLE_INSTALLS: "false",
    // Some mirrors do not say when a version was published, and these have just been.
    YARN_NPM_MINIMAL_AGE_GATE: "0",
    YARN_NODE_LINKER: "node-modules",
    BUN_CONFIG_REGISTRY: registry.url,
    BUN_INSTALL_CACHE_DIR: path.join(home, "bun"),
    CI: "1",
  });
}

/** An empty project with some packages in it. */
async function install(folder, registry, manager, names) {
  mkdirSync(folder, { recursive: true });
  writeFileSync(
    path.join(folder, "package.json"),
    '{ "name": "empty", "private": true, "type": "module" }\n',
  );
  // yarn looks for a project above this folder, unless it has a lockfile.
  if (manager.name === "yarn-berry") writeFileSync(path.join(folder, "yarn.lock"), "");
  const env = environmentFor(registry, folder);
  const [command, ...args] = manager.command(names);
  const result = await succeed(command, args, { cwd: folder, env, seconds: 1500 });
  // What a package manager says of packages that are none of ours is theirs to say.
  const isForeign = names.some((name) => name.startsWith("node-llama-cpp"));
  const noise = result.output
    .split("\n")
    .filter((line) => /onnxruntime|crossrank|EBADPLATFORM|incompatible|404|install.scripts/i.test(line))
    .filter((line) => /warn|error|ERR|fail|unsupported|incompatible/i.test(line))
    // It has an install script of its own, which npm holds back, and which it does not need.
    .filter((line) => !(isForeign && /node-llama-cpp|install.scripts/.test(line)));
  check(noise.length === 0, `${manager.name} complains:\n${noise.join("\n")}`);
  return { env, seconds: result.seconds };
}

/** Files of a folder of modules, and packages in it. Links are counted where they lead, if that is inside. */
export function measure(folder) {
  let bytes = 0;
  const packages = new Set();
  const visit = (directory) => {
    for (const entry of readdirSync(directory, { withFileTypes: true })) {
      const file = path.join(directory, entry.name);
      if (entry.isSymbolicLink()) continue;
      if (entry.isDirectory()) visit(file);
      else if (entry.isFile()) {
        bytes += lstatSync(file).size;
        if (entry.name === "package.json" && /node_modules\/(@[^/]+\/)?[^/]+$/.test(toSlashes(directory))) {
          const { name, version } = JSON.parse(readFileSync(file, "utf8"));
          if (name !== undefined && version !== undefined) packages.add(`${name}@${version}`);
        }
      }
    }
  };
  visit(path.join(folder, "node_modules"));
  return {
    megabytes: Math.round(bytes / (megabyte / 10)) / 10,
    packages: packages.size,
    names: [...packages],
  };
}

const toSlashes = (file) => file.split(path.sep).join("/");

/** Models for the backends: of nano, and of a fixture in the format that each reads. */
async function makeModels(clone, folder) {
  const fixture = "packages/conformance/fixtures/bert-logit";
  const bin = path.join(clone, "packages/crossrank/bin/crossrank.js");
  for (const [format, dtype] of [
    ["gguf", "F32"],
    ["mlpackage", "fp32"],
    ["ctranslate2", "fp32"],
  ]) {
    const args = [
      "convert",
      "--model",
      fixture,
      "--to",
      format,
      "--dtype",
      dtype,
      "--output",
      path.join(folder, format),
      "--force",
    ];
    await succeed(process.execPath, [bin, ...args], { cwd: clone });
  }
  const mnn = path.join(folder, "mnn");
  mkdirSync(path.join(mnn, "mnn"), { recursive: true });
  for (const name of ["config.json", "tokenizer.json", "tokenizer_config.json", "special_tokens_map.json"]) {
    cpSync(path.join(clone, fixture, name), path.join(mnn, name));
  }
  cpSync(
    path.join(clone, "packages/backend-mnn/test/fixtures/bert-logit_fp32.mnn"),
    path.join(mnn, "mnn/model.mnn"),
  );
}

const isWanted = (name) => options.only === undefined || options.only.split(",").includes(name);

async function rehearse(folder) {
  const clone = path.join(folder, "clone");
  const models = path.join(folder, "models");
  const registry = await startRegistry(path.join(folder, "registry"));
  try {
    const packed = path.join(folder, "packed");
    const packing = ["--stage", packed, "--without-addons"];
    const at = [`--registry=${registry.url}`];
    const isPacked = existsSync(path.join(packed, "packages.json"));
    const isReady =
      isPacked ||
      (await part("versions by changesets in a clone", async () => {
        await cloneInto(clone);
        const early = await publish(clone, registry, ...packing, `--repository=${address}`);
        check(
          early.code === 1 && /changesets have no version yet/.test(early.output),
          `too early: ${early.output}`,
        );
        const nothing = await publish(clone, registry, "--list", ...at);
        check(nothing.code === 0 && nothing.stdout === "", `while changesets wait: ${nothing.output}`);
        await succeed(process.execPath, ["node_modules/@changesets/cli/bin.js", "version"], { cwd: clone });
        const versions = new Set(publicPackages(clone).map(({ manifest }) => manifest.version));
        check(versions.size === 1 && !versions.has("0.0.0"), `versions: ${[...versions].join(", ")}`);
        return [...versions][0];
      }));
    if (!isReady) return;
    const isPublished = await part("publishing, stopped in its middle and run again", async () => {
      if (!isPacked) await packIn(clone, registry, packed, packing);
      await stopAfter(clone, registry, ["--from", packed, "--no-provenance", ...at], 5);
      const second = await publish(clone, registry, "--from", packed, "--no-provenance", ...at);
      check(second.code === 0, second.output);
      const skipped = second.stdout.match(/^is there /gm)?.length ?? 0;
      check(skipped >= 5, `the second run skipped ${skipped}:\n${second.output}`);
      const third = await publish(clone, registry, "--from", packed, "--no-provenance", ...at);
      check(third.code === 0 && /^0 packages published/m.test(third.stdout), third.output);
      const left = await publish(clone, registry, "--list", ...at);
      const lines = left.stdout.trim().split("\n");
      const others = lines.filter((line) => !/backend-\w+-(linux|darwin|win32)-/.test(line) && line !== "");
      check(left.code === 0 && others.length === 0, `not published: ${left.output}`);
      return `${skipped} packages before it was stopped, then the others`;
    });
    if (!isPublished) return;
    await part("what the registry says of each package", async () => {
      const names = publicPackages(clone).map(({ manifest }) => manifest.name);
      for (const name of names) {
        const { versions, "dist-tags": tags } = await (
          await fetch(`${registry.url}${name.replace("/", "%2f")}`)
        ).json();
        const manifest = versions[tags.latest];
        check(
          manifest.repository?.url === `git+${address}.git`,
          `${name} has the repository ${JSON.stringify(manifest.repository)}`,
        );
        check(manifest.publishConfig?.provenance === true, `${name} asks for no provenance`);
        for (const kind of ["dependencies", "peerDependencies", "optionalDependencies"]) {
          const ranges = Object.values(manifest[kind] ?? {});
          check(
            !ranges.some((range) => /workspace|file:/.test(range)),
            `${name}: ${JSON.stringify(manifest[kind])}`,
          );
        }
      }
      return `${names.length} packages`;
    });

    const program = readFileSync(path.join(clone, "examples/rerank.mjs"), "utf8");
    const [npm] = managers;
    for (const manager of managers.filter(({ name }) => isWanted(name))) {
      await part(`crossrank by ${manager.name}`, async () => {
        const project = path.join(folder, `crossrank-${manager.name}`);
        const { env, seconds } = await install(project, registry, manager, ["crossrank"]);
        writeFileSync(path.join(project, "rerank.mjs"), program);
        const { stdout } = await succeed(process.execPath, ["rerank.mjs"], { cwd: project, env });
        check(/^0\.\d+ probability git reset --soft/.test(stdout), `the README's program prints ${stdout}`);
        const bin = path.join(project, "node_modules/.bin/crossrank");
        const command = await succeed(bin, ["doctor"], { cwd: project, env });
        check(/^ {2}onnx +works/m.test(command.stdout), command.output);
        const size = measure(project);
        const runtimes = size.names.filter((name) => name.startsWith("@crossrank/onnxruntime-"));
        const others = runtimes.filter(
          (name) => !name.startsWith(`@crossrank/onnxruntime-${process.platform}-${process.arch}@`),
        );
        check(others.length === 0 && runtimes.length === 1, `runtimes: ${runtimes.join(", ")}`);
        check(
          size.megabytes <= 130 && size.packages <= 90,
          `${size.packages} packages, ${size.megabytes} MB`,
        );
        return `${size.packages} packages, ${size.megabytes} MB, installed in ${seconds} s`;
      });
    }
    for (const { os, cpu, libc, expected } of elsewhere.filter(() => isWanted("platforms"))) {
      await part(`backend onnx for ${[os, cpu, libc].filter(Boolean).join(" ")}`, async () => {
        const project = path.join(folder, ["platform", os, cpu, libc].filter(Boolean).join("-"));
        const flags = [`--os=${os}`, `--cpu=${cpu}`, ...(libc === undefined ? [] : [`--libc=${libc}`])];
        await install(project, registry, npm, ["@crossrank/backend-onnx", ...flags]);
        const found = measure(project).names.filter((name) => name.startsWith("@crossrank/onnxruntime-"));
        const names = found.map((name) => name.slice(0, name.lastIndexOf("@"))).join(", ");
        check(
          names === (expected ?? ""),
          `it has ${names === "" ? "none" : names}, where ${expected ?? "none"} is right`,
        );
        return names === "" ? "none, without noise" : names;
      });
    }
    await part("models for the backends", () => makeModels(clone, models));
    for (const { name, packages, most, program: text, model } of backends.filter((one) =>
      isWanted(one.name),
    )) {
      await part(`backend ${name} by npm`, async () => {
        const project = path.join(folder, `backend-${name}`);
        const { env, seconds } = await install(project, registry, npm, packages);
        writeFileSync(path.join(project, "program.mjs"), text);
        const place = model.includes("/") ? path.join(clone, model) : path.join(models, model);
        const { stdout } = await succeed(process.execPath, ["program.mjs", place], { cwd: project, env });
        check(/^ok /m.test(stdout), stdout);
        const size = measure(project);
        check(
          size.megabytes <= most.megabytes && size.packages <= most.packages,
          `${size.packages} packages, ${size.megabytes} MB, where ${most.packages} and ${most.megabytes} are the most`,
        );
        return `${size.packages} packages, ${size.megabytes} MB, installed in ${seconds} s`;
      });
    }
  } finally {
    await registry.close();
  }
}

/** Packs as the workflow does, after what it must refuse. */
async function packIn(clone, registry, packed, packing) {
  const refused = await publish(clone, registry, ...packing);
  check(
    refused.code === 1 && /"repository" of the root/.test(refused.output),
    `no address: ${refused.output}`,
  );
  const dry = await publish(clone, registry, "--dry-run", "--without-addons", `--repository=${address}`);
  const would = dry.stdout.match(/^would publish /gm)?.length ?? 0;
  check(dry.code === 0 && would > 20, `the dry run: ${dry.output}`);
  const strict = await publish(clone, registry, "--stage", `${packed}-strict`, `--repository=${address}`);
  check(
    strict.code === 1 && /its addon was not built/.test(strict.output),
    `without addons: ${strict.output}`,
  );
  const stage = await publish(clone, registry, ...packing, `--repository=${address}`);
  check(stage.code === 0, stage.output);
}

/** Publishes, and ends the script once it has published some packages, as a runner that goes away would. */
async function stopAfter(clone, registry, args, count) {
  const child = spawn(process.execPath, ["scripts/publish.mjs", ...args], {
    cwd: clone,
    env: environmentFor(registry, clone),
    stdio: ["ignore", "pipe", "inherit"],
  });
  let output = "";
  child.stdout.setEncoding("utf8").on("data", (text) => {
    output += text;
    if ((output.match(/^published /gm)?.length ?? 0) >= count) child.kill("SIGKILL");
  });
  await new Promise((resolve) => child.once("exit", resolve));
  const published = output.match(/^published /gm)?.length ?? 0;
  check(published >= count, `the first run published ${published} packages:\n${output}`);
}

const folder = options.in ?? mkdtempSync(path.join(tmpdir(), "crossrank-rehearsal-"));
// What an earlier run published and installed is not what this one proves.
for (const name of readdirSync(folder)) {
  if (!["clone", "packed", "models"].includes(name)) rmSync(path.join(folder, name), { recursive: true });
}
try {
  await rehearse(folder);
} finally {
  if (options.keep) console.log(`The folder is ${folder}.`);
  else rmSync(folder, { recursive: true, force: true });
}
console.log(failures.length === 0 ? "the release was rehearsed" : `failed: ${failures.join("; ")}`);
process.exitCode = failures.length === 0 ? 0 : 1;

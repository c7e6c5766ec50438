// What a program loads when it imports a package, or runs a command: files and their bytes, which are the same on every
// machine. Each file costs about 0.5 ms to find and 100 kB about 4 ms to compile, in every process that starts.
import { execFileSync } from "node:child_process";
import { mkdtempSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath, pathToFileURL } from "node:url";
import { expect, onTestFinished, test } from "vitest";

const root = fileURLToPath(new URL("..", import.meta.url));

/** Parts of Node that only a program with connections needs; together they cost 20 ms. */
const ofConnections = ["http", "https", "tls", "zlib"];

/**
 * [what, at most so many files, at most so many kB]; about a tenth above what is measured. Raise a number for what
 * everybody needs, and load the rest where it is used.
 */
const budgets: readonly (readonly [what: string, files: number, kilobytes: number])[] = [
  ["core", 15, 670],
  ["core/files", 8, 76],
  ["core/half", 2, 2],
  ["backend-kit", 17, 720],
  ["backend-kit/runtime", 3, 12],
  ["formats/onnx/read", 4, 37],
  ["hub", 20, 840],
  ["backend-onnx", 29, 890],
  ["backend-llamacpp", 27, 880],
  ["backend-mnn", 24, 810],
  ["backend-mlx", 27, 800],
  ["backend-ctranslate2", 28, 830],
  ["crossrank", 40, 1020],
  ["crossrank --version", 16, 165],
  ["crossrank rerank", 100, 1400],
];

test.each(budgets)(
  "%s loads at most %i files of %i kB, and no part of Node for connections",
  (what, files, kilobytes) => {
    const folder = mkdtempSync(join(tmpdir(), "crossrank-budget-"));
    onTestFinished(() => rmSync(folder, { recursive: true }));
    const { paths, builtins } = loadedBy(argumentsOf(what, folder), folder);
    const bytes = paths.reduce((sum, path) => sum + statSync(path).size, 0);
    const found = `${what}: ${paths.length} files, ${Math.round(bytes / 1000)} kB`;
    expect(paths.length, `${found}: ${paths.join("\n")}`).toBeLessThanOrEqual(files);
    expect(bytes / 1000, found).toBeLessThanOrEqual(kilobytes);
    expect(builtins.filter((name) => ofConnections.includes(name))).toEqual([]);
  },
);

/** Of Node: a program that imports an entry of a package, or the command. */
function argumentsOf(what: string, folder: string): readonly string[] {
  const [name = "", ...words] = what.split(" ");
  if (words.length === 0) {
    const [packageName = "", ...path] = name.split("/");
    const exported = entryOf(packageName, path.length === 0 ? "." : `./${path.join("/")}`);
    return ["--input-type=module", "--eval", `await import(${JSON.stringify(pathToFileURL(exported).href)})`];
  }
  const documents = join(folder, "documents.txt");
  writeFileSync(documents, "Vaccines train the immune system.\nParis is a city.\n");
  const further = words[0] === "rerank" ? ["--query", "how do vaccines work", "--documents", documents] : [];
  return [join(root, "packages/crossrank/bin/crossrank.js"), ...words, ...further];
}

function entryOf(packageName: string, path: string): string {
  const folder = join(root, "packages", packageName);
  const { exports } = JSON.parse(readFileSync(join(folder, "package.json"), "utf8")) as {
    readonly exports: Readonly<Record<string, { readonly default: string }>>;
  };
  return join(folder, exports[path]?.default ?? `there is no ${path}`);
}

/** Files of JavaScript that a process and its threads ran, and parts of Node that it loaded. */
function loadedBy(
  program: readonly string[],
  folder: string,
): { readonly paths: readonly string[]; readonly builtins: readonly string[] } {
  const coverage = join(folder, "coverage");
  const list = join(folder, "builtins.json");
  const preload = join(folder, "preload.cjs");
  writeFileSync(
    preload,
    `process.on("exit", () => require("node:fs").writeFileSync(${JSON.stringify(list)}, JSON.stringify(process.moduleLoadList)));`,
  );
  execFileSync(process.execPath, ["--require", preload, ...program], {
    cwd: folder,
    env: { ...process.env, NODE_V8_COVERAGE: coverage, NODE_OPTIONS: "" },
    stdio: ["ignore", "ignore", "inherit"],
  });
  const urls = readdirSync(coverage).flatMap((name) => {
    const { result } = JSON.parse(readFileSync(join(coverage, name), "utf8")) as {
      readonly result: readonly { readonly url: string }[];
    };
    return result.map(({ url }) => url);
  });
  const paths = [...new Set(urls.filter((url) => url.startsWith("file:")).map((url) => fileURLToPath(url)))];
  const loaded = JSON.parse(readFileSync(list, "utf8")) as readonly string[];
  return {
    paths: paths.filter((path) => path !== preload && !path.includes("[eval")),
    builtins: loaded
      .filter((name) => name.startsWith("NativeModule "))
      .map((name) => name.split(" ")[1] ?? ""),
  };
}

import { existsSync, readFileSync } from "node:fs";
import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { type Commands, openCommands } from "../packages/crossrank/test/run-command.js";
import { allBlocks, type Block, documents, placeOf, root } from "./documents/blocks.js";
import { elsewhere, notRun, otherwise } from "./documents/exceptions.js";
import { frameworks } from "./documents/frameworks.js";
import { missingLine } from "./documents/same-output.js";
import { copyScene, environmentIn, makeScene, node, removeScene } from "./documents/scene.js";
import { commandsOf } from "./documents/shell.js";
import { packageFolder, toJavaScript, typeErrors } from "./documents/typescript.js";

const isProgram = ({ language }: Block): boolean => /^(js|mjs|ts|mts)$/.test(language);
const isShell = ({ language }: Block): boolean => /^(sh|bash|shell)$/.test(language);

test("programs are good TypeScript for a strict project", () => {
  expect(typeErrors(allBlocks.filter(isProgram))).toEqual([]);
});

const manifest = JSON.parse(readFileSync(join(root, "package.json"), "utf8")) as {
  readonly scripts: Readonly<Record<string, string>>;
};

describe("what a reader types", () => {
  let scene = "";
  const copies: string[] = [];
  let commands: Commands;
  beforeAll(async () => {
    scene = await makeScene();
    commands = openCommands({ env: environmentIn(scene) });
  });
  afterAll(async () => {
    await commands.close();
    await Promise.all([scene, ...copies].map(removeScene));
  });

  test.each(documents.filter((document) => blocksToRun(document).length > 0))(
    "%s",
    async (document) => {
      const folder = await copyScene(scene, String(documents.indexOf(document)));
      copies.push(folder);
      const problems: string[] = [];
      for (const block of blocksToRun(document)) {
        const found = isShell(block)
          ? await runShell(block, folder, commands)
          : await runProgram(block, folder);
        problems.push(...found.map((problem) => `${placeOf(block)}: ${problem}`));
      }
      expect(problems).toEqual([]);
    },
    600_000,
  );
});

function blocksToRun(document: string): Block[] {
  return allBlocks.filter(
    (block) =>
      block.document === document &&
      (isShell(block) ||
        (isProgram(block) && !notRun.some(({ pattern }) => pattern.test(`${document}\n${block.text}`)))),
  );
}

/** @returns what is wrong. */
async function runProgram(block: Block, folder: string): Promise<string[]> {
  const name = `block-${block.line}.mjs`;
  await writeFile(join(folder, name), toJavaScript(block));
  const { code, stdout, stderr } = await node([name], folder);
  if (code !== 0) return [`ended with ${code}: ${stderr.slice(-500)}`];
  return compareOutput(block, stdout);
}

function compareOutput({ output }: Block, printed: string): string[] {
  const missing = output === undefined ? undefined : missingLine(output, printed);
  return missing === undefined
    ? []
    : [`does not print ${JSON.stringify(missing)}, but\n${printed.slice(0, 3000)}`];
}

/** Whether the command would write what the scene has. */
function replaces(args: readonly string[]): boolean {
  if (args.includes("--force")) return false;
  return (args[0] === "convert" && !args.includes("--output")) || args.includes("--write-baseline");
}

async function runShell(block: Block, folder: string, commands: Commands): Promise<string[]> {
  const problems: string[] = [];
  let printed = "";
  for (const words of commandsOf(block.text)) {
    const line = words.join(" ");
    if (elsewhere.some(({ pattern }) => pattern.test(line))) continue;
    const args = argumentsOfCrossrank(words);
    if (args !== undefined) {
      // The scene has it already.
      if (replaces(args)) args.push("--force");
      const { code, stdout, stderr } = await commands.run(args, {
        folder,
        environment: { HF_HUB_CACHE: join(folder, "hub") },
      });
      printed += stdout;
      const exception = otherwise.find(({ pattern }) => pattern.test(args.join(" ")));
      const isRight = code === 0 || (code === exception?.code && exception.says.test(stderr));
      if (!isRight) problems.push(`${line}: ended with ${code}: ${stderr.slice(-500)}`);
    } else {
      const problem = await otherProgram(words, folder);
      if (problem !== undefined) problems.push(`${line}: ${problem}`);
    }
  }
  return [...problems, ...(printed === "" ? [] : compareOutput(block, printed))];
}

/** Of the ways to start our command; undefined for another program. */
function argumentsOfCrossrank([first = "", second, ...rest]: readonly string[]): string[] | undefined {
  if (first === "npx" && second === "crossrank") return rest;
  if (/^(\S*node_modules\/\.bin\/)?crossrank$/.test(first))
    return second === undefined ? [] : [second, ...rest];
  return undefined;
}

/** @returns what is wrong with a line of npm, npx or Node, as far as that can be seen without running it. */
async function otherProgram(words: readonly string[], folder: string): Promise<string | undefined> {
  const [program = "", ...args] = words;
  if (program === "npm") {
    const [verb = "", name = ""] = args;
    if (verb === "test") return undefined;
    if (verb === "run") return name in manifest.scripts ? undefined : `there is no script ${name}`;
    if (verb === "install")
      return args
        .slice(1)
        .map(installable)
        .find((one) => one !== undefined);
  }
  if (program === "npx" && args[0] === "vitest") {
    const paths = args.slice(2).filter((path) => !path.includes("NAME"));
    return paths.map(existing).find((one) => one !== undefined);
  }
  if (program === "npx" && args[0] === "turbo") {
    const filters = args.flatMap((one) => /^--filter=(.*)$/.exec(one)?.[1] ?? []);
    return filters.map((name) => existing(`packages/${name.replace("@crossrank/", "")}`)).find((one) => one);
  }
  if (program === "node") {
    const [script = ""] = args;
    if (script.startsWith("examples/")) {
      const { code, stderr } = await node(args, folder);
      return code === 0 ? undefined : `ended with ${code}: ${stderr.slice(-500)}`;
    }
    // Measurements and builds of minutes: that they are there is all that is seen here.
    return [script, `packages/backend-mnn/${script}`].some((path) => existsSync(join(root, path)))
      ? undefined
      : `there is no ${script}`;
  }
  return "is no program that the harness knows; run it, or give a reason in test/documents/exceptions.ts";
}

function existing(path: string): string | undefined {
  return existsSync(join(root, path)) ? undefined : `there is no ${path}`;
}

/** Ours must be a package that is published; others must be something that one of ours works with. */
function installable(name: string): string | undefined {
  if (name.startsWith("--")) return undefined;
  if (!/^(@crossrank\/|crossrank$)/.test(name)) {
    const bare = name.replace(/(?<=.)@[\d.]+$/, "");
    const isKnown = ["node-llama-cpp", "onnxruntime-node"].includes(bare) || frameworks.has(bare);
    return isKnown ? undefined : `${name} is not known`;
  }
  const path = join(packageFolder(name), "package.json");
  if (!existsSync(path)) return `there is no package ${name}`;
  return (JSON.parse(readFileSync(path, "utf8")) as { readonly private?: true }).private
    ? `${name} is not published`
    : undefined;
}

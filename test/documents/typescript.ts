import { dirname, join } from "node:path";
import ts from "typescript";
import { type Block, placeOf, root } from "./blocks.js";
import { frameworks } from "./frameworks.js";

/** What a reader's own project has when it is strict. */
const options: ts.CompilerOptions = {
  target: ts.ScriptTarget.ES2022,
  lib: ["lib.es2024.d.ts", "lib.esnext.disposable.d.ts"],
  module: ts.ModuleKind.NodeNext,
  moduleResolution: ts.ModuleResolutionKind.NodeNext,
  moduleDetection: ts.ModuleDetectionKind.Force,
  strict: true,
  skipLibCheck: true,
  noEmit: true,
  types: ["node"],
};

/** Folder of a package of this repository. */
export function packageFolder(name: string): string {
  return join(root, "packages", name.replace("@crossrank/", ""));
}

/** A file in the package that has the framework which is imported; else the importing file. */
function besideFramework(specifier: string, containing: string): string {
  const [name = ""] = /^(?:@[^/]+\/)?[^/]+/.exec(specifier) ?? [];
  const folder = frameworks.get(name);
  return folder === undefined ? containing : join(folder.slice(0, -name.length), "..", "reader.ts");
}

/** The blocks as TypeScript files of one strict program; a JavaScript block must also be good TypeScript. */
export function typeErrors(blocks: readonly Block[]): string[] {
  const sources = new Map(blocks.map((block, index) => [join(root, "test", `block-${index}.ts`), block]));
  const host = ts.createCompilerHost(options);
  const { fileExists, getSourceFile, readFile } = host;
  host.fileExists = (path) => sources.has(path) || fileExists(path);
  host.readFile = (path) => sources.get(path)?.text ?? readFile(path);
  host.getSourceFile = (path, ...rest) => {
    const block = sources.get(path);
    return block === undefined
      ? getSourceFile(path, ...rest)
      : ts.createSourceFile(path, block.text, ts.ScriptTarget.ES2022, true);
  };
  // A package is resolved by its own `exports`, as it is where it is installed.
  host.resolveModuleNameLiterals = (literals, containing, _redirected, compilerOptions) =>
    literals.map(({ text }) => {
      const [own = ""] = /^(?:@crossrank\/)?[\w-]+/.exec(text) ?? [];
      const isOurs = sources.has(containing) && /^(@crossrank\/|crossrank$)/.test(text);
      const from = isOurs
        ? join(packageFolder(own), "reader.ts")
        : sources.has(containing)
          ? besideFramework(text, containing)
          : containing;
      return ts.resolveModuleName(
        text,
        from,
        compilerOptions,
        host,
        undefined,
        undefined,
        ts.ModuleKind.ESNext,
      );
    });
  host.getCurrentDirectory = () => dirname(join(root, "package.json"));
  const program = ts.createProgram([...sources.keys()], options, host);
  const found = [...sources.keys()].flatMap((path) => {
    const file = program.getSourceFile(path);
    return [...program.getSyntacticDiagnostics(file), ...program.getSemanticDiagnostics(file)];
  });
  return found.map(({ file, start = 0, messageText }) => {
    const block = file && sources.get(file.fileName);
    const line = file?.getLineAndCharacterOfPosition(start).line ?? 0;
    return `${block ? placeOf(block) : file?.fileName} + ${line + 1}: ${ts.flattenDiagnosticMessageText(messageText, " ")}`;
  });
}

/** The block as a module that the oldest supported Node runs. */
export function toJavaScript({ text }: Block): string {
  return ts.transpileModule(text, {
    compilerOptions: { target: options.target, module: ts.ModuleKind.ESNext },
  }).outputText;
}

// The public API of every package, as its built types say it: names and signatures without comments, one file a package
// in docs/api. Usage, after a build: node scripts/api-report.mjs [--check]
// With --check nothing is written, and the exit code is 1 where a report and the types differ.
import { existsSync, mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { dirname, join, relative } from "node:path";
import { fileURLToPath } from "node:url";
import ts from "typescript";

const root = fileURLToPath(new URL("..", import.meta.url));
const folder = join(root, "docs", "api");
const isCheck = process.argv.includes("--check");

/** @param {string} path */
const readJson = (path) => JSON.parse(readFileSync(path, "utf8"));

/** The declarations file and the chunks that it takes names from, in one program: what an entry point exports. */
function exportsOf(/** @type {string} */ types) {
  const program = ts.createProgram([types], {
    module: ts.ModuleKind.NodeNext,
    moduleResolution: ts.ModuleResolutionKind.NodeNext,
    target: ts.ScriptTarget.ES2022,
    skipLibCheck: true,
    noLib: true,
    types: [],
  });
  const checker = program.getTypeChecker();
  const source = program.getSourceFile(types);
  const symbol = source && checker.getSymbolAtLocation(source);
  if (symbol === undefined) throw new Error(`${types} exports nothing. Build the package again.`);
  const printer = ts.createPrinter({ removeComments: true });
  return checker
    .getExportsOfModule(symbol)
    .map((one) => {
      const target = one.flags & ts.SymbolFlags.Alias ? checker.getAliasedSymbol(one) : one;
      const declarations = target.declarations ?? [];
      const own = declarations.filter((declaration) => isWithin(dirname(types), declaration));
      // Another package's: its own report has the signature.
      if (own.length === 0) return { name: one.name, text: `export { ${one.name} } // of another package` };
      const text = own.map((declaration) => {
        const whole = ts.isVariableDeclaration(declaration) ? declaration.parent.parent : declaration;
        return printer
          .printNode(ts.EmitHint.Unspecified, whole, whole.getSourceFile())
          .replace(/^(export )?(declare )?/, "export ");
      });
      return { name: one.name, text: text.join("\n") };
    })
    .sort((left, right) => (left.name < right.name ? -1 : 1));
}

/** @param {string} parent @param {ts.Declaration} declaration */
function isWithin(parent, declaration) {
  const path = relative(parent, declaration.getSourceFile().fileName);
  return !path.startsWith("..") && !path.includes("node_modules");
}

/** @param {string} directory @param {{ name: string, exports: Record<string, any> }} manifest */
function reportOf(directory, manifest) {
  const parts = [
    `# ${manifest.name}`,
    "",
    "Written by `node scripts/api-report.mjs`; `npm run check` compares it with the build.",
  ];
  for (const [entry, target] of Object.entries(manifest.exports)) {
    if (typeof target === "string") continue;
    const types = join(directory, target.types);
    if (!existsSync(types))
      throw new Error(`${manifest.name} has no ${target.types}. Run npx turbo run build first.`);
    const found = exportsOf(types);
    const name = entry === "." ? manifest.name : `${manifest.name}${entry.slice(1)}`;
    parts.push("", `## ${name}: ${found.length} names`, "", "```ts", ...found.map(({ text }) => text), "```");
  }
  return `${parts.join("\n")}\n`;
}

const reports = new Map();
for (const name of readdirSync(join(root, "packages")).sort()) {
  const directory = join(root, "packages", name);
  if (!existsSync(join(directory, "package.json"))) continue;
  const manifest = readJson(join(directory, "package.json"));
  if (manifest.private !== true) reports.set(`${name}.md`, reportOf(directory, manifest));
}
mkdirSync(folder, { recursive: true });
const stale = readdirSync(folder).filter((name) => !reports.has(name));
if (isCheck) {
  const differing = [...reports].flatMap(([name, text]) => {
    const path = join(folder, name);
    return existsSync(path) && readFileSync(path, "utf8") === text ? [] : [name];
  });
  for (const name of [...differing, ...stale])
    console.error(`docs/api/${name} is not what the packages export.`);
  if (differing.length + stale.length > 0) {
    console.error("Run node scripts/api-report.mjs, and look at the change before you commit it.");
    process.exit(1);
  }
  console.log(`docs/api: ${reports.size} reports are what the packages export.`);
} else {
  for (const name of stale) rmSync(join(folder, name));
  for (const [name, text] of reports) writeFileSync(join(folder, name), text);
  console.log(`docs/api: ${reports.size} reports written.`);
}

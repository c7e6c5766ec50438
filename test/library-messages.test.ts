import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import ts from "typescript";
import { expect, test } from "vitest";
import { root } from "./documents/blocks.js";

/** Who calls a library may have no command line. */
const libraries = readdirSync(join(root, "packages")).filter((name) => name !== "crossrank");

/** Not of `crossrank`, or text that the command takes into its help. */
const others: readonly (readonly [file: RegExp, reason: string])[] = [
  [/convert\/src\/\w+\/descriptor\.ts$/, "the command's help"],
  [/backend-kit\/src\/package-file\.ts$/, "flags of esbuild"],
  [/convert\/src\/mnn\/write-mnn\.ts$/, "flags of MNN's converter"],
  [/mcp\/src\/main\.ts$/, "a command, with flags of its own"],
  [/eval\/src\/report\/html-style\.ts$/, "properties of CSS"],
  [/server\/src\/page\/style\.ts$/, "properties of CSS"],
  [/train\/src\/report\/html\.ts$/, "properties of CSS"],
];

function sourcesOf(folder: string): string[] {
  return readdirSync(folder, { recursive: true, encoding: "utf8" })
    .filter((path) => path.endsWith(".ts"))
    .map((path) => join(folder, path));
}

/** Text that names a flag without the command, or the other program, whose it is. */
function looseFlags(text: string): boolean {
  // Properties of CSS are no flags.
  const named = text
    .replaceAll("var(--", "")
    .replace(/[`']?\b(crossrank [a-z]+|[\w-]+-split|npm [a-z]+)( [^`';,.]*)?--[a-z][\w-]*/g, "");
  return /(^|[\s(`"'])--[a-z][\w-]+/.test(named);
}

test("a flag is told from a flag of somebody else", () => {
  expect(looseFlags("run it without --offline")).toBe(true);
  expect(looseFlags("--dtype must be one of fp32, int8")).toBe(true);
  expect(looseFlags("crossrank ci --update-baseline writes it; give --limit")).toBe(true);
  expect(looseFlags("Convert it with `crossrank convert --to gguf`, or choose another")).toBe(false);
  expect(looseFlags("a -- b, x--y")).toBe(false);
});

test.each(libraries)("no message of %s names a flag of the command", (name) => {
  const found = sourcesOf(join(root, "packages", name, "src")).flatMap((path) => {
    if (others.some(([file]) => file.test(path.replaceAll("\\", "/")))) return [];
    const file = ts.createSourceFile(path, readFileSync(path, "utf8"), ts.ScriptTarget.ES2022, true);
    const loose: string[] = [];
    const visit = (node: ts.Node): void => {
      if (
        ts.isStringLiteralLike(node) ||
        ts.isTemplateHead(node) ||
        ts.isTemplateMiddleOrTemplateTail(node)
      ) {
        // With what the sentence says before it.
        const whole = ts.isStringLiteralLike(node)
          ? node.text
          : (node.parent.parent ?? node.parent).getText();
        if (looseFlags(node.text) && looseFlags(whole))
          loose.push(`${path.slice(root.length)}: ${node.text}`);
      }
      ts.forEachChild(node, visit);
    };
    visit(file);
    return loose;
  });
  expect(found).toEqual([]);
});

import { readdirSync, readFileSync } from "node:fs";
import { dirname, join, relative, resolve } from "node:path";
import { fileURLToPath } from "node:url";
import { expect, it } from "vitest";

const packages = fileURLToPath(new URL("../packages", import.meta.url));

/** Files that a TypeScript file imports by a relative path, types included: a circle of types is one of ideas. */
function importsOf(file: string): string[] {
  const found = readFileSync(file, "utf8").matchAll(/(?:from|import)\s*\(?\s*"(\.{1,2}\/[^"]+)\.js"/g);
  return [...found].map(([, path = ""]) => `${resolve(dirname(file), path)}.ts`);
}

/** The first circle that a walk finds, as a list of files; undefined where there is none. */
function circleAmong(files: readonly string[]): string[] | undefined {
  const done = new Set<string>();
  const walk = (file: string, way: readonly string[]): string[] | undefined => {
    if (way.includes(file)) return [...way.slice(way.indexOf(file)), file];
    if (done.has(file)) return undefined;
    for (const next of importsOf(file).filter((one) => files.includes(one))) {
      const circle = walk(next, [...way, file]);
      if (circle !== undefined) return circle;
    }
    done.add(file);
    return undefined;
  };
  for (const file of files) {
    const circle = walk(file, []);
    if (circle !== undefined) return circle;
  }
  return undefined;
}

it.each(readdirSync(packages))("%s has no import circles", (name) => {
  const root = join(packages, name, "src");
  const files = readdirSync(root, { recursive: true, encoding: "utf8" })
    .filter((path) => path.endsWith(".ts"))
    .map((path) => join(root, path));
  expect(files.length).toBeGreaterThan(0);
  expect(circleAmong(files)?.map((file) => relative(root, file))).toBeUndefined();
});

import { existsSync, readdirSync, readFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { expect, test } from "vitest";

const root = fileURLToPath(new URL("..", import.meta.url));

const documents = [
  "README.md",
  "CONTRIBUTING.md",
  ...["docs", "docs/guides", "docs/decisions"].flatMap((folder) =>
    readdirSync(join(root, folder))
      .filter((name) => name.endsWith(".md"))
      .map((name) => `${folder}/${name}`),
  ),
  ...readdirSync(join(root, "packages"))
    .map((name) => `packages/${name}/README.md`)
    .filter((path) => existsSync(join(root, path))),
];

test.each(documents)("%s links to files that exist", (document) => {
  const text = readFileSync(join(root, document), "utf8").replace(/```[\s\S]*?```/g, "");
  const targets = [...text.matchAll(/\]\(([^)\s]+)\)/g)].map(([, target = ""]) => target.replace(/#.*$/, ""));
  const missing = targets.filter(
    (target) =>
      target !== "" && !/^[a-z]+:/.test(target) && !existsSync(join(root, dirname(document), target)),
  );
  expect(missing).toEqual([]);
});

test("CONTRIBUTING.md names paths that exist", () => {
  const text = readFileSync(join(root, "CONTRIBUTING.md"), "utf8");
  const paths = [...text.matchAll(/`((?:packages|scripts|docs|test|lab|\.ci)\/[\w./-]+)`/g)].map(
    ([, path = ""]) => path,
  );
  expect(paths.length).toBeGreaterThan(15);
  expect(paths.filter((path) => !existsSync(join(root, path)))).toEqual([]);
});

const manifests = readdirSync(join(root, "packages"))
  .filter((name) => existsSync(join(root, "packages", name, "package.json")))
  .map((name) => ({
    folder: name,
    ...(JSON.parse(readFileSync(join(root, "packages", name, "package.json"), "utf8")) as {
      readonly name: string;
      readonly dependencies?: Readonly<Record<string, string>>;
    }),
  }));

test("README.md's table has every package, once", () => {
  const text = readFileSync(join(root, "README.md"), "utf8");
  const listed = [...text.matchAll(/^\| \[`([^`]+)`\]\(packages\/([\w-]+)\/README\.md\) \|/gm)];
  expect(listed.map(([, name, folder]) => `${name} ${folder}`).sort()).toEqual(
    manifests.map(({ name, folder }) => `${name} ${folder}`).sort(),
  );
});

test("decision 0003's table has every dependency, with the packages that have it", () => {
  const text = readFileSync(join(root, "docs/decisions/0003-toolchain.md"), "utf8");
  const rows = [...text.matchAll(/^\| ((?:@[\w-]+\/)?[a-z][\w-]*(?:, [\w-]+)*) \| ([\w, -]+) \| /gm)];
  const written = rows.flatMap(([, names = "", packages = ""]) =>
    names.split(", ").map((name) => `${name}: ${packages.split(", ").sort().join(", ")}`),
  );
  const real = new Map<string, string[]>();
  for (const { folder, dependencies = {} } of manifests) {
    for (const [name, range] of Object.entries(dependencies)) {
      if (!range.startsWith("workspace:")) real.set(name, [...(real.get(name) ?? []), folder]);
    }
  }
  const expected = [...real].map(([name, folders]) => `${name}: ${folders.sort().join(", ")}`);
  expect(written.filter((row) => !row.startsWith("dependency:")).sort()).toEqual(expected.sort());
});

import { readFile } from "node:fs/promises";
import { expect, test } from "vitest";
import { defaultLimits, describeModelPackage, openModelPackage } from "../src/mlpackage/index.js";
import { fixture } from "./fixtures.js";

const readme = await readFile(new URL("../README.md", import.meta.url), "utf8");

test("the snippet prints what the README says", async () => {
  const lines: string[] = [];
  const report = await describeModelPackage(await openModelPackage(fixture("range.mlpackage")));
  lines.push([report.kind, report.specificationVersion, report.opsets.join()].join(" "));
  for (const { element, tensors, bytes } of report.weights)
    lines.push(`${tensors} weights of ${element}: ${bytes} bytes`);
  expect(/It prints[^\n]*\n\n```\n(.*?)\n```/s.exec(readme)?.[1]).toBe(lines.join("\n"));
});

test("the README's limits are the defaults", () => {
  const rows = [...readme.matchAll(/^\| `(\w+)` +\| +([\d,]+)( MiB)? \|/gm)].map(([, name, number, unit]) => [
    name,
    Number(number?.replaceAll(",", "")) * (unit === undefined ? 1 : 2 ** 20),
  ]);
  expect(Object.fromEntries(rows)).toEqual(defaultLimits);
});

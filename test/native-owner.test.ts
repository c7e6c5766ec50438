import { existsSync, readdirSync, readFileSync } from "node:fs";
import { expect, test } from "vitest";

/** Docs: docs/decisions/0012-native-owner.md. */
test("the thread that owns a native session is the same text in every addon", () => {
  const packages = new URL("../packages/", import.meta.url);
  const files = readdirSync(packages)
    .map((name) => new URL(`${name}/native/src/owned_thread.rs`, packages))
    .filter((file) => existsSync(file));
  const [first, ...others] = files.map((file) => readFileSync(file, "utf8"));
  expect(others.length).toBeGreaterThan(1);
  for (const other of others) expect(other).toBe(first);
});

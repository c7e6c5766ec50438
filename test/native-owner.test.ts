import { cpSync, existsSync, mkdtempSync, readdirSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { expect, onTestFinished, test } from "vitest";
import { bringCrates } from "../scripts/release/crates.mjs";

const root = new URL("../", import.meta.url);

const addons = readdirSync(new URL("packages/", root)).filter((name) =>
  existsSync(new URL(`packages/${name}/native/Cargo.toml`, root)),
);

const textOf = (path: string): string => readFileSync(new URL(path, root), "utf8");

/** Docs: docs/decisions/0012-native-owner.md. */
test.each(addons)("%s has the thread that owns a session from the crate, and no text of its own", (name) => {
  expect(textOf(`packages/${name}/native/Cargo.toml`)).toContain(
    'crossrank-native-owner = { path = "../../../native/owner" }',
  );
  expect(textOf(`packages/${name}/native/Cargo.lock`)).toContain('name = "crossrank-native-owner"');
  const sources = new URL(`packages/${name}/native/src/`, root);
  const texts = readdirSync(sources, { recursive: true, encoding: "utf8" })
    .filter((file) => file.endsWith(".rs"))
    .map((file) => readFileSync(new URL(file, sources), "utf8"));
  expect(texts.some((text) => text.includes("use crossrank_native_owner::{Jobs, OwnedThread}"))).toBe(true);
  // What it takes to do it by oneself.
  for (const text of texts) expect(text).not.toMatch(/thread_local!|JoinHandle|struct OwnedThread/);
});

test.each(addons)("%s has the crate within its package, so that users can build it", (name) => {
  const place = mkdtempSync(join(tmpdir(), "crossrank-crates-"));
  onTestFinished(() => rmSync(place, { recursive: true }));
  const directory = fileURLToPath(new URL(`packages/${name}`, root));
  for (const file of ["package.json", "native/Cargo.toml", "native/src"]) {
    cpSync(join(directory, file), join(place, file), { recursive: true });
  }
  bringCrates(place, directory);
  const manifest = readFileSync(join(place, "native/Cargo.toml"), "utf8");
  expect(manifest).toContain('crossrank-native-owner = { path = "owner" }');
  expect(manifest).not.toContain("..");
  expect(readFileSync(join(place, "native/owner/src/lib.rs"), "utf8")).toBe(
    textOf("native/owner/src/lib.rs"),
  );
  expect(existsSync(join(place, "native/owner/Cargo.toml"))).toBe(true);
  expect(JSON.parse(readFileSync(join(place, "package.json"), "utf8")).files).toContain("native/owner");
});

test("there are addons", () => {
  expect(addons.length).toBeGreaterThan(3);
});

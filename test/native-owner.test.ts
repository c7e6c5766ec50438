import { readFileSync } from "node:fs";
import { expect, test } from "vitest";

/** Docs: docs/decisions/0012-native-owner.md. */
test("the thread that owns a native session is the same text in every addon", () => {
  const [mnn, coreml] = ["mnn", "coreml"].map((backend) =>
    readFileSync(
      new URL(`../packages/backend-${backend}/native/src/owned_thread.rs`, import.meta.url),
      "utf8",
    ),
  );
  expect(coreml).toBe(mnn);
});

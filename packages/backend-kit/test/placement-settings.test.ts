import { expect, test } from "vitest";
import { choosePlacement, requireTokens, settingsOf } from "../src/index.js";

test.each([
  [{}, { mostCopies: 4, cores: 16 }, { copies: 4, threads: 4 }],
  [{}, { mostCopies: 4, cores: 2 }, { copies: 2, threads: 1 }],
  [{}, { mostCopies: 1, mostThreads: 8, cores: 16 }, { copies: 1, threads: 8 }],
  [{ threads: 8 }, { mostCopies: 4, cores: 16 }, { copies: 2, threads: 8 }],
  [{ threads: 32 }, { mostCopies: 4, cores: 16 }, { copies: 1, threads: 32 }],
  [{ copies: 3 }, { mostCopies: 1, cores: 16 }, { copies: 3, threads: 5 }],
])("placement of %j within %j", (asked, limits, expected) => {
  expect(choosePlacement(asked, limits)).toEqual(expected);
});

test("equal settings are equal strings, and what is undefined is left out", () => {
  const settings = settingsOf({ memory: "low", flash: true, options: { b: 1, a: [2] }, none: undefined });
  expect(settings).toEqual({ memory: "low", flash: "true", options: '{"a":[2],"b":1}' });
});

test("an output about tokens needs their ids", () => {
  expect(() => requireTokens({ kinds: ["token-logits"] })).toThrow(/output\.tokens.*"token-logits"/);
  expect(() => requireTokens({ kinds: ["marked-states"], tokens: [-1] })).toThrow(/"marked-states"/);
  expect(() => requireTokens({ kinds: ["pooled"] })).not.toThrow();
  expect(() => requireTokens({ kinds: ["token-logits"], tokens: [7] })).not.toThrow();
});

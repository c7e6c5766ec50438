import { expect, test } from "vitest";
import { renderRuns } from "../history.mjs";
import { fillPage } from "../page.mjs";

const page = "# Page\n\n<!-- a:start -->\nold\n<!-- a:end -->\n\n<!-- b:start -->\nkept\n<!-- b:end -->\n";

test("a block takes the place of the one before, and the others stay", () => {
  const filled = fillPage(page, { a: "new $& $1" });
  expect(filled).toContain("<!-- a:start -->\n\nnew $& $1\n\n<!-- a:end -->");
  expect(filled).not.toContain("old");
  expect(filled).toContain("kept");
  expect(fillPage(filled, { a: "new $& $1" })).toBe(filled);
});

test("a block without a place is refused", () => {
  expect(() => fillPage(page, { c: "new" })).toThrow("c:start");
});

test("the history shows the last ten runs that held crossrank beside plain onnxruntime, and runs of other parts are none", () => {
  const run = (index: number, parts: Record<string, Record<string, unknown>>) => ({
    date: `2026-01-${String(index + 10)}T08:09:10Z`,
    commit: `c${index}`,
    command: "npm run bench",
    node: "v20",
    threads: 2,
    load: 1,
    parts,
  });
  const encoders = {
    "crossrank-onnx-fp32": { ms: 41.26, share: 0.745 },
    "onnxruntime-fp32": { ms: 42, ratio: [0.98, 1.0123, 1.05] },
  };
  const runs = [
    ...Array.from({ length: 12 }, (_, index) => run(index, { encoders })),
    run(12, { start: { crossrank: { ms: 1 } } }),
  ];
  const text = renderRuns("a processor", runs);
  expect(text.match(/^\| 2026/gm)).toHaveLength(10);
  expect(text).toContain("| 2026-01-21 08:09 | c11 | 1 | 41.3 | 75 % | 1.01 (0.98 to 1.05) |  |  |  |");
  expect(text).not.toContain("c12");
  expect(renderRuns("a processor", [])).toContain("No run");
});

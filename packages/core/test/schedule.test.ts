import fc from "fast-check";
import { describe, expect, it } from "vitest";
import type { EncodedSequence } from "../src/entries/encoding.js";
import { fillBatch, planBatches } from "../src/run/scheduler.js";

const preference = { rows: 8, tokens: 1024, padding: 0.1 };
const limits = fc.record({
  sequenceLengths: fc.oneof(fc.constant("any" as const), fc.constant([128, 256, 512] as const)),
  batchSize: fc.oneof(
    fc.record({ max: fc.integer({ min: 1, max: 40 }) }),
    fc.record({ exactly: fc.integer({ min: 1, max: 20 }) }),
  ),
  batchPreference: fc.record({
    rows: fc.integer({ min: 1, max: 64 }),
    tokens: fc.integer({ min: 1, max: 8192 }),
    padding: fc.double({ min: 0, max: 1, noNaN: true }),
  }),
});
const lengths = fc.array(fc.integer({ min: 1, max: 512 }), { maxLength: 120 });

function sequence(length: number, id = 7): EncodedSequence {
  return {
    ids: new Int32Array(length).fill(id),
    segmentIds: new Int32Array(length).fill(1),
    truncatedTokens: 0,
    truncatedTokensIsMinimum: false,
    truncatedQueryTokens: 0,
    queryOverflow: false,
    illFormed: false,
  };
}

describe("scheduler", () => {
  it("puts every sequence into exactly one batch that keeps to the limits", () => {
    fc.assert(
      fc.property(lengths, limits, (list, limit) => {
        const batches = planBatches(list, limit);
        expect(batches.flatMap((batch) => [...batch.members]).sort((a, b) => a - b)).toEqual(
          list.map((_, i) => i),
        );
        for (const { members, rows, columns } of batches) {
          expect(members.length).toBeGreaterThan(0);
          expect(members.every((member) => (list[member] as number) <= columns)).toBe(true);
          if (limit.sequenceLengths !== "any") expect(limit.sequenceLengths).toContain(columns);
          if ("exactly" in limit.batchSize) {
            expect(rows).toBe(limit.batchSize.exactly);
            expect(members.length).toBeLessThanOrEqual(rows);
          } else {
            expect(rows).toBe(members.length);
            expect(rows).toBeLessThanOrEqual(Math.min(limit.batchSize.max, limit.batchPreference.rows));
            expect(rows === 1 || rows * columns <= limit.batchPreference.tokens).toBe(true);
          }
        }
      }),
    );
  });

  it("batches like with like: padding stays below the preference", () => {
    fc.assert(
      fc.property(lengths, (list) => {
        for (const { members, rows, columns } of planBatches(list, {
          sequenceLengths: "any",
          batchSize: { max: 64 },
          batchPreference: preference,
        })) {
          const real = members.reduce((sum, member) => sum + (list[member] as number), 0);
          expect(1 - real / (rows * columns)).toBeLessThanOrEqual(preference.padding + 1e-9);
        }
      }),
    );
  });

  it("runs the longest first and keeps the order of equals", () => {
    const batches = planBatches([5, 9, 5, 9, 1], {
      sequenceLengths: "any",
      batchSize: { max: 2 },
      batchPreference: { rows: 2, tokens: 100, padding: 0 },
    });
    expect(batches.map((batch) => batch.members)).toEqual([[1, 3], [0, 2], [4]]);
  });

  it("fills the rows of an exact batch rather than leave them empty", () => {
    const batches = planBatches([500, 100, 100, 100], {
      sequenceLengths: [128, 256, 512],
      batchSize: { exactly: 20 },
      batchPreference: preference,
    });
    expect(batches).toEqual([{ members: [0, 1, 2, 3], rows: 20, columns: 512 }]);
  });

  it("refuses a sequence that no allowed length holds", () => {
    const limit = { sequenceLengths: [128], batchSize: { max: 1 }, batchPreference: preference } as const;
    expect(() => planBatches([129], limit)).toThrow(RangeError);
  });

  it("pads on the right and leaves padding rows empty", () => {
    const batch = fillBatch({ members: [1, 0], rows: 3, columns: 4 }, [sequence(2), sequence(3, 9)], 1);
    expect([...batch.inputIds]).toEqual([9, 9, 9, 1, 7, 7, 1, 1, 1, 1, 1, 1]);
    expect([...batch.attentionMask]).toEqual([1, 1, 1, 0, 1, 1, 0, 0, 0, 0, 0, 0]);
    expect([...batch.segmentIds]).toEqual([1, 1, 1, 0, 1, 1, 0, 0, 0, 0, 0, 0]);
    expect([...batch.lengths]).toEqual([3, 2, 0]);
  });
});

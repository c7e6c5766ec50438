import { describe, expect, it } from "vitest";
import {
  type BarRow,
  drawBars,
  drawDeltas,
  drawScatter,
  drawSpeed,
  type SpeedRow,
} from "../src/report/charts.js";
import { linearTicks, lineHeight, logarithmicTicks, textWidth, width } from "../src/report/svg.js";
import { hostileText } from "./report-data/reports.js";
import { parseXml } from "./report-data/xml.js";

interface Box {
  readonly text: string;
  readonly left: number;
  readonly right: number;
  readonly top: number;
  readonly bottom: number;
}

function unescaped(text: string): string {
  const named: Record<string, string> = { lt: "<", gt: ">", quot: '"', amp: "&" };
  return text.replace(/&(?:#(\d+)|(\w+));/g, (_, code: string | undefined, name: string) =>
    code === undefined ? (named[name] ?? "") : String.fromCodePoint(Number(code)),
  );
}

/** Where the drawing's upright texts stand, by their estimated widths. */
function textsOf(svg: string): Box[] {
  return [...svg.matchAll(/<text x="([\d.-]+)" y="([\d.-]+)" text-anchor="(\w+)">([^<]*)<\/text>/g)].map(
    ([, x, y, anchor, escaped = ""]) => {
      const text = unescaped(escaped);
      const size = textWidth(text);
      const left = Number(x) - (anchor === "start" ? 0 : anchor === "middle" ? size / 2 : size);
      const middle = Number(y) - 4;
      return {
        text,
        left,
        right: left + size,
        top: middle - lineHeight / 2,
        bottom: middle + lineHeight / 2,
      };
    },
  );
}

function covering(boxes: readonly Box[]): string[] {
  return boxes.flatMap((a, index) =>
    boxes
      .slice(index + 1)
      .filter(
        (b) =>
          Math.min(a.right, b.right) - Math.max(a.left, b.left) > 0.5 &&
          Math.min(a.bottom, b.bottom) - Math.max(a.top, b.top) > 0.5,
      )
      .map((b) => `${a.text} and ${b.text}`),
  );
}

function heightOf(svg: string): number {
  return Number(/viewBox="0 0 380 ([\d.]+)"/.exec(svg)?.[1]);
}

/** Every text is within the drawing, and covers no other. */
function expectReadable(svg: string): void {
  expect(() => parseXml(`<?xml version="1.0" encoding="UTF-8"?>\n${svg}`)).not.toThrow();
  expect(svg).not.toMatch(/NaN|Infinity|undefined|style=/);
  const texts = textsOf(svg);
  expect(texts.length).toBeGreaterThan(0);
  for (const box of texts) {
    expect(box.left, box.text).toBeGreaterThanOrEqual(-0.5);
    expect(box.right, box.text).toBeLessThanOrEqual(width + 0.5);
    expect(box.top, box.text).toBeGreaterThanOrEqual(-4);
    expect(box.bottom, box.text).toBeLessThanOrEqual(heightOf(svg));
  }
  expect(covering(texts)).toEqual([]);
}

const rows: readonly BarRow[] = [
  { name: "random", role: "baseline", value: 0.31, interval: { lower: 0.28, upper: 0.34 }, failed: false },
  { name: "onnx:fp32", role: "reference", value: 0.92, interval: { lower: 0.9, upper: 1 }, failed: false },
  {
    name: "a system with a very long name:int8",
    role: "candidate",
    value: 0.5,
    interval: undefined,
    failed: true,
  },
];

function speeds(...facts: readonly [documentsPerSecond: number, value: number][]): SpeedRow[] {
  return facts.map(([documentsPerSecond, value], index) => ({
    name: `a system, no. ${index}`,
    role: index === 0 ? "reference" : "candidate",
    value,
    interval: undefined,
    failed: index === 2,
    documentsPerSecond,
  }));
}

describe("bars", () => {
  it("are as long as their values, on one scale, with whiskers and figures", () => {
    const svg = drawBars(rows, "nDCG@10");
    expectReadable(svg);
    const lengths = [...svg.matchAll(/<rect x="[\d.]+" y="[\d.]+" width="([\d.]+)"/g)].map(([, size]) =>
      Number(size),
    );
    expect(lengths).toHaveLength(3);
    rows.forEach(({ value }, index) => {
      expect((lengths[index] ?? 0) / (lengths[0] ?? 1)).toBeCloseTo(value / 0.31, 2);
    });
    // Two lines and two ends each, of the two rows that have an interval.
    expect(svg.match(/stroke="var\(--ink\)" stroke-width="1.5"/g)).toHaveLength(6);
    expect(textsOf(svg).map(({ text }) => text)).toEqual(
      expect.arrayContaining(["random", "0.3100", "0.9200", "0.5000", "nDCG@10"]),
    );
    expect(svg).toContain("✗ a system with");
    expect(svg).toContain('fill="var(--loss)"');
    expect(svg).toContain('aria-label="a system with a very long name:int8: nDCG@10 0.5000, a gate failed"');
  });

  it("have an axis that suits small values, and no data", () => {
    const low = drawBars(
      [{ name: "x", role: "candidate", value: 0.02, interval: undefined, failed: false }],
      "MAP",
    );
    expectReadable(low);
    expect(textsOf(low).map(({ text }) => text)).toContain("0.1");
    expectReadable(drawBars([], "MAP"));
  });
});

describe("a scatter", () => {
  it("has one scale in both directions, so that equal scores lie on the dashed line", () => {
    const points = [-5, 0, 2.5].map((value) => ({ reference: value, candidate: value }));
    const svg = drawScatter(points, { reference: "onnx:fp32, logit", candidate: "onnx:int8, logit" });
    expectReadable(svg);
    const [, x1, y1, x2, y2] =
      /x1="([\d.]+)" y1="([\d.]+)" x2="([\d.]+)" y2="([\d.]+)" stroke="var\(--ink-soft\)"/
        .exec(svg)
        ?.map(Number) ?? [];
    const slope = ((y2 ?? 0) - (y1 ?? 0)) / ((x2 ?? 0) - (x1 ?? 0));
    const marks = [...svg.matchAll(/<circle cx="([\d.]+)" cy="([\d.]+)"/g)];
    expect(marks).toHaveLength(3);
    for (const [, x, y] of marks)
      expect(Number(y)).toBeCloseTo((y1 ?? 0) + slope * (Number(x) - (x1 ?? 0)), 1);
  });

  it("draws one point, and none", () => {
    const names = { reference: "a", candidate: "b" };
    expectReadable(drawScatter([{ reference: 0, candidate: 0 }], names));
    expectReadable(drawScatter([], names));
  });
});

describe("changes by query", () => {
  it("draw losses beneath the line and gains above it", () => {
    const svg = drawDeltas([-0.5, -0.1, 0, 0.2], "nDCG@10");
    expectReadable(svg);
    expect(svg).toContain('fill="var(--loss)"');
    expect(svg).toContain('fill="var(--gain)"');
    expect(textsOf(svg).map(({ text }) => text)).toEqual(expect.arrayContaining(["−0.4", "0.0", "0.4", "4"]));
  });

  it("that are all zero, or a rounding, are drawn as nothing on an axis that can be read", () => {
    const none = drawDeltas([0, 0, 0], "nDCG@10");
    expectReadable(none);
    expect(none).toContain("no query changes");
    const ticks = ["−0.010", "−0.005", "0.000", "0.005", "0.010"];
    expect(textsOf(none).map(({ text }) => text)).toEqual(expect.arrayContaining(ticks));
    expect(none).not.toContain("var(--gain)");
    const rounding = drawDeltas([-1e-12, 0, 1e-12], "nDCG@10");
    expect(textsOf(rounding).map(({ text }) => text)).toEqual(expect.arrayContaining(ticks));
    expectReadable(drawDeltas([], "nDCG@10"));
    expectReadable(drawDeltas([-0.25], "nDCG@10"));
  });
});

describe("speed against quality", () => {
  it.each([
    ["one system", speeds([123, 0.5])],
    ["systems that tie in both", speeds([100, 0.5], [100, 0.5], [100, 0.5], [100, 0.5])],
    [
      "systems that all but tie",
      speeds([100, 0.5], [101, 0.5], [102, 0.5001], [103, 0.5], [400, 0.3], [99, 0.5]),
    ],
    ["systems far apart", speeds([1, 0.1], [50_000, 0.9], [3_000_000, 0.4])],
    [
      "a row along the upper edge",
      speeds(...Array.from({ length: 8 }, (_, at): [number, number] => [90 + at, 0.7])),
    ],
  ])("of %s: no label is covered or cut", (_, systems) => {
    const svg = drawSpeed(systems, "nDCG@10");
    expectReadable(svg);
    const texts = textsOf(svg).map(({ text }) => text);
    for (const { name, failed } of systems) expect(texts).toContain(failed ? `✗ ${name}` : name);
    expect(svg.match(/<path /g)).toHaveLength(systems.length);
  });

  it("says speed and quality of each mark", () => {
    expect(drawSpeed(speeds([1234.5, 0.5]), "MAP")).toContain(
      'aria-label="a system, no. 0: MAP 0.5000; 1230 documents/s"',
    );
  });
});

describe("the drawings' text", () => {
  it("is data and never markup", () => {
    const row: SpeedRow = { ...(speeds([3, 0.5])[0] as SpeedRow), name: hostileText };
    for (const svg of [
      drawBars([row], hostileText),
      drawSpeed([row], hostileText),
      drawDeltas([0.1], hostileText),
      drawScatter([{ reference: 1, candidate: 2 }], { reference: hostileText, candidate: hostileText }),
    ]) {
      expectReadable(svg);
      expect(svg).not.toMatch(/<(script|img|style)/);
    }
  });
});

describe("ticks", () => {
  it.each([
    [
      [0, 1],
      ["0.0", "0.2", "0.4", "0.6", "0.8", "1.0"],
    ],
    [
      [-7.2, 3.1],
      ["−6", "−4", "−2", "0", "2"],
    ],
    [
      [0.4712, 0.4718],
      ["0.4712", "0.4713", "0.4714", "0.4715", "0.4716", "0.4717", "0.4718"],
    ],
    [
      [0, 3000],
      ["0", "500", "1000", "1500", "2000", "2500", "3000"],
    ],
  ] as const)("from %j", (ends, labels) => {
    expect(linearTicks(ends).map(({ label }) => label)).toEqual(labels);
  });

  it("of a logarithmic axis are few, whatever it spans", () => {
    const labels = (low: number, high: number) =>
      logarithmicTicks([Math.log10(low), Math.log10(high)]).map(({ label }) => label);
    expect(labels(8, 600)).toEqual(["10", "20", "50", "100", "200", "500"]);
    expect(labels(900, 2_100_000)).toEqual(["1k", "10k", "100k", "1M"]);
    expect(labels(110, 130)).toEqual(["110", "115", "120", "125", "130"]);
  });
});

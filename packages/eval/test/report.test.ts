import { readFileSync } from "node:fs";
import { describe, expect, it } from "vitest";
import { codeCell, codeSpan, escapeHtml, escapeMarkdown, replaceForbidden } from "../src/report/escape.js";
import { showChange, showMetric } from "../src/report/figures.js";
import { palette } from "../src/report/html-style.js";
import { mtebTaskResult, renderHtml, renderJunit, renderMarkdown } from "../src/report/index.js";
import { bareReport, hostileReport, hostileText, recordedReport, systemOf } from "./report-data/reports.js";
import { parseXml, type XmlElement } from "./report-data/xml.js";

const shape = JSON.parse(
  readFileSync(new URL("report-data/mteb-task-result.json", import.meta.url), "utf8"),
) as {
  required: string[];
  properties: Record<string, string[]>;
  scores: Record<string, string>;
  scoreKeys: string[];
};

describe("the recorded report", () => {
  const report = recordedReport();

  it("has a failed gate, a passed system and all rows, so that the tests below can fail", () => {
    expect(report.passed).toBe(false);
    expect(report.systems.map(({ role }) => role)).toEqual(
      expect.arrayContaining(["random", "constant", "first-stage", "reference", "candidate"]),
    );
    expect(report.systems.filter(({ passed }) => passed === true)).not.toHaveLength(0);
    expect(report.systems.filter(({ passed }) => passed === false)).not.toHaveLength(0);
  });
});

it("never calls it a pass when there was no bound to pass", () => {
  const report = recordedReport();
  report.passed = true;
  for (const { gates } of report.systems) for (const gate of gates) gate.outcome = "reported";
  expect(renderMarkdown(report)).toContain("Nothing is judged at these precisions");
});

describe("HTML", () => {
  it("says everything: verdict, failed sentences, every system's metrics, the worst queries, all hashes", async () => {
    const report = recordedReport();
    const page = await renderHtml(report);
    expect(page).toMatch(/<title>failed: /);
    for (const { gates } of report.systems) {
      for (const { sentence } of gates) expect(page).toContain(escapeHtml(sentence));
    }
    const rows = page.slice(page.indexOf('id="all"'));
    for (const { name, metrics } of report.systems) {
      const row = rows.slice(rows.indexOf(`<th scope="row">${name}`));
      for (const metric of metrics) expect(row).toContain(`<td>${showMetric(metric.expected)}<small>`);
    }
    const reference = systemOf(report, "onnx:fp32").metrics[0]?.values ?? [];
    for (const { metrics } of report.systems.filter(({ role }) => role === "candidate")) {
      const changes = (metrics[0]?.values ?? []).map((value, index) => value - (reference[index] ?? 0));
      const worst = changes.indexOf(Math.min(...changes));
      expect(page).toContain(
        `<code>${report.task.queryIds[worst]}</code></th><td>${showChange(changes[worst])}</td>`,
      );
    }
    // Worst first.
    const [, losses = ""] = page.split("that lose most</caption>");
    const listed = [...losses.slice(0, losses.indexOf("</table>")).matchAll(/<td>−([\d.]+)<\/td>/g)].map(
      ([, loss]) => Number(loss),
    );
    expect(listed.length).toBeGreaterThan(1);
    expect(listed).toEqual([...listed].sort((a, b) => b - a));
    const hashes = JSON.stringify(report).match(/\b[0-9a-f]{64}\b/g) ?? [];
    expect(hashes.length).toBeGreaterThan(5);
    for (const hash of hashes) expect(page).toContain(hash);
  });

  it("draws bars for all rows with intervals, a scatter and the changes of each candidate, and speed", async () => {
    const report = recordedReport();
    const page = await renderHtml(report);
    const { metrics } = report.settings;
    const withCandidate = report.systems.filter(({ role }) => role === "candidate").length;
    expect(page.match(/<svg /g)).toHaveLength(metrics.length + 1 + 2 * withCandidate);
    for (const { name, metrics: results } of report.systems) {
      const [primary] = results;
      expect(page).toContain(
        `aria-label="${name}: nDCG@10 ${primary?.expected.toFixed(4)} (${primary?.interval?.lower.toFixed(4)} to ${primary?.interval?.upper.toFixed(4)})`,
      );
    }
    const { scores } = systemOf(report, "onnx:int8");
    expect(page).toContain(
      `${scores?.sample.query.length.toLocaleString("en-US")} of ${scores?.pairs.toLocaleString("en-US")} pairs, evenly spaced`,
    );
    // Every sampled pair is drawn once.
    const first = page.slice(page.indexOf("Scores against"));
    const scatter = first.slice(0, first.indexOf("</svg>"));
    expect(scatter.match(/<circle /g)).toHaveLength(scores?.sample.query.length ?? 0);
  });

  it("is the same text for the same report, and holds no script, link or address to load", async () => {
    const page = await renderHtml(recordedReport());
    expect(await renderHtml(recordedReport())).toBe(page);
    expect(page).toContain("default-src 'none'");
    expect(page).not.toMatch(/<(script|link|img|iframe|object|base|form)\b/i);
    expect(page).not.toMatch(/\b(src|srcset|action|formaction|poster)=/i);
    expect(page.match(/url\((?!#)/g)).toBeNull();
    expect(
      page.match(/https?:\/\/[^"<\s]*/g)?.filter((url) => !url.startsWith("http://www.w3.org/")),
    ).toEqual([]);
  });

  it("escapes what comes from data, files and models", async () => {
    const page = await renderHtml(hostileReport(), {
      queryTexts: new Map(hostileReport().task.queryIds.map((id) => [id, hostileText])),
    });
    const clean = await renderHtml(recordedReport(), {
      queryTexts: new Map(recordedReport().task.queryIds.map((id) => [id, "text"])),
    });
    const tags = (source: string) => new Set(source.match(/<\/?[a-z][a-z0-9]*/gi));
    // Two more kinds of section, no other element.
    const fresh = [...tags(page)].filter((tag) => !tags(clean).has(tag));
    expect(fresh.filter((tag) => !/^<\/?pre$/.test(tag))).toEqual([]);
    // Only attributes have bare quotes: without what stands in them, no tag has a handler.
    expect(page.replace(/"[^"]*"/g, '""').match(/<[^>]*\son\w+=/gi)).toBeNull();
    expect(page).toBe(replaceForbidden(page));
    expect(page).toContain("&lt;script&gt;alert(1)&lt;/script&gt;");
  });

  it("renders a report in which nothing is known but means", async () => {
    const page = await renderHtml(bareReport());
    expect(page).toContain("No gate was asked for");
    expect(page).not.toMatch(/\b(NaN|undefined|Infinity|null)\b/);
  });

  it("has colours of enough contrast in light and dark (WCAG 1.4.3, 1.4.11)", () => {
    for (const colours of Object.values(palette)) {
      const of = (name: string) => luminance(colours[name] ?? "");
      for (const ground of ["page", "card"]) {
        for (const text of ["ink", "ink-soft", "good", "warn", "bad"]) {
          expect(contrast(of(text), of(ground)), `${text} on ${ground}`).toBeGreaterThanOrEqual(4.5);
        }
        for (const mark of ["baseline", "reference", "candidate", "gain", "loss"]) {
          expect(contrast(of(mark), of(ground)), `${mark} on ${ground}`).toBeGreaterThanOrEqual(3);
        }
      }
    }
  });
});

describe("Markdown", () => {
  it("gives the verdict, one row a system and each failed sentence before the folds", () => {
    const report = recordedReport();
    const text = renderMarkdown(report);
    const top = text.slice(0, text.indexOf("<details>"));
    expect(text.split("\n")[0]).toMatch(/^### crossrank: ❌ failed · /);
    for (const { name, gates, metrics } of report.systems) {
      const row = top.split("\n").find((line) => line.startsWith(`| \`${name}\` |`));
      expect(row).toContain(showMetric(metrics[0]?.expected));
      for (const { outcome, sentence } of gates) {
        expect(text).toContain(escapeMarkdown(sentence));
        expect(top.includes(escapeMarkdown(sentence))).toBe(outcome === "failed");
      }
    }
    expect(text.match(/<details>/g)).toHaveLength(3);
    expect(text.match(/<\/details>/g)).toHaveLength(3);
  });

  it("keeps tables whole and makes nothing of hostile text", () => {
    const text = renderMarkdown(hostileReport());
    const bars = (line: string) => line.replace(/\\./g, "").split("|").length;
    const tables = text.split("\n").filter((line) => line.startsWith("|"));
    const [first] = tables;
    const rows = recordedReport().systems.length;
    expect(tables.slice(0, rows + 2).every((line) => bars(line) === bars(first ?? ""))).toBe(true);
    // Outside of code spans, which show their text as it is.
    const bare = text.replace(/(`+)(?!`).*?(?<!`)\1(?!`)/g, "");
    expect(bare.match(/<(?!\/?(details|summary|code)>)/g)).toBeNull();
    expect(bare).not.toMatch(/(?<!\\)\[/);
    expect(bare).not.toMatch(/(?<![\p{L}\p{N}])@\w/u);
    expect(bare).not.toContain("https://");
    for (const forbidden of ["\u0000", "\u202e"]) expect(text).not.toContain(forbidden);
  });

  it.each([
    ["1. item", "1\\. item"],
    ["# head", "\\#\u2060 head"],
    ["a*b_c", "a\\*b\\_c"],
    ["nDCG@10 of @me", "nDCG@10 of @\u2060me"],
    ["<b> & \\", "&lt;b&gt; &amp; \\\\"],
  ])("escapes %s", (text, expected) => {
    expect(escapeMarkdown(text)).toBe(expected);
  });

  it("fences code longer than the backticks in it", () => {
    expect(codeSpan("a`b")).toBe("``a`b``");
    expect(codeSpan("``")).toBe("``` `` ```");
    expect(codeCell("a|b")).toBe("<code>a&#124;b</code>");
  });
});

describe("JUnit XML", () => {
  /** Elements and attributes of the schema that Jenkins checks by (jenkinsci/xunit-plugin, junit-10.xsd). */
  const schema: Record<string, { required: string[]; optional: string[]; children: string[] }> = {
    testsuites: {
      required: [],
      optional: ["name", "time", "tests", "failures", "errors"],
      children: ["testsuite"],
    },
    testsuite: {
      required: ["name", "tests", "failures", "errors"],
      optional: ["group", "time", "skipped", "timestamp", "hostname", "id", "package", "file", "log", "url"],
      children: ["testsuite", "properties", "testcase", "system-out", "system-err"],
    },
    properties: { required: [], optional: [], children: ["property"] },
    property: { required: ["name", "value"], optional: [], children: [] },
    testcase: {
      required: ["name"],
      optional: ["time", "classname", "group"],
      children: ["skipped", "error", "failure", "system-out", "system-err"],
    },
    failure: { required: [], optional: ["type", "message"], children: [] },
    skipped: { required: [], optional: ["type", "message"], children: [] },
    "system-out": { required: [], optional: [], children: [] },
  };
  const checkElement = (element: XmlElement) => {
    const rule = schema[element.name];
    expect(rule, element.name).toBeDefined();
    const names = Object.keys(element.attributes);
    for (const name of rule?.required ?? []) expect(names).toContain(name);
    for (const name of names) expect([...(rule?.required ?? []), ...(rule?.optional ?? [])]).toContain(name);
    for (const child of element.children) {
      expect(rule?.children).toContain(child.name);
      checkElement(child);
    }
  };

  it.each([
    ["recorded", recordedReport],
    ["hostile", hostileReport],
  ])("of the %s report is one case a gate, with the sentence of each failure", (_, make) => {
    const report = make();
    const root = parseXml(renderJunit(report));
    checkElement(root);
    const judged = report.systems.filter(({ gates }) => gates.length > 0);
    expect(root.children).toHaveLength(judged.length);
    judged.forEach(({ gates }, index) => {
      const suite = root.children[index];
      const cases = suite?.children.filter(({ name }) => name === "testcase") ?? [];
      expect(cases).toHaveLength(gates.length);
      expect(suite?.attributes["tests"]).toBe(String(gates.length));
      gates.forEach(({ outcome, sentence }, position) => {
        const [inner] = cases[position]?.children ?? [];
        const expected = {
          passed: undefined,
          failed: "failure",
          reported: "skipped",
          degraded: "system-out",
        };
        expect(inner?.name).toBe(expected[outcome]);
        const readable = replaceForbidden(sentence);
        if (outcome === "failed") expect(inner?.attributes["message"]).toBe(readable);
      });
      const failed = gates.filter(({ outcome }) => outcome === "failed").length;
      expect(suite?.attributes["failures"]).toBe(String(failed));
    });
  });

  it("tells a degraded gate from a passed one", () => {
    const report = recordedReport();
    const [gate] = systemOf(report, "onnx:q4").gates;
    if (gate !== undefined) gate.outcome = "degraded";
    const [first] =
      parseXml(renderJunit(report)).children[1]?.children.filter(({ name }) => name === "testcase") ?? [];
    expect(first?.children.map(({ name, text }) => [name, text])).toEqual([["system-out", gate?.sentence]]);
  });
});

describe("MTEB result", () => {
  it("has the shape of mteb's TaskResult and all of mteb's scores", () => {
    const report = recordedReport();
    const result = mtebTaskResult(report, "onnx:int8", { taskName: "SciFact", languages: ["eng-Latn"] });
    const written = JSON.parse(JSON.stringify(result)) as Record<string, unknown>;
    for (const key of shape.required) expect(written).toHaveProperty(key);
    for (const [key, types] of Object.entries(shape.properties)) {
      if (key in written) expect(types).toContain(typeOf(written[key]));
    }
    expect(Object.keys(written).filter((key) => !(key in shape.properties))).toEqual(["crossrank"]);
    const [entry] = result.scores["test"] ?? [];
    for (const [key, type] of Object.entries(shape.scores)) expect(typeOf(entry?.[key])).toBe(type);
    // mteb calls recall at 1 accuracy, too.
    const keys = shape.scoreKeys.filter((key) => key !== "accuracy");
    expect(keys).toHaveLength(42);
    for (const key of keys) expect(entry?.[key], key).toBe(systemOf(report, "onnx:int8").mteb[key]);
    expect(entry?.main_score).toBe(entry?.["ndcg_at_10"]);
    expect(Number.isNaN(Date.parse(result.date))).toBe(false);
    expect(result.crossrank.perQuery.values["ndcg@10"]).toHaveLength(
      result.crossrank.perQuery.queries.length,
    );
  });

  it.each([
    ["mteb/AskUbuntuDupQuestions", "map_at_1000"],
    ["mteb/T2Reranking", "map_at_1000"],
    ["mteb/coreb-c2c-reranking", "map_at_10"],
    ["mteb/scifact", "ndcg_at_10"],
  ])("of %s is ranked by %s, as in mteb", (dataset, key) => {
    const report = recordedReport();
    report.task.id = dataset;
    const result = mtebTaskResult(report, "onnx:fp32");
    expect(result.crossrank.mainScore).toBe(key);
    // Without any language mteb's get_score finds no score.
    expect(result.scores["test"]?.[0].languages).toEqual(["und-Zyyy"]);
    expect(result.scores["test"]?.[0].main_score).toBe(systemOf(report, "onnx:fp32").mteb[key]);
  });

  it("refuses what it cannot say", () => {
    const report = recordedReport();
    expect(() => mtebTaskResult(report, "onnx:fp16")).toThrow(/onnx:fp32, onnx:int8/);
    expect(() => mtebTaskResult(report, "onnx:fp32", { mainScore: "ndcg_at_7" })).toThrow(/ndcg_at_10/);
    report.task.id = "orionweller/NevIR-mteb";
    expect(() => mtebTaskResult(report, "onnx:fp32")).toThrow(/measure that is not made here/);
    expect(mtebTaskResult(report, "onnx:fp32", { mainScore: "map_at_10" }).crossrank.mainScore).toBe(
      "map_at_10",
    );
  });
});

function typeOf(value: unknown): string {
  return value === null ? "null" : Array.isArray(value) ? "array" : typeof value;
}

/** Relative luminance as WCAG 2.2 defines it. */
function luminance(hex: string): number {
  const [red = 0, green = 0, blue = 0] = [1, 3, 5].map((at) => {
    const share = Number.parseInt(hex.slice(at, at + 2), 16) / 255;
    return share <= 0.04045 ? share / 12.92 : ((share + 0.055) / 1.055) ** 2.4;
  });
  return 0.2126 * red + 0.7152 * green + 0.0722 * blue;
}

function contrast(a: number, b: number): number {
  return (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
}

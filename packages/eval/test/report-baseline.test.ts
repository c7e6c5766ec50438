import { describe, expect, it } from "vitest";
import { mean, nonInferiority, signFlipTest } from "../src/index.js";
import {
  BaselineFormatError,
  type BaselineObstacle,
  compareWithBaseline,
  parseBaseline,
  renderHtml,
  renderJunit,
  renderMarkdown,
  updateBaseline,
} from "../src/report/index.js";
import { type OpenReport, recordedReport, systemOf } from "./report-data/reports.js";
import { parseXml } from "./report-data/xml.js";

const name = "onnx:int8";
const recorded = parseBaseline(updateBaseline(recordedReport()));

/** Lowers a metric of a system in every third query. */
function worsen(report: OpenReport, metric: string, by: number): readonly number[] {
  const result = systemOf(report, name).metrics.find((entry) => entry.name === metric);
  if (result === undefined) throw new Error(`no ${metric}`);
  const differences = result.values.map((value, index) =>
    index % 3 === 0 ? Math.max(0, value - by) - value : 0,
  );
  result.values = result.values.map((value, index) => value + (differences[index] ?? 0));
  result.expected = mean(result.values);
  return differences;
}

describe("a baseline file", () => {
  it("is the same for the same report in another order of keys, and ends in a new line", () => {
    const report = recordedReport();
    const reversed = JSON.parse(JSON.stringify(report), (_, value: unknown) =>
      typeof value === "object" && value !== null && !Array.isArray(value)
        ? Object.fromEntries(Object.entries(value).reverse())
        : value,
    ) as OpenReport;
    const text = updateBaseline(report);
    expect(updateBaseline(reversed)).toBe(text);
    expect(text.endsWith("}\n")).toBe(true);
  });

  it("has sorted keys, one line a list, and every hash that decides", () => {
    const report = recordedReport();
    const text = updateBaseline(report);
    const lists = text.split("\n").filter((line) => line.includes('": ['));
    expect(lists.length).toBeGreaterThan(10);
    for (const line of lists) expect(line).toMatch(/\],?$/);
    const sortedKeys = (value: unknown): void => {
      if (typeof value !== "object" || value === null || Array.isArray(value)) return;
      expect(Object.keys(value)).toEqual(Object.keys(value).sort());
      Object.values(value).forEach(sortedKeys);
    };
    sortedKeys(JSON.parse(text));
    const { model } = systemOf(report, name);
    expect(text).toContain(model?.artifact.files[0]?.sha256);
    expect(text).toContain(model?.tokenizerSha256);
    expect(text).toContain(report.task.candidates?.sha256);
    expect(text).toContain(`"@crossrank/core": "${report.environment.packages["@crossrank/core"]}"`);
    expect(Object.keys(recorded.systems)).toEqual(["onnx:fp32", "onnx:int8", "onnx:q4"]);
  });

  it("keeps every value of every query to the last digit", () => {
    for (const { name: metric, expected, values } of systemOf(recordedReport(), name).metrics) {
      expect(recorded.systems[name]?.metrics[metric]).toEqual({ mean: expected, values });
    }
  });

  it.each([
    ["nonsense", /not JSON/],
    ["[]", /no object/],
    ['{"specificationVersion":"2"}', /expected "1"/],
    ['{"specificationVersion":"1","task":3}', /task is no object/],
    [JSON.stringify({ ...recorded, task: { ...recorded.task, queries: ["1"] } }), /one number a query/],
    [updateBaseline(recordedReport()).replaceAll('"settings": {', '"others": {'), /settings is no object/],
    [updateBaseline(recordedReport()).replace('"values": [', '"values": [null,'), /one number a query/],
  ])("refuses a text that is none", (text, message) => {
    expect(() => parseBaseline(text)).toThrow(BaselineFormatError);
    expect(() => parseBaseline(text)).toThrow(message);
  });
});

describe("comparing with a baseline", () => {
  it("passes without any change, and says that nothing changed", () => {
    const comparison = compareWithBaseline(recordedReport(), recorded);
    expect(comparison).toMatchObject({ outcome: "passed", obstacles: [], notes: [] });
    expect(comparison.systems).toHaveLength(3);
    for (const { status, notes, changes } of comparison.systems) {
      expect({ status, notes }).toEqual({ status: "compared", notes: [] });
      for (const change of changes) {
        expect(change).toMatchObject({ mean: 0, lowerBound: 0, pValue: 1, wins: 0, losses: 0 });
      }
    }
  });

  it("fails where quality was lost, with the paired statistics of the queries", () => {
    const report = recordedReport();
    const differences = worsen(report, "ndcg@10", 0.4);
    const { seed, resamples, level, margin } = report.settings;
    const comparison = compareWithBaseline(report, recorded);
    expect(comparison.outcome).toBe("failed");
    const system = comparison.systems.find((entry) => entry.name === name);
    const byId = report.task.queryIds
      .map((id, index) => [id, differences[index] ?? 0] as const)
      .sort(([a], [b]) => Buffer.compare(Buffer.from(a), Buffer.from(b)))
      .map(([, value]) => value);
    const test = nonInferiority(byId, { margin, level, seed, resamples });
    expect(test.passed).toBe(false);
    const change = system?.changes.find(({ metric }) => metric === "ndcg@10");
    expect(change?.mean).toBeCloseTo(test.mean, 12);
    expect(change?.lowerBound).toBeCloseTo(test.lowerBound, 12);
    expect(change?.pValue).toBe(signFlipTest(byId, { seed, resamples }).pValue);
    expect(change?.adjustedPValue).toBeGreaterThan(change?.pValue ?? 1);
    expect(change?.losses).toBe(differences.filter((value) => value < 0).length);
    expect(system?.gate?.sentence).toContain("failed");
    expect(comparison.sentences).toContain(`${name} against the baseline: ${system?.gate?.sentence}`);
    expect(comparison.systems.filter(({ gate }) => gate?.outcome === "passed")).toHaveLength(2);
  });

  it("gates on the primary metric alone", () => {
    const report = recordedReport();
    worsen(report, "mrr@10", 0.4);
    const comparison = compareWithBaseline(report, recorded);
    expect(comparison.outcome).toBe("passed");
    const changes = comparison.systems.find((entry) => entry.name === name)?.changes;
    expect(changes?.find(({ metric }) => metric === "mrr@10")?.mean).toBeLessThan(-0.05);
  });

  it("pairs by query id, whatever the order", () => {
    const report = recordedReport();
    report.task.queryIds.reverse();
    for (const { metrics } of report.systems) for (const { values } of metrics) values.reverse();
    const comparison = compareWithBaseline(report, recorded);
    expect(comparison.outcome).toBe("passed");
    expect(comparison.systems.flatMap(({ changes }) => changes.filter(({ mean }) => mean !== 0))).toEqual([]);
  });

  it.each<[string, BaselineObstacle["what"], (report: OpenReport) => void]>([
    ["candidates", "candidates", (report) => Object.assign(report.task.candidates ?? {}, { sha256: "0" })],
    ["kind of task", "task", (report) => Object.assign(report.task, { kind: "retrieval" })],
    [
      "dataset of the hub",
      "task",
      (report) => Object.assign(report.task, { id: "mteb/other", revision: "1" }),
    ],
    ["revision", "revision", (report) => Object.assign(report.task, { revision: "1" })],
    ["split", "split", (report) => Object.assign(report.task, { split: "dev" })],
    ["subset", "split", (report) => Object.assign(report.task, { subset: "de" })],
    ["model of the hub", "model", (report) => Object.assign(report.model, { id: "a/b", revision: "1" })],
    [
      "judgements",
      "files",
      (report) =>
        Object.assign(report.task.files.find(({ role }) => role === "qrels") ?? {}, { sha256: "0" }),
    ],
    [
      "queries",
      "queries",
      (report) => {
        report.task.queryIds.pop();
        for (const { metrics } of report.systems) for (const { values } of metrics) values.pop();
      },
    ],
  ])("says that another %s cannot be compared, and compares nothing", (_, what, change) => {
    const report = recordedReport();
    // The loss must not show: it would be one of something else.
    worsen(report, "ndcg@10", 0.4);
    change(report);
    const comparison = compareWithBaseline(report, recorded);
    expect(comparison.outcome).toBe("not comparable");
    expect(comparison.systems).toEqual([]);
    expect(comparison.obstacles.map((obstacle) => obstacle.what)).toContain(what);
    expect(comparison.sentences.every((sentence) => sentence.startsWith("Not comparable"))).toBe(true);
  });

  it.each<[string, BaselineObstacle["what"], object]>([
    ["tokenizer", "tokenizer", { tokenizerSha256: "0" }],
    ["template", "input", { template: "{document}" }],
    ["maximum length", "input", { maxLength: 7 }],
    ["truncation", "input", { truncation: "longest-first" }],
    ["instruction", "input", { instruction: "be strict" }],
    ["prefix", "input", { queryPrefix: "query: " }],
    ["setting of its backend", "settings", { settings: { batch: "8 rows" } }],
    ["set of settings", "settings", { settings: {} }],
  ])("does not compare a system with another %s, but the others", (_, what, change) => {
    const report = recordedReport();
    worsen(report, "ndcg@10", 0.4);
    Object.assign(systemOf(report, name).model ?? {}, change);
    const comparison = compareWithBaseline(report, recorded);
    expect(comparison.outcome).toBe("not comparable");
    const statuses = Object.fromEntries(comparison.systems.map((system) => [system.name, system.status]));
    expect(statuses).toEqual({
      "onnx:fp32": "compared",
      "onnx:int8": "not comparable",
      "onnx:q4": "compared",
    });
    const system = comparison.systems.find((entry) => entry.name === name);
    expect(system?.obstacles.map((obstacle) => obstacle.what)).toEqual([what]);
    expect(system?.changes).toEqual([]);
  });

  it("says which settings another system has", () => {
    const report = recordedReport();
    const { model } = systemOf(report, name);
    if (model !== null) model.settings = { flashAttention: "true", batch: "8 rows" };
    expect(compareWithBaseline(report, recorded).sentences).toContain(
      `${name} cannot be compared with the baseline: the backend's settings were batch 1 row and are ` +
        "batch 8 rows, flashAttention true, which makes it another system.",
    );
  });

  it("notes another artifact, runtime, package and folder, and compares", () => {
    const report = recordedReport();
    report.environment.packages["@crossrank/core"] = "9.9.9";
    report.task.id = "elsewhere/scifact";
    const { model } = systemOf(report, name);
    if (model !== null) {
      model.backend.runtime.version = "9.9.9";
      model.artifact.files = [{ path: "onnx/model_int8.onnx", sha256: "1".repeat(64) }];
    }
    const comparison = compareWithBaseline(report, recorded);
    expect(comparison.outcome).toBe("passed");
    expect(comparison.notes.join("\n")).toMatch(
      /elsewhere\/scifact[\s\S]*@crossrank\/core was .* and is 9\.9\.9/,
    );
    const notes = comparison.systems.find((entry) => entry.name === name)?.notes ?? [];
    expect(notes.map((note) => note.split(" ")[1])).toEqual(["artifact", "runtime"]);
  });

  it("does not pass when a system is gone, and says which is new", () => {
    const report = recordedReport();
    systemOf(report, name).name = "onnx:uint8";
    const comparison = compareWithBaseline(report, recorded);
    expect(comparison.outcome).toBe("not comparable");
    expect(comparison.sentences).toContain("onnx:uint8 is not in the baseline.");
    expect(comparison.sentences.join("\n")).toContain("onnx:int8 cannot be compared");
  });

  it("stands in every report, with what failed, what cannot be compared, and what changed", async () => {
    const report = recordedReport();
    worsen(report, "ndcg@10", 0.4);
    Object.assign(systemOf(report, "onnx:q4").model ?? {}, { tokenizerSha256: "<b>another</b>" });
    const baseline = compareWithBaseline(report, recorded);
    const sentence = baseline.systems.find((entry) => entry.name === name)?.gate?.sentence ?? "";
    expect(baseline.outcome).toBe("failed");

    const page = await renderHtml(report, { baseline });
    expect(page).toContain(`<strong>${name}</strong> against the baseline: ${sentence}`);
    expect(page).toContain("&lt;b&gt;another&lt;/b&gt;");
    expect(await renderHtml(report)).not.toContain('id="baseline"');

    const summary = renderMarkdown(report, { baseline });
    expect(summary).toMatch(/\*\*Baseline\*\*: ❌ failed\. 1 of 2 systems/);
    expect(summary).toContain("&lt;b&gt;another&lt;/b&gt;");
    expect(renderMarkdown(report)).not.toContain("**Baseline**");

    const root = parseXml(renderJunit(report, { baseline }));
    const suite = root.children.at(-1);
    expect(suite?.attributes).toMatchObject({ name: "baseline", tests: "3", failures: "2" });
    const messages = suite?.children.map(({ children }) => children[0]?.attributes["message"]);
    expect(messages?.[0]).toBeUndefined();
    expect(messages?.[1]).toBe(`against the baseline: ${sentence}`);
    expect(messages?.[2]).toContain("<b>another</b>");
    expect(root.attributes["tests"]).toBe(
      String(root.children.reduce((total, { attributes }) => total + Number(attributes["tests"]), 0)),
    );
  });

  it("needs more than one query for a verdict", () => {
    const report = recordedReport();
    report.task.queryIds.length = 1;
    for (const { metrics } of report.systems) for (const { values } of metrics) values.length = 1;
    const comparison = compareWithBaseline(report, parseBaseline(updateBaseline(report)));
    expect(comparison.outcome).toBe("failed");
    expect(comparison.systems[0]?.gate?.sentence).toContain("no spread");
  });
});

import { describe, expect, it } from "vitest";
import {
  cellOutcome,
  cellProblems,
  compareWithBaseline,
  type MatrixCell,
  type MatrixReport,
  matrixHeadline,
  matrixPassed,
  parseBaseline,
  renderMatrixHtml,
  renderMatrixJunit,
  renderMatrixMarkdown,
  updateBaseline,
} from "../src/index.js";
import { failedGates } from "../src/report/reading.js";
import { hostileReport, hostileText, recordedReport } from "./report-data/reports.js";
import { parseXml, type XmlElement } from "./report-data/xml.js";

function cell(name: string, more: Partial<MatrixCell> = {}): MatrixCell {
  const folder = name.replaceAll(" ", "-");
  return { name, folder, report: recordedReport(), baseline: null, error: null, failures: [], ...more };
}

function matrix(cells: readonly MatrixCell[], more: Partial<MatrixReport> = {}): MatrixReport {
  return { created: "2026-01-02T03:04:05.678Z", cells, problems: [], notes: [], ...more };
}

/** The recorded report without what failed. */
function passedReport(): NonNullable<MatrixCell["report"]> {
  const report = recordedReport();
  for (const system of report.systems) {
    system.gates = system.gates.filter(({ passed }) => passed);
    if (system.passed !== null) system.passed = true;
  }
  report.passed = true;
  return report;
}

const failed = cell("failed");
const passed = cell("passed", { report: passedReport() });
const broken = cell("broken", { report: null, error: "There is no such model." });
const partial = cell("partial", {
  report: passedReport(),
  failures: [{ system: "onnx:q4", error: "There is no such file." }],
});
const unjudged = cell("unjudged", { report: { ...passedReport(), passed: null } });

function elements(root: XmlElement, name: string): XmlElement[] {
  return [
    ...(root.name === name ? [root] : []),
    ...root.children.flatMap((child) => (typeof child === "string" ? [] : elements(child, name))),
  ];
}

describe("a matrix", () => {
  it("fails for a failed gate, a missing result, a missing system, a problem, and nothing else", () => {
    expect([failed, passed, broken, partial, unjudged].map(cellOutcome)).toEqual([
      "failed",
      "passed",
      "error",
      "failed",
      "not judged",
    ]);
    expect(matrixPassed(matrix([passed, unjudged]))).toBe(true);
    expect(matrixPassed(matrix([unjudged]))).toBe(null);
    for (const one of [failed, broken, partial]) expect(matrixPassed(matrix([passed, one]))).toBe(false);
    expect(matrixPassed(matrix([passed], { problems: ["A cell is gone."] }))).toBe(false);
    expect(matrixHeadline(matrix([passed, failed, broken, unjudged]))).toBe(
      "4 cells: 1 passed, 1 failed, 1 without a result, 1 not judged.",
    );
  });

  it("says why each cell failed", () => {
    const gates = failedGates(recordedReport());
    expect(gates.length).toBeGreaterThan(0);
    expect(cellProblems(failed)).toEqual(gates.map(({ system, gate }) => `${system.name}: ${gate.sentence}`));
    expect(cellProblems(broken)).toEqual(["There is no such model."]);
    expect(cellProblems(partial)).toEqual(["onnx:q4 has no result: There is no such file."]);
    expect(cellProblems(passed)).toEqual([]);
  });

  it("fails for a baseline that cannot be compared, and passes with its own", () => {
    const report = passedReport();
    const own = parseBaseline(updateBaseline(report));
    const same = cell("same", { report, baseline: compareWithBaseline(report, own) });
    expect(cellOutcome(same)).toBe("passed");
    const other = { ...own, task: { ...own.task, candidatesSha256: "0".repeat(64) } };
    const different = cell("different", { report, baseline: compareWithBaseline(report, other) });
    expect(cellOutcome(different)).toBe("failed");
    expect(cellProblems(different)).toEqual([
      expect.stringMatching(/^Not comparable with the baseline: the sha256 of the candidates was/),
    ]);
    const cases = elements(parseXml(renderMatrixJunit(matrix([same, different]))), "testcase").filter(
      ({ attributes }) => attributes["name"] === "baseline",
    );
    expect(cases.map((one) => elements(one, "failure").length)).toEqual([0, 1]);
  });

  it("counts in JUnit what is there, and tells apart equal gates of different cells", () => {
    const root = parseXml(renderMatrixJunit(matrix([failed, passed, broken, partial])));
    const cases = elements(root, "testcase");
    const keys = cases.map(({ attributes }) => `${attributes["classname"]} ${attributes["name"]}`);
    expect(new Set(keys).size).toBe(keys.length);
    const count = (name: string): string => String(elements(root, name).length);
    expect(root.attributes).toMatchObject({
      tests: count("testcase"),
      failures: count("failure"),
      errors: count("error"),
    });
    expect(count("error")).toBe("2");
    expect(Number(count("failure"))).toBe(failedGates(recordedReport()).length);
    for (const suite of elements(root, "testsuite")) {
      expect(suite.attributes["tests"]).toBe(String(elements(suite, "testcase").length));
    }
  });

  it("escapes what comes from data, files and models", () => {
    const hostile = cell(hostileText, {
      folder: "hostile",
      report: hostileReport(),
      failures: [{ system: hostileText, error: hostileText }],
    });
    const all = matrix([hostile, cell(`${hostileText}2`, { report: null, error: hostileText })], {
      problems: [hostileText],
      notes: [hostileText],
    });
    const page = renderMatrixHtml(all);
    expect(page).not.toMatch(/<(script|img)\b/i);
    expect(page.match(/<\/title>/g)).toHaveLength(1);
    expect(page.match(/<\/style>/g)).toHaveLength(1);
    expect([...page.matchAll(/href="([^"]*)"/g)].map(([, address]) => address)).toEqual([
      ...new Array(hostileReport().systems.filter(({ model }) => model !== null).length).fill(
        "hostile/report.html",
      ),
      "hostile/report.html",
    ]);
    expect(elements(parseXml(renderMatrixJunit(all)), "error")).toHaveLength(2);
    // Each cell's own part is tested with the report's Markdown.
    const [overview = ""] = renderMatrixMarkdown(all).split("<details>");
    expect(overview).not.toMatch(/<(script|img)\b/i);
    // Every row has the columns of the head.
    const rows = overview.match(/^\|.*\|$/gm) ?? [];
    expect(rows.length).toBeGreaterThan(4);
    const columns = rows.map((row) => row.replaceAll("\\|", "").split("|").length);
    expect(new Set(columns).size).toBe(1);
  });
});

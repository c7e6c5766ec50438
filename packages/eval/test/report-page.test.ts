import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import path from "node:path";
import { pathToFileURL } from "node:url";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { renderHtml } from "../src/report/index.js";
import { chromium, visit } from "./report-data/browser.js";
import { bareReport, hostileReport, recordedReport, systemOf } from "./report-data/reports.js";

if (chromium === undefined) {
  console.warn(
    "report-page.test.ts is SKIPPED: it needs Chromium or Chrome (apt-get install chromium, or CHROMIUM=path)",
  );
}

/** Names of elements that reach beyond the window, those in a box that scrolls aside. */
const overflowing = `[...document.querySelectorAll("body *")].filter((element) =>
  element.getBoundingClientRect().right > innerWidth + 1 && !element.closest(".scroll")).map((element) => element.tagName)`;
const aside = `document.documentElement.scrollWidth - innerWidth`;
const duplicateIds = `(() => { const ids = [...document.querySelectorAll("[id]")].map(({ id }) => id);
  return ids.filter((id, index) => ids.indexOf(id) !== index); })()`;
const unlabelled = `[...document.querySelectorAll("svg")].filter((svg) =>
  !svg.closest("[aria-label]")?.getAttribute("aria-label")).length`;
const handlers = `[...document.querySelectorAll("*")].flatMap((element) =>
  [...element.attributes].filter(({ name }) => name.startsWith("on")).map(({ name }) => name))`;
const scripts = `document.querySelectorAll("script, img, iframe, link").length`;
const inkOfChart = `getComputedStyle(document.querySelector("svg text")).fill`;
const background = `getComputedStyle(document.body).backgroundColor`;
const charts = `[...document.querySelectorAll("svg")].filter((svg) => svg.getBoundingClientRect().width > 200).length`;
const smallestText = `Math.min(...[...document.querySelectorAll("svg text")].filter((text) => text.textContent !== "" &&
  text.getBoundingClientRect().width > 0).map((text) => text.getBoundingClientRect().height))`;
const text = `document.body.textContent`;

describe.skipIf(chromium === undefined)("the page in a browser", () => {
  let folder = "";
  const pages = { recorded: recordedReport, hostile: hostileReport, bare: bareReport };
  beforeAll(async () => {
    folder = mkdtempSync(path.join(tmpdir(), "crossrank-report-"));
    for (const [name, make] of Object.entries(pages)) {
      writeFileSync(path.join(folder, `${name}.html`), await renderHtml(make()));
    }
  });
  afterAll(() => rmSync(folder, { recursive: true, force: true }));

  it.each([
    ["recorded", 1280, false, ["rgb(28, 33, 40)", "rgb(255, 255, 255)"]],
    ["recorded", 390, true, ["rgb(232, 235, 239)", "rgb(18, 22, 28)"]],
    ["hostile", 390, false, ["rgb(28, 33, 40)", "rgb(255, 255, 255)"]],
    ["bare", 1280, true, ["rgb(232, 235, 239)", "rgb(18, 22, 28)"]],
  ] as const)(
    "%s, %i pixels wide, dark %s: nothing logged, loaded or cut off",
    async (name, width, dark, colours) => {
      const url = pathToFileURL(path.join(folder, `${name}.html`)).href;
      const { messages, requests, values, screenshot } = await visit(url, {
        width,
        dark,
        expressions: [
          overflowing,
          duplicateIds,
          unlabelled,
          handlers,
          scripts,
          inkOfChart,
          background,
          charts,
          smallestText,
          text,
          aside,
        ],
      });
      expect(messages).toEqual([]);
      expect(requests).toEqual([url]);
      expect(values.slice(0, 5)).toEqual([[], [], 0, [], 0]);
      expect(values.slice(5, 7)).toEqual(colours);
      expect(values[7]).toBeGreaterThanOrEqual(name === "bare" ? 1 : 6);
      expect(values[8]).toBeGreaterThanOrEqual(10);
      const report = pages[name]();
      const { gates } = systemOf(report, report.systems.at(-1)?.name ?? "");
      // The browser reads the text that was written, markup in it included.
      for (const { sentence } of name === "recorded" ? gates : []) expect(values[9]).toContain(sentence);
      if (name === "hostile")
        expect(values[9]).toContain("<script>alert(1)</script><img src=x onerror=alert(1)>");
      expect(values[10]).toBeLessThanOrEqual(0);
      expect(screenshot.length).toBeGreaterThan(20_000);
    },
  );
});

// Types into the page in a real Chromium and looks at what comes first.
import assert from "node:assert/strict";
import { mkdir } from "node:fs/promises";
import { join } from "node:path";
import chromium from "@sparticuz/chromium";
import { chromium as playwright } from "playwright-core";
import { serve } from "./serve.mjs";

const screenshots = process.env.CROSSRANK_SCREENSHOTS;
const { server, url } = await serve();
const { CROSSRANK_CHROMIUM, CHROME_PATH } = process.env;
const browser = await playwright.launch({
  executablePath: CROSSRANK_CHROMIUM ?? CHROME_PATH ?? (await chromium.executablePath()),
  // Root, as in a container, has no sandbox.
  args: ["--no-sandbox", "--disable-dev-shm-usage", "--disable-gpu"],
});

const views = [
  { name: "desktop", options: { viewport: { width: 1100, height: 900 }, colorScheme: "light" } },
  { name: "phone", options: { viewport: { width: 360, height: 740 }, colorScheme: "light", hasTouch: true } },
  { name: "dark", options: { viewport: { width: 1100, height: 900 }, colorScheme: "dark" } },
];
const questions = [
  ["How do plants make their food?", /^Photosynthesis/],
  ["why does coffee keep me awake", /^Coffee/],
  ["how long until I get my money back", /^Refunds/],
];

/** Kind of file → bytes that came over the wire. */
const bytes = new Map();
const kindOf = (path) =>
  path.endsWith(".wasm")
    ? "WebAssembly"
    : path.includes("/models/")
      ? "model"
      : /\.m?js$/.test(path)
        ? "JavaScript"
        : "page";

let shown = 0;
for (const { name, options } of views) {
  const context = await browser.newContext(options);
  const page = await context.newPage();
  const problems = [];
  page.on("pageerror", (error) => problems.push(error.message));
  page.on("console", (message) => message.type() === "error" && problems.push(message.text()));
  page.on("request", (request) => {
    if (!/^(blob|data):/.test(request.url())) assert.ok(request.url().startsWith(url), request.url());
  });
  const answers = [];
  page.on("response", (response) => answers.push(response));
  await page.goto(url);
  await page.waitForFunction(() => document.querySelector("#facts")?.textContent !== "", null, {
    timeout: 90_000,
  });
  assert.equal(await page.evaluate(() => crossOriginIsolated), true);
  for (const [question, first] of questions) {
    await page.locator("#query").fill("");
    await page.locator("#query").pressSequentially(question, { delay: 15 });
    await page.waitForFunction(
      (asked) => document.querySelector("#results")?.getAttribute("data-query") === asked,
      question,
      { timeout: 60_000 },
    );
    assert.match(await page.locator("#results li .text").first().textContent(), first);
    const scores = (await page.locator("#results .score").allInnerTexts()).map(Number);
    assert.equal(scores.length, 13);
    assert.ok(scores.every((score, place) => place === 0 || score <= scores[place - 1]));
    assert.match(await page.locator("#results .cut").first().textContent(), /^\d+ cut off$/);
    shown += 1;
    if (screenshots !== undefined && question === questions[0][0]) {
      await mkdir(screenshots, { recursive: true });
      await page.screenshot({ path: join(screenshots, `browser-${name}.png`) });
      await page.locator("summary").click();
      await page.evaluate(() => scrollTo(0, 0));
      await page.screenshot({ path: join(screenshots, `browser-${name}-whole.png`), fullPage: true });
    }
  }
  const overflows = "document.documentElement.scrollWidth > document.documentElement.clientWidth";
  assert.equal(await page.evaluate(overflows), false, `${name}: the page is wider than its window`);
  assert.deepEqual(problems, [], name);
  if (bytes.size === 0) {
    for (const answer of answers) {
      if (!answer.url().startsWith(url)) continue;
      const kind = kindOf(answer.url());
      bytes.set(kind, (bytes.get(kind) ?? 0) + Number(answer.headers()["content-length"] ?? 0));
    }
  }
  await context.close();
}
await browser.close();
server.closeAllConnections();
server.close();
const sizes = [...bytes].map(([kind, size]) => `${kind} ${(size / 1e6).toFixed(2)} MB`).join(", ");
console.log(`ok browser: ${shown} queries typed, the right document first each time; downloads: ${sizes}`);

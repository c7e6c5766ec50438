import { mkdir } from "node:fs/promises";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { onnx } from "@crossrank/backend-onnx";
import { createReranker } from "@crossrank/core";
import { openModel } from "@crossrank/hub";
import chromium from "@sparticuz/chromium";
import { type Browser, type BrowserContextOptions, type Page, chromium as playwright } from "playwright-core";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { kept, openNano, startScene } from "./scene.js";

// The page in a real Chromium, without a screen. CROSSRANK_SCREENSHOTS names a folder for what it looks like.

const screenshots = process.env["CROSSRANK_SCREENSHOTS"];
const nano = await openNano();
// Its weights are random, and so are its opinions.
const tiny = await createReranker({
  model: await openModel(fileURLToPath(new URL("../../conformance/fixtures/bert-logit", import.meta.url))),
  backend: onnx({ workers: 1 }),
  probe: false,
});
const models = [
  { name: "nano", open: async () => kept(nano) },
  { name: "tiny", open: async () => kept(tiny) },
];
const scene = await startScene({ models, loadWaitMilliseconds: 30_000 });
const alone = await startScene({ models: models.slice(0, 1), keys: ["open-sesame"] });
let browser: Browser;

beforeAll(async () => {
  browser = await playwright.launch({
    executablePath: await chromium.executablePath(),
    // Root, as in a container, has no sandbox.
    args: ["--no-sandbox", "--disable-dev-shm-usage", "--disable-gpu"],
    headless: true,
  });
  if (screenshots !== undefined) await mkdir(screenshots, { recursive: true });
});
afterAll(async () => {
  await browser?.close();
  await Promise.all([nano.dispose(), tiny.dispose()]);
});

/** A page, what it asks for, and what goes wrong in it. */
async function open(url: string, options: BrowserContextOptions = {}) {
  const context = await browser.newContext(options);
  const page = await context.newPage();
  const requests: string[] = [];
  const problems: string[] = [];
  page.on("request", (request) => requests.push(request.url()));
  page.on("pageerror", (error) => problems.push(error.message));
  page.on("console", (message) => {
    if (message.type() === "error" && !/status of 4\d\d/.test(message.text())) problems.push(message.text());
  });
  await page.goto(url);
  return { page, requests, problems, close: () => context.close() };
}

async function shot(page: Page, name: string): Promise<void> {
  if (screenshots !== undefined)
    await page.screenshot({ path: join(screenshots, `${name}.png`), fullPage: true });
}

const overflows = (page: Page): Promise<boolean> =>
  page.evaluate("document.documentElement.scrollWidth > document.documentElement.clientWidth");

const views = [
  ["wide and light", { viewport: { width: 1200, height: 800 }, colorScheme: "light" }],
  ["wide and dark", { viewport: { width: 1200, height: 800 }, colorScheme: "dark" }],
  ["a phone", { viewport: { width: 360, height: 740 }, colorScheme: "light", hasTouch: true }],
  ["a phone in the dark", { viewport: { width: 360, height: 740 }, colorScheme: "dark", hasTouch: true }],
] as const;

describe("the page", () => {
  it.each(views)("on %s ranks with two models and marks what differs", async (name, options) => {
    const { page, requests, problems, close } = await open(scene.url, options);
    await expect.poll(() => page.locator("#first option").count(), { timeout: 60_000 }).toBe(2);
    await page.locator("#second").selectOption("tiny");
    await page
      .locator("#documents")
      .fill(
        [
          "The cat sat on the mat.",
          "Vaccines train the immune system.",
          "word ".repeat(700),
          "Vaccines are made of <b>parts</b> of germs.",
        ].join("\n"),
      );
    await page.getByRole("button", { name: "Rank" }).click();
    await page.locator(".column").nth(1).waitFor();
    expect(await page.locator(".column").count()).toBe(2);
    expect(await page.locator(".column h2").allTextContents()).toEqual(["nano", "tiny"]);
    for (const place of [0, 1]) {
      const items = page.locator(".column").nth(place).locator("li > p");
      expect(await items.count()).toBe(4);
      // Texts are no HTML.
      expect(await page.locator(".column b").count()).toBe(0);
      if (place === 0) expect((await items.allTextContents())[0]).toContain("Vaccines");
      expect(await page.locator(".column").nth(place).locator(".cut").first().textContent()).toMatch(
        /^(at least )?\d+ tokens cut$/,
      );
    }
    const differences = await page.locator(".column").nth(1).locator(".head").allTextContents();
    for (const text of differences) expect(text).toMatch(/[+−]0\.\d{4}/);
    expect(await page.getByRole("status").textContent()).toMatch(/order|another place/);
    await shot(page, name.replaceAll(" ", "-"));
    expect(await overflows(page)).toBe(false);
    expect(problems).toEqual([]);
    for (const url of requests) expect(url.startsWith(scene.url) || url.startsWith("data:")).toBe(true);
    await close();
  });

  it("works with the keyboard alone", async () => {
    const { page, problems, close } = await open(scene.url);
    await expect.poll(() => page.locator("#first option").count(), { timeout: 60_000 }).toBe(2);
    const order: string[] = [];
    for (let times = 0; times < 6; times += 1) {
      await page.keyboard.press("Tab");
      order.push(await page.evaluate("document.activeElement.id || document.activeElement.tagName"));
    }
    expect(order).toEqual(["A", "query", "documents", "first", "second", "rank"]);
    await page.keyboard.press("Enter");
    await page.locator(".column").waitFor();
    await page.locator("#query").focus();
    await page.keyboard.press("ControlOrMeta+A");
    await page.keyboard.type("museum hours");
    await page.keyboard.press("Control+Enter");
    await expect
      .poll(() => page.locator(".column li > p").first().textContent(), { timeout: 60_000 })
      .toContain("museum");
    expect(problems).toEqual([]);
    await close();
  });

  it("asks for a key where one is needed, and says what is wrong", async () => {
    const { page, close } = await open(alone.url, { viewport: { width: 360, height: 740 } });
    const fault = page.getByRole("alert");
    await fault.waitFor();
    expect(await fault.textContent()).toContain("API key");
    await page.getByLabel("API key").fill("wrong");
    await page.getByLabel("API key").press("Tab");
    await expect.poll(() => fault.textContent(), { timeout: 60_000 }).toContain("is wrong");
    await shot(page, "a-key");
    await page.getByLabel("API key").fill("open-sesame");
    await page.getByLabel("API key").press("Tab");
    await expect.poll(() => page.locator("#first option").count(), { timeout: 60_000 }).toBe(1);
    await fault.waitFor({ state: "hidden" });
    await page.getByLabel("Documents").fill(" \n ");
    await page.getByRole("button", { name: "Rank" }).click();
    await expect.poll(() => fault.textContent(), { timeout: 60_000 }).toContain("at least one document");
    await page.getByLabel("Documents").fill("one");
    await page.getByRole("button", { name: "Rank" }).click();
    await page.locator(".column li").waitFor();
    expect(await page.locator("#second-field").isVisible()).toBe(false);
    await close();
  });

  it("has a policy that lets nothing else in", async () => {
    const { headers, text } = await scene.get("/");
    expect(headers.get("content-security-policy")).toMatch(
      /^default-src 'none'; script-src 'sha256-[^' ]+'; style-src 'sha256-/,
    );
    expect(text).not.toMatch(/https?:\/\/|style="| on\w+="/);
  });
});

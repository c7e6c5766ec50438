import { type ChildProcess, spawn } from "node:child_process";
import { existsSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import path from "node:path";
import type { Readable, Writable } from "node:stream";

/** An installed Chromium or Chrome, or undefined. `CHROMIUM` names one that lies elsewhere. */
export const chromium: string | undefined = [
  process.env["CHROMIUM"],
  ...["chromium", "chromium-browser", "google-chrome"].flatMap((name) =>
    (process.env["PATH"] ?? "").split(path.delimiter).map((folder) => path.join(folder, name)),
  ),
  "/Applications/Google Chrome.app/Contents/MacOS/Google Chrome",
].find((file) => file !== undefined && existsSync(file));

export interface VisitOptions {
  /** CSS pixels; below 600 the browser behaves as on a phone. */
  readonly width: number;
  readonly dark: boolean;
  /** Evaluated in the page once it is loaded. */
  readonly expressions: readonly string[];
}

export interface PageVisit {
  /** Console messages and uncaught errors, and what the browser itself logs (blocked by policy, failed to load). */
  readonly messages: readonly string[];
  /** Addresses that were asked for, the page's own first. */
  readonly requests: readonly string[];
  /** What each expression gave. */
  readonly values: readonly unknown[];
  /** PNG of the whole page. */
  readonly screenshot: Buffer;
}

/** Opens a page in a headless browser over the DevTools protocol, through pipes and not a port. */
export async function visit(url: string, options: VisitOptions): Promise<PageVisit> {
  const profile = mkdtempSync(path.join(tmpdir(), "crossrank-browser-"));
  const browser = spawn(
    chromium ?? "chromium",
    [
      "--headless=new",
      "--no-sandbox",
      "--disable-gpu",
      "--hide-scrollbars",
      "--no-first-run",
      "--disable-background-networking",
      `--user-data-dir=${profile}`,
      "--remote-debugging-pipe",
      "about:blank",
    ],
    // A group of its own: its helpers write into the profile until they end with it.
    { stdio: ["ignore", "ignore", "ignore", "pipe", "pipe"], detached: true },
  );
  const gone = new Promise((resolve) => browser.once("exit", resolve));
  try {
    return await talk(browser, url, options);
  } finally {
    if (browser.pid !== undefined && browser.exitCode === null && browser.signalCode === null) {
      process.kill(-browser.pid, "SIGKILL");
      await gone;
    }
    rmSync(profile, { recursive: true, force: true, maxRetries: 20, retryDelay: 100 });
  }
}

interface Message {
  readonly id?: number;
  readonly method?: string;
  readonly params?: Record<string, unknown>;
  readonly result?: Record<string, unknown>;
  readonly error?: { readonly message: string };
}

const logged = new Set(["Log.entryAdded", "Runtime.consoleAPICalled", "Runtime.exceptionThrown"]);

async function talk(browser: ChildProcess, url: string, options: VisitOptions): Promise<PageVisit> {
  const input = browser.stdio[3] as Writable;
  const output = browser.stdio[4] as Readable;
  const messages: string[] = [];
  const requests: string[] = [];
  const waiting = new Map<number, (message: Message) => void>();
  const ended = new Promise<never>((_, reject) => {
    browser.once("exit", () => reject(new Error("the browser ended before it answered")));
  });
  ended.catch(() => {});
  let loaded: () => void = () => {};
  const load = new Promise<void>((resolve) => {
    loaded = resolve;
  });
  let rest = "";
  output.setEncoding("utf8").on("data", (chunk: string) => {
    const parts = (rest + chunk).split("\0");
    rest = parts.pop() ?? "";
    for (const part of parts) {
      const message = JSON.parse(part) as Message;
      const { id, method = "", params = {} } = message;
      if (id !== undefined) waiting.get(id)?.(message);
      if (method === "Page.loadEventFired") loaded();
      if (method === "Network.requestWillBeSent") requests.push((params["request"] as { url: string }).url);
      if (logged.has(method)) messages.push(JSON.stringify(params));
    }
  });
  let last = 0;
  const send = async (method: string, parameters: object = {}, sessionId?: string) => {
    const id = ++last;
    const reply = new Promise<Message>((resolve) => waiting.set(id, resolve));
    input.write(`${JSON.stringify({ id, method, params: parameters, sessionId })}\0`);
    const { result = {}, error } = await Promise.race([reply, ended]);
    if (error !== undefined) throw new Error(`${method}: ${error.message}`);
    return result;
  };
  const { targetId } = await send("Target.createTarget", { url: "about:blank" });
  const { sessionId } = await send("Target.attachToTarget", { targetId, flatten: true });
  const page = (method: string, parameters: object = {}) => send(method, parameters, String(sessionId));
  for (const domain of ["Page", "Network", "Log", "Runtime"]) await page(`${domain}.enable`);
  await page("Emulation.setDeviceMetricsOverride", {
    width: options.width,
    height: 800,
    deviceScaleFactor: 1,
    mobile: options.width < 600,
  });
  await page("Emulation.setEmulatedMedia", {
    features: [{ name: "prefers-color-scheme", value: options.dark ? "dark" : "light" }],
  });
  await page("Page.navigate", { url });
  await Promise.race([load, ended]);
  const values: unknown[] = [];
  for (const expression of options.expressions) {
    const answer = await page("Runtime.evaluate", { expression, returnByValue: true });
    if (answer["exceptionDetails"] !== undefined) throw new Error(`${expression} failed in the page`);
    values.push((answer["result"] as { value?: unknown }).value);
  }
  const { data } = await page("Page.captureScreenshot", { captureBeyondViewport: true });
  return { messages, requests, values, screenshot: Buffer.from(String(data), "base64") };
}

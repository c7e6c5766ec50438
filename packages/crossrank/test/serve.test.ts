import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { readFile } from "node:fs/promises";
import { setTimeout as sleep } from "node:timers/promises";
import { afterEach, describe, expect, it } from "vitest";
import { parseModelChoice } from "../src/commands/serve/model-option.js";
import { openReranker } from "../src/index.js";
import { binary, conformanceFixture } from "./run-command.js";

interface Served {
  readonly child: ChildProcess;
  readonly url: string;
  /** Lines of the log so far. */
  readonly log: () => readonly Readonly<Record<string, unknown>>[];
  post(body: unknown, headers?: Readonly<Record<string, string>>): Promise<Response>;
}

const children: ChildProcess[] = [];
afterEach(() => {
  for (const child of children.splice(0)) child.kill("SIGKILL");
});

/** The real command, once it has written its address. */
async function serve(
  args: readonly string[],
  environment: Readonly<Record<string, string>> = {},
): Promise<Served> {
  const child = spawn(process.execPath, [binary, "serve", "--port", "0", ...args], {
    env: { ...process.env, HF_HUB_OFFLINE: "1", ...environment },
    stdio: ["ignore", "pipe", "pipe"],
  });
  children.push(child);
  let out = "";
  let errors = "";
  child.stdout.setEncoding("utf8").on("data", (text: string) => {
    out += text;
  });
  child.stderr.setEncoding("utf8").on("data", (text: string) => {
    errors += text;
  });
  while (!out.includes("\n")) {
    if (child.exitCode !== null) throw new Error(`ended with ${child.exitCode}: ${errors}`);
    await sleep(20);
  }
  const url = out.trim();
  return {
    child,
    url,
    log: () =>
      errors
        .split("\n")
        .filter((line) => line.startsWith("{"))
        .map((line) => JSON.parse(line)),
    post: (body, headers = {}) =>
      fetch(`${url}/v1/rerank`, {
        method: "POST",
        headers: { "content-type": "application/json", ...headers },
        body: JSON.stringify(body),
      }),
  };
}

const query = "how do vaccines work";
const documents = ["The cat sat on the mat.", "Vaccines train the immune system."];

describe("crossrank serve", () => {
  it("answers the client of the seed with the library's scores, and ends when it is told to", async () => {
    const { child, url, post, log } = await serve([]);
    expect(url).toMatch(/^http:\/\/127\.0\.0\.1:\d+$/);
    expect((await fetch(`${url}/health`)).status).toBe(200);
    const answer = await post({ model: "default", top_n: 3, query, documents });
    const { results } = (await answer.json()) as { results: { index: number; relevance_score: number }[] };
    const nano = await openReranker("nano");
    const expected = await nano.rerank({ query, documents });
    await nano.dispose();
    expect(results.map(({ index }) => index)).toEqual(expected.results.map(({ index }) => index));
    for (const [place, { relevance_score: score }] of results.entries()) {
      expect(score).toBeCloseTo(expected.results[place]?.score as number, 6);
    }
    // A request is under way while it is told to end.
    const slow = post({ query, documents: Array(60).fill("word ".repeat(200)) });
    await expect
      .poll(async () => (await fetch(`${url}/metrics`)).text(), { timeout: 60_000 })
      .toMatch(/crossrank_queue_running\{model="nano"\} [1-9]/);
    child.kill("SIGTERM");
    expect((await slow).status).toBe(200);
    expect(await once(child, "close")).toEqual([0, null]);
    const manifest = JSON.parse(await readFile(new URL("../package.json", import.meta.url), "utf8"));
    expect(log().map(({ event }) => event)).toEqual([
      "load",
      "loaded",
      "request",
      "closing",
      "request",
      "closed",
    ]);
    expect(JSON.stringify(log())).not.toContain("accines");
    expect(manifest.version).toBeTypeOf("string");
  });

  it("serves several models under their names, each with its settings, loaded when they are asked for, to who has a key", async () => {
    const tiny = conformanceFixture("bert-logit");
    const { post, log, url, child } = await serve(
      [
        ...[
          "--model",
          "nano",
          "--model",
          `owner/tiny=${tiny},backend=./none.mjs,backend=onnx:fp32,threads=1`,
        ],
        ...["--load-wait", "60", "--idle-unload", "600", "--limit-documents", "2", "--log", "warning"],
        ...["--api-key", "first", "--host", "0.0.0.0"],
      ],
      { CROSSRANK_API_KEY: "second" },
    );
    // Keys of the command line and of the environment.
    const [first, second] = ["first", "second"].map((key) => ({ authorization: `Bearer ${key}` }));
    expect((await post({ model: "owner/tiny", query, documents })).status).toBe(401);
    expect(((await (await fetch(`${url}/health`)).json()) as { models: unknown }).models).toEqual({
      nano: "unloaded",
      "owner/tiny": "unloaded",
    });
    const answer = await post({ model: "owner/tiny", query, documents }, first);
    expect(answer.status, await answer.clone().text()).toBe(200);
    expect(answer.headers.get("crossrank-warnings")).toContain("variant-fallback");
    expect((await post({ model: "other", query, documents }, second)).status).toBe(404);
    expect((await post({ model: "nano", query, documents: ["a", "b", "c"] }, second)).status).toBe(422);
    expect(log().map(({ status }) => status)).toEqual([401, 404, 422]);
    child.kill("SIGINT");
    expect(await once(child, "close")).toEqual([0, null]);
  });
});

describe("the artifact that is served", () => {
  it("is the file that is named, and not one that is not there", async () => {
    const model = conformanceFixture("bert-logit");
    for (const args of [
      ["--model", model, "--file", "onnx/model.onnx", "--no-convert"],
      ["--model", `own=${model},file=onnx/model.onnx,convert=false`],
    ]) {
      const { post, child } = await serve([...args, "--log", "none"]);
      expect((await post({ query, documents })).status).toBe(200);
      child.kill("SIGTERM");
      await once(child, "close");
    }
    await expect(serve(["--model", `${model},file=onnx/none.onnx`])).rejects.toThrow(/onnx\/none\.onnx/);
    await expect(serve(["--model", model, "--file", "onnx/none.onnx"])).rejects.toThrow(/onnx\/none\.onnx/);
    await expect(
      serve(["--model", `${model},backend=onnx,backend=llamacpp,file=onnx/model.onnx`]),
    ).rejects.toThrow(/several backends/);
    await expect(serve(["--model", `${model},backend=llamacpp,convert=false`])).rejects.toThrow(
      /crossrank convert/,
    );
  });
});

describe("a model of the command line", () => {
  it.each([
    ["nano", { name: "nano", reference: "nano", backends: [] }],
    ["a=nano", { name: "a", reference: "nano", backends: [] }],
    ["BAAI/bge=owner/name:Q8_0", { name: "BAAI/bge", reference: "owner/name:Q8_0", backends: [] }],
    ["./a,b", { name: "./a,b", reference: "./a,b", backends: [] }],
    ["a=./x=y,threads=2", { name: "a", reference: "./x=y", backends: [], threads: 2 }],
    [
      "nano,backend=onnx,backend=mnn:fp16",
      { name: "nano", reference: "nano", backends: ["onnx", "mnn:fp16"] },
    ],
    [
      "a=nano,max-length=64,dtype=int8",
      { name: "a", reference: "nano", backends: [], maxLength: 64, dtype: "int8" },
    ],
    [
      "nano,instruction=be kind, and fair",
      { name: "nano", reference: "nano", backends: [], instruction: "be kind, and fair" },
    ],
    [
      "nano,file=onnx/a,b.onnx,convert=false",
      { name: "nano", reference: "nano", backends: [], file: "onnx/a,b.onnx", convert: false },
    ],
    ["nano,instruction=", { name: "nano", reference: "nano", backends: [], instruction: "" }],
  ])("%s", (value, choice) => {
    expect(parseModelChoice(value)).toEqual(choice);
  });

  it.each([
    "",
    ",threads=2",
    "nano,threads=0",
    "nano,threads=",
    "nano,threads=1,threads=2",
    "nano,backend=abacus",
    "nano,convert=no",
    "nano,file=",
    "nano,truncation=both",
  ])("%j is refused", (value) => {
    expect(() => parseModelChoice(value)).toThrow();
  });
});

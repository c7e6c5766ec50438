import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { Client } from "@modelcontextprotocol/sdk/client/index.js";
import { StdioClientTransport } from "@modelcontextprotocol/sdk/client/stdio.js";
import { InMemoryTransport } from "@modelcontextprotocol/sdk/inMemory.js";
import { InvalidInputError, lazyReranker, openReranker, type Reranker } from "crossrank";
import { afterAll, beforeAll, describe, expect, onTestFinished, test } from "vitest";
import { createRerankServer, type RerankServerOptions } from "../src/index.js";

const command = fileURLToPath(new URL("../bin/crossrank-mcp.js", import.meta.url));
const query = "how do vaccines work";
const documents = ["Lyon is a city in France.", "A vaccine trains the immune system.", "Bread is baked."];

let reranker: Reranker;
let expected: { readonly index: number; readonly score: number | null }[];
beforeAll(async () => {
  reranker = await openReranker("nano");
  const { results } = await reranker.rerank({ query, documents });
  expected = results.map(({ index, score }) => ({ index, score }));
});
afterAll(() => reranker.dispose());

interface Answer {
  readonly isError?: boolean;
  readonly content: readonly { readonly text: string }[];
  readonly structuredContent?: {
    readonly results: readonly { index: number; score: number | null; document?: string }[];
  } & Readonly<Record<string, unknown>>;
}

const call = async (
  client: Client,
  args: Readonly<Record<string, unknown>>,
  options?: { readonly signal: AbortSignal },
): Promise<Answer> =>
  (await client.callTool({ name: "rerank", arguments: args }, undefined, options)) as unknown as Answer;

/** The official client, with the command in a process of its own. */
async function startedClient(
  args: readonly string[] = [],
  env: Readonly<Record<string, string>> = {},
): Promise<{ readonly client: Client; readonly errors: () => string }> {
  const transport = new StdioClientTransport({
    command: process.execPath,
    args: [command, ...args],
    env: { ...(process.env as Record<string, string>), ...env },
    stderr: "pipe",
  });
  let errors = "";
  transport.stderr?.on("data", (chunk: Buffer) => {
    errors += chunk;
  });
  const client = new Client({ name: "test", version: "1" });
  // Lines that are none of the protocol come here.
  client.onerror = (error) => {
    errors += `CLIENT: ${error.message}\n`;
  };
  await client.connect(transport);
  onTestFinished(async ({ task }) => {
    await client.close();
    if (task.result?.state === "fail") process.stderr.write(`crossrank-mcp said: ${errors}\n`);
  });
  return { client, errors: () => errors };
}

describe("the command, by the official client", () => {
  test("lists its tool, and ranks with the library's scores", async () => {
    const { client } = await startedClient();
    const { tools } = await client.listTools();
    expect(tools.map(({ name }) => name)).toEqual(["rerank"]);
    expect(tools[0]?.inputSchema).toMatchObject({
      required: ["query", "documents"],
      additionalProperties: false,
    });
    expect(tools[0]?.outputSchema).toMatchObject({ type: "object" });
    expect(client.getServerVersion()).toMatchObject({
      name: "crossrank",
      version: expect.stringMatching(/^\d/),
    });

    const answer = await call(client, { query, documents });
    expect(answer.structuredContent).toMatchObject({
      results: expected,
      status: "reranked",
      scale: "probability",
      backend: "onnx",
      warnings: [],
    });
    expect(JSON.parse(answer.content[0]?.text ?? "")).toEqual(answer.structuredContent);

    const best = await call(client, { query, documents, topN: 1, returnDocuments: true });
    expect(best.structuredContent?.results).toEqual([{ ...expected[0], document: documents[1] }]);
    expect((await call(client, { query, documents: [] })).structuredContent?.results).toEqual([]);
    const unscored = await call(client, { query: "vaccine ".repeat(900), documents });
    expect(unscored.structuredContent?.results.map(({ score }) => score)).toEqual([null, null, null]);

    // Calls overlap, and one that is cancelled leaves the others alone.
    const stop = new AbortController();
    const cancelled = call(client, { query, documents }, { signal: stop.signal });
    const others = Promise.all(Array.from({ length: 4 }, () => call(client, { query, documents })));
    stop.abort("enough");
    await expect(cancelled).rejects.toThrow(/enough/);
    for (const { structuredContent } of await others) expect(structuredContent?.results).toEqual(expected);
  });

  test("says what is wrong with the arguments, and goes on", async () => {
    const { client } = await startedClient(["--max-documents", "4", "--max-characters", "200"]);
    for (const [args, says] of [
      [{ query, documents, top_n: 2 }, /top_n/],
      [{ query, documents: "text" }, /documents/],
      [{ query, documents: [{ text: "text" }] }, /documents/],
      [{ query, documents: Array(5).fill("text") }, /documents/],
      [{ query, documents: Array(4).fill("x".repeat(80)) }, /invalid-input: .*340 characters.*200/],
      [{ query: "x".repeat(201), documents }, /query/],
      [{ query: "", documents }, /query/],
      [{ query: "  ", documents }, /invalid-input: query/],
      [{ documents }, /query/],
      [{ query, documents, topN: 0 }, /topN/],
    ] as const) {
      const answer = await call(client, args);
      expect(answer.isError, JSON.stringify(args)).toBe(true);
      expect(answer.content[0]?.text).toMatch(says);
    }
    expect((await call(client, { query, documents })).structuredContent?.results).toEqual(expected);
  });

  test("takes model and backend from the environment, and flags before it", async () => {
    const { client } = await startedClient(
      ["--model", "nano", "--backend", "onnx", "--threads", "1", "--offline"],
      {
        CROSSRANK_MODEL: "./no-such-folder",
        CROSSRANK_BACKEND: "nonsense",
      },
    );
    expect((await call(client, { query, documents })).structuredContent?.results[0]?.index).toBe(1);
    const { client: other } = await startedClient([], { CROSSRANK_MODEL: "./no-such-folder" });
    for (let time = 0; time < 2; time += 1) {
      const answer = await call(other, { query, documents });
      expect(answer.isError).toBe(true);
      expect(answer.content[0]?.text).toMatch(/no-such-folder/);
    }
  });

  test("keeps standard output to the protocol, whatever a library prints", async () => {
    const folder = await mkdtemp(join(tmpdir(), "crossrank-mcp-"));
    onTestFinished(() => rm(folder, { recursive: true, force: true }));
    const onnx = new URL("../../backend-onnx/dist/index.js", import.meta.url).href;
    await writeFile(
      join(folder, "noisy.mjs"),
      `console.log("noise of a library"); process.stdout.write("more noise\\n");\nexport { backends } from ${JSON.stringify(onnx)};\n`,
    );
    const { client, errors } = await startedClient(["--backend", join(folder, "noisy.mjs")]);
    const answer = await call(client, { query, documents });
    expect(answer.content[0]?.text).not.toMatch(/noise/);
    expect(answer.structuredContent?.results).toEqual(expected);
    expect(errors()).toMatch(/noise of a library\nmore noise/);
    expect(errors()).not.toMatch(/CLIENT/);
  });
});

interface Ended {
  readonly code: number | null;
  readonly stdout: string;
  readonly stderr: string;
}

function start(args: readonly string[] = []): {
  readonly child: ChildProcess;
  readonly ended: Promise<Ended>;
} {
  const child = spawn(process.execPath, [command, ...args], { stdio: ["pipe", "pipe", "pipe"] });
  const ended = (async (): Promise<Ended> => {
    let stdout = "";
    let stderr = "";
    child.stdout.on("data", (chunk) => {
      stdout += chunk;
    });
    child.stderr.on("data", (chunk) => {
      stderr += chunk;
    });
    // It may have ended before it reads all.
    child.stdin.on("error", () => {});
    const [code] = await once(child, "close");
    return { code, stdout, stderr };
  })();
  return { child, ended };
}

/** What the child writes first; empty when it ends before. */
async function firstAnswer(child: ChildProcess): Promise<string> {
  const [answer = ""] = await Promise.race([
    once(child.stdout as NodeJS.ReadableStream, "data"),
    once(child, "close").then(() => []),
  ]);
  return String(answer);
}

const line = (message: object): string => `${JSON.stringify({ jsonrpc: "2.0", ...message })}\n`;
const initialize = line({
  id: 1,
  method: "initialize",
  params: { protocolVersion: "2025-06-18", capabilities: {}, clientInfo: { name: "test", version: "1" } },
});

describe("the command, by hand", () => {
  test("ends when its input does, also in the middle of a call", async () => {
    const { child, ended } = start();
    child.stdin?.write(initialize);
    await firstAnswer(child);
    child.stdin?.write(
      line({ id: 2, method: "tools/call", params: { name: "rerank", arguments: { query, documents } } }),
    );
    child.stdin?.end();
    const { code, stdout, stderr } = await ended;
    expect(code).toBe(0);
    for (const text of stdout.trim().split("\n")) expect(JSON.parse(text)).toHaveProperty("jsonrpc", "2.0");
    expect(stderr).toBe("");
    const { child: idle, ended: idleEnded } = start();
    idle.stdin?.end();
    expect((await idleEnded).code).toBe(0);
  });

  test("ends by a signal", async () => {
    const { child, ended } = start();
    child.stdin?.write(initialize);
    await firstAnswer(child);
    child.kill("SIGTERM");
    expect((await ended).code).toBe(0);
  });

  test("goes on behind a line that is no message, and ends behind one that is too long", async () => {
    const { child, ended } = start(["--max-characters", "100"]);
    child.stdin?.write("this is no JSON\n");
    child.stdin?.write(initialize);
    expect(JSON.parse(await firstAnswer(child))).toMatchObject({ id: 1 });
    child.stdin?.write("x".repeat(200_000));
    const { code, stderr } = await ended;
    expect(code).toBe(1);
    expect(stderr).toMatch(/maximum size/);
  });

  test("has help and a version, and refuses what it does not know", async () => {
    for (const [args, code, says] of [
      [["--help"], 0, /--max-documents/],
      [["--version"], 0, /^\d+\.\d+\.\d+/],
    ] as const) {
      const outcome = await start(args).ended;
      expect(outcome).toMatchObject({ code, stderr: "" });
      expect(outcome.stdout).toMatch(says);
    }
    for (const args of [
      ["--modell", "nano"],
      ["nano"],
      ["--threads", "0"],
      ["--max-documents", "many"],
      ["--max-characters", "1e3"],
    ]) {
      const { code, stdout, stderr } = await start(args).ended;
      expect([code, stdout], args.join(" ")).toEqual([2, ""]);
      expect(stderr).toMatch(/^crossrank-mcp: .*\n.*--help/);
    }
  });
});

describe("createRerankServer", () => {
  test("serves a reranker that is given, and leaves it", async () => {
    const served = createRerankServer(Promise.resolve(reranker));
    const [near, far] = InMemoryTransport.createLinkedPair();
    const client = new Client({ name: "test", version: "1" });
    await Promise.all([served.server.connect(near), client.connect(far)]);
    expect((await call(client, { query, documents })).structuredContent?.results).toEqual(expected);
    await served.dispose();
    expect((await reranker.rerank({ query, documents })).results.length).toBe(3);
  });

  test("passes the order through where a chain has no variant left", async () => {
    await using served = createRerankServer("nano", {
      variants: [{ dtype: "q4" }],
      whenExhausted: "passthrough",
    });
    const [near, far] = InMemoryTransport.createLinkedPair();
    const client = new Client({ name: "test", version: "1" });
    await Promise.all([served.server.connect(near), client.connect(far)]);
    await client.listTools();
    const { structuredContent } = await call(client, { query, documents });
    expect(structuredContent).toMatchObject({ status: "passthrough", scale: null, model: null });
    expect(structuredContent?.results).toEqual(documents.map((_, index) => ({ index, score: null })));
  });

  test("one reranker serves many servers, each with a transport of its own", async () => {
    const shared = lazyReranker("nano");
    const sessions = await Promise.all(
      [1, 2, 3].map(async () => {
        const served = createRerankServer(shared);
        const [near, far] = InMemoryTransport.createLinkedPair();
        const client = new Client({ name: "test", version: "1" });
        await Promise.all([served.server.connect(near), client.connect(far)]);
        return { served, client };
      }),
    );
    for (const { served, client } of sessions) {
      expect((await call(client, { query, documents })).structuredContent?.results).toEqual(expected);
      await served.dispose();
    }
    await shared.dispose();
  });

  test.each([
    { maxDocuments: 0 },
    { maxCharacters: 1.5 },
    { maxDocuments: "5" },
    { maxDocument: 5 },
    { topN: 1 },
    null,
    { backend: "onnx" },
  ])("refuses %j", (options) => {
    expect(() => createRerankServer(reranker, options as RerankServerOptions)).toThrow(InvalidInputError);
  });
});

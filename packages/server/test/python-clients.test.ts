import { execFile } from "node:child_process";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { afterAll, describe, expect, it } from "vitest";
import { kept, openNano, passages, question, startScene } from "./scene.js";

// Clients of PyPI against a server that runs. Their packages take minutes to install, so that only CROSSRANK_LONG has
// them; otherwise the requests that need none. What each client sends is in dialects.test.ts, as it was captured.

const isLong = process.env["CROSSRANK_LONG"] !== undefined;
const run = promisify(execFile);
const script = fileURLToPath(new URL("python/clients.py", import.meta.url));
const python = process.env["PYTHON"] ?? "python3";

const nano = await openNano();
afterAll(() => nano.dispose());
const scene = await startScene({ models: [{ name: "nano", open: async () => kept(nano) }] });
await scene.server.load();
const { scores } = await nano.score(passages.map((document) => ({ query: question, document })));
const expected = scores.map(({ logit }) => 1 / (1 + Math.exp(-(logit as number))));
const best = expected.map((score, index) => ({ score, index })).sort((a, b) => b.score - a.score);

interface Line {
  readonly client: string;
  readonly ranking?: readonly (readonly [index: number, score: number | null])[];
  readonly threw?: string;
}

/** Every client's ranking is the library's. @returns their names. */
function expectRankings(lines: readonly Line[]): string[] {
  for (const { client, ranking, threw } of lines) {
    if (/deepinfra|nvidia_nim/.test(client)) {
      expect(threw, client).toContain("NotFound");
      continue;
    }
    expect(threw, client).toBeUndefined();
    expect(ranking?.length, client).toBeGreaterThanOrEqual(2);
    expect(
      ranking?.map(([index]) => index),
      client,
    ).toEqual(best.slice(0, ranking?.length).map(({ index }) => index));
    for (const [index, score] of ranking ?? [])
      expect(score, client).toBeCloseTo(expected[index] as number, 5);
  }
  return lines.map(({ client }) => client);
}

async function clients(interpreter: string, which: string): Promise<Line[]> {
  // Clients with proxies or keys of whoever runs this would ask somebody else.
  const { stdout } = await run(interpreter, [script, scene.url, which], { maxBuffer: 2 ** 24 });
  return stdout
    .trimEnd()
    .split("\n")
    .map((line) => JSON.parse(line));
}

/** A virtual environment with packages of PyPI, for as long as the task takes. */
async function withPackages<Result>(
  packages: readonly string[],
  task: (interpreter: string) => Promise<Result>,
): Promise<Result> {
  const folder = await mkdtemp(join(tmpdir(), "crossrank-clients-"));
  try {
    await run(python, ["-m", "venv", folder]);
    const interpreter = join(folder, "bin", "python");
    await run(interpreter, ["-m", "pip", "install", "-q", "--disable-pip-version-check", ...packages], {
      maxBuffer: 2 ** 24,
    });
    return await task(interpreter);
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}

const packages = [
  "cohere==5.21.1",
  "litellm==1.110.2",
  "langchain-cohere==0.6.0",
  "langchain-community==0.4.2",
  "llama-index-postprocessor-tei-rerank==0.6.0",
  "llama-index-postprocessor-jinaai-rerank==0.6.0",
  "llama-index-postprocessor-cohere-rerank==0.10.0",
  "llama-index-postprocessor-xinference-rerank==0.5.0",
  "cohere-haystack==11.0.0",
  "jina-haystack==2.0.1",
  "vllm-haystack==3.0.1",
  "huggingface-api-haystack==3.1.0",
  "rerankers==0.10.0",
  "voyageai==0.3.7",
];

describe("clients in Python", () => {
  it("that need no package get the library's ranking", async () => {
    expect(expectRankings(await clients(python, "replayed"))).toHaveLength(3);
  });

  if (isLong) {
    it("of PyPI get the library's ranking", async () => {
      const names = await withPackages(packages, async (interpreter) =>
        expectRankings(await clients(interpreter, "all")),
      );
      expect(names).toHaveLength(31);
    }, 1_200_000);

    it("of PyPI, cohere 7 and voyageai 0.5, get the library's ranking", async () => {
      const names = await withPackages(["cohere==7.3.1", "voyageai==0.5.0"], async (interpreter) =>
        expectRankings(await clients(interpreter, "new")),
      );
      expect(names).toHaveLength(4);
    }, 1_200_000);
  }
});

import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdir, readFile, writeFile } from "node:fs/promises";
import { describe, expect, test } from "vitest";
import {
  binary,
  commandEnvironment,
  crossrank,
  crossrankInTurn,
  type Outcome,
  temporaryFolder,
} from "./run-command.js";

const folder = temporaryFolder();

const texts = Array.from(
  { length: 12 },
  (_, index) => `The egg number ${index} is boiled for ${index} minutes.`,
);
const rank = ["rerank", "-q", "how long is an egg boiled?", "-d", "-", "-f", "json"];

interface Ranked {
  readonly scale: string;
  readonly calibration?: { readonly method: string; readonly slope: number };
  readonly belowThreshold?: number;
  readonly results: readonly { readonly index: number; readonly score: number; readonly logit: number }[];
  readonly usage: { readonly cached?: number; readonly sequences: number };
  readonly warnings: readonly { readonly code: string }[];
}

async function ranked(args: readonly string[], documents: readonly string[] = texts): Promise<Ranked> {
  const { code, stdout, stderr } = await crossrankInTurn([...rank, ...args], { input: documents.join("\n") });
  expect({ code, stderr }).toEqual({ code: 0, stderr: "" });
  return JSON.parse(stdout) as Ranked;
}

describe("rerank with a calibration", () => {
  test("gives its probabilities, and leaves out what is below a threshold", async () => {
    const calibration = { method: "platt", slope: 0.5, intercept: -1 };
    const file = await folder.write("calibration.json", JSON.stringify({ calibration }));
    const plain = await ranked([]);
    const found = await ranked(["--calibration", file]);
    expect(found).toMatchObject({ scale: "probability", calibration });
    expect(found.results.map(({ index }) => index)).toEqual(plain.results.map(({ index }) => index));
    for (const { logit, score } of found.results) {
      expect(score).toBeCloseTo(1 / (1 + Math.exp(1 - 0.5 * logit)), 12);
    }
    const threshold = found.results[4]?.score as number;
    const above = await ranked(["--calibration", file, "--threshold", String(threshold)]);
    expect(above.results).toEqual(found.results.slice(0, 5));
    expect(above.belowThreshold).toBe(texts.length - 5);
  });

  test.each([
    ["{", /it is not JSON/],
    ["{}", /it has no "calibration"/],
    ['{"calibration": {"method": "platt", "slope": -1, "intercept": 0}}', /calibration/],
  ])("a file with %j is refused", async (content, reason) => {
    const file = await folder.write("wrong.json", content);
    const outcome = await crossrankInTurn([...rank, "--calibration", file], { input: "a" });
    expect(outcome.stderr).toMatch(reason);
    expect(outcome).toMatchObject({ code: 1, stdout: "" });
  });
});

describe("rerank with a score cache", () => {
  test("scores what is new, and says the same as without one", async () => {
    const path = folder.path("scores/of/here.sqlite");
    const plain = await ranked([]);
    const first = await ranked(["--score-cache", path]);
    expect(first.usage).toMatchObject({ cached: 0, sequences: texts.length });
    const second = await ranked(["--score-cache", path]);
    expect(second.usage).toMatchObject({ cached: texts.length, sequences: 0 });
    for (const one of [first, second]) {
      expect(one.results).toEqual(plain.results);
      expect(one.warnings).toEqual(plain.warnings);
    }
    const more = await ranked(["--score-cache", path], [...texts, "a new one"]);
    expect(more.usage).toMatchObject({ cached: texts.length, sequences: 1 });
    // Another length is another number.
    expect((await ranked(["--score-cache", path, "--max-length", "16"])).usage.cached).toBe(0);
  });

  test("several commands at once share it", async () => {
    const path = folder.path("shared.sqlite");
    const run = (): Promise<Outcome> =>
      crossrank([...rank, "--score-cache", path], { input: texts.join("\n") });
    const outcomes = await Promise.all([run(), run()]);
    const results = outcomes.map(({ code, stdout, stderr }) => {
      expect({ code, stderr }).toEqual({ code: 0, stderr: "" });
      return (JSON.parse(stdout) as Ranked).results;
    });
    expect(results[0]).toEqual(results[1]);
    expect((await ranked(["--score-cache", path])).usage.cached).toBe(texts.length);
  });

  test("a file that is none is refused and left as it is", async () => {
    const path = folder.path("documents.txt");
    await mkdir(folder.path("."), { recursive: true });
    await writeFile(path, texts.join("\n"));
    const outcome = await crossrankInTurn([...rank, "--score-cache", path], { input: "a" });
    expect(outcome.stderr).toMatch(/documents\.txt: it is no score cache/);
    expect(outcome.code).toBe(1);
    expect(await readFile(path, "utf8")).toBe(texts.join("\n"));
  });
});

describe("serve with a score cache", () => {
  test("answers from it what another process has scored", async () => {
    const path = folder.path("served.sqlite");
    const args = ["serve", "--port", "0", "--score-cache", path, "--activation", "probability"];
    const serving = spawn(process.execPath, [binary, ...args], { env: commandEnvironment });
    const ended = once(serving, "exit");
    try {
      const [url] = (await once(serving.stdout.setEncoding("utf8"), "data")) as [string];
      const body = JSON.stringify({ model: "nano", query: "how long is an egg boiled?", documents: texts });
      const ask = async (): Promise<{
        readonly usage: object;
        readonly results: object[];
        readonly scale: string;
      }> =>
        (await fetch(`${url.trim()}/v1/rerank`, {
          method: "POST",
          headers: { "content-type": "application/json" },
          body,
        }).then((answer) => answer.json())) as Awaited<ReturnType<typeof ask>>;
      const first = await ask();
      const second = await ask();
      expect(first.scale).toBe("probability");
      expect(second.results).toEqual(first.results);
      expect(second.usage).toMatchObject({ total_tokens: 0 });
      expect((await ranked(["--score-cache", path])).usage.cached).toBe(texts.length);
    } finally {
      serving.kill();
      await ended;
    }
  }, 60_000);
});

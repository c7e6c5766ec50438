import { createHash } from "node:crypto";
import { renameSync, writeFileSync } from "node:fs";
import { appendFile, mkdir, readdir, readFile, rm, utimes, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import type { Reranker } from "@crossrank/core";
import { createRandom } from "@crossrank/eval";
import { parquetWriteBuffer } from "hyparquet-writer";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { isLong } from "../../../test/sample.js";
import { openReranker, ScoreJobError, type ScorePairsOptions, scorePairs } from "../src/index.js";
import { folderStorage } from "../src/score/folder-storage.js";
import { joinScores } from "../src/score/join-scores.js";
import { planJob, runShard, type ScoreJob, scorerOf } from "../src/score/score-job.js";
import { conformanceFixture, crossrank, crossrankInTurn, temporaryFolder } from "./run-command.js";
import { trivial } from "./trivial-backend.mjs";

const folder = temporaryFolder();
const model = conformanceFixture("bert-logit");
let reranker: Reranker;
beforeAll(async () => {
  reranker = await openReranker(model, { backend: trivial() });
});
afterAll(() => reranker.dispose());

interface Row {
  readonly id?: string;
  readonly query: string;
  readonly document: string;
}

const words = "vaccine train the immune system paris city cat sat on mat how do work".split(" ");

function rowsOf(count: number, seed: number): Row[] {
  const random = createRandom(seed);
  const text = (most: number): string =>
    Array.from({ length: 1 + random.below(most) }, () => words[random.below(words.length)]).join(" ");
  return Array.from({ length: count }, (_, index) => ({
    ...(index % 3 === 0 ? { id: `row-${index}` } : {}),
    query: text(4),
    document: text(30),
  }));
}

const toLines = (rows: readonly unknown[]): string => rows.map((row) => `${JSON.stringify(row)}\n`).join("");

async function linesOf(output: string, name = "scores.jsonl"): Promise<Record<string, unknown>[]> {
  const text = await readFile(join(output, name), "utf8");
  return text.split("\n").flatMap((line) => (line === "" ? [] : [JSON.parse(line)]));
}

/** Every file of a job by its bytes. */
async function bytesOf(output: string): Promise<Record<string, string>> {
  const names = (await readdir(output, { recursive: true, withFileTypes: true })).filter((one) =>
    one.isFile(),
  );
  const entries = names.map(async ({ parentPath, name }) => {
    const path = join(parentPath, name);
    return [
      path.slice(output.length + 1),
      createHash("sha256")
        .update(await readFile(path))
        .digest("hex"),
    ];
  });
  return Object.fromEntries((await Promise.all(entries)).sort());
}

let count = 0;
async function job(
  content: string | Uint8Array,
  options: Partial<ScorePairsOptions> = {},
): Promise<{
  readonly output: string;
  readonly pairs: string;
  readonly run: () => ReturnType<typeof scorePairs>;
}> {
  count += 1;
  const pairs = await folder.write(`pairs-${count}`, content);
  const output = folder.path(`output-${count}`);
  return { output, pairs, run: () => scorePairs(reranker, { pairs, output, shardPairs: 10, ...options }) };
}

async function refusal(
  promise: Promise<unknown>,
): Promise<{ code: string; reason: string; message: string }> {
  return promise.then(
    () => expect.unreachable("it was not refused"),
    (error: unknown) => error as { code: string; reason: string; message: string },
  );
}

describe("scorePairs", () => {
  it("gives each pair the score that the model gives it, in the order of the file", async () => {
    const rows = rowsOf(47, 1);
    const { output, run } = await job(toLines(rows), { batchPairs: 4 });
    const summary = await run();
    expect(summary).toMatchObject({ output, rows: 47, scored: 47, failed: 0 });
    const { scores } = await reranker.score(rows);
    expect(await linesOf(output)).toEqual(
      rows.map(({ id }, row) => ({
        row,
        ...(id === undefined ? {} : { id }),
        logit: scores[row]?.logit,
        score: scores[row]?.score,
      })),
    );
    const bytes = await readFile(join(output, "scores.jsonl"));
    expect(summary.sha256).toBe(createHash("sha256").update(bytes).digest("hex"));
    expect(await linesOf(output, "errors.jsonl")).toEqual([]);
  });

  it("reads lines however they end, with blank ones and a byte order mark", async () => {
    const rows = rowsOf(23, 2);
    const plain = await job(toLines(rows));
    const expected = (await plain.run()).sha256;
    const odd = [
      `\ufeff${toLines(rows)}`,
      `\ufeff\n\n${toLines(rows)}`,
      toLines(rows).replaceAll("\n", "\r\n"),
      toLines(rows).replaceAll("\n", "\n \t\r\n\n"),
      toLines(rows).trimEnd(),
      `\n\r\n ${toLines(rows)}\n\n  \n`,
    ];
    for (const content of odd) {
      const { run } = await job(content);
      expect((await run()).sha256, JSON.stringify(content.slice(0, 40))).toBe(expected);
    }
    for (const content of ["", "\n \n", "\ufeff"]) {
      const { run } = await job(content);
      expect(await run()).toMatchObject({ rows: 0, scored: 0, failed: 0 });
    }
  });

  it.each<[name: string, line: string | Uint8Array, message: RegExp]>([
    ["no JSON", "{", /not JSON/],
    ["an array", "[1]", /no JSON object/],
    ["a number", "7", /no JSON object/],
    ["no query", '{"document":"x"}', /no text as "query"/],
    ["a query that is none", '{"query":7,"document":"x"}', /no text as "query"/],
    ["a blank query", '{"query":" ","document":"x"}', /empty "query"/],
    ["no document", '{"query":"x"}', /"document" or "text"/],
    ["a document that is none", '{"query":"x","document":[1]}', /"document" or "text"/],
    ["a document without text", '{"query":"x","document":{"title":"y"}}', /"text" of its "document"/],
    ["a title that is none", '{"query":"x","text":"y","title":3}', /"title" must be a string/],
    ["inherited names", '{"query":"x","__proto__":{"document":"x"}}', /"document" or "text"/],
    ["bytes that are no UTF-8", Buffer.from('{"query":"\xff","document":"x"}', "latin1"), /not UTF-8/],
    ["a query without room", JSON.stringify({ query: "cat ".repeat(3000), document: "x" }), /no room/],
  ])("fails a row alone: %s", async (_, line, message) => {
    const rows = rowsOf(13, 3);
    const content = [toLines(rows.slice(0, 5)), line, "\n", toLines(rows.slice(5))].map((part) =>
      Buffer.from(part),
    );
    const { output, run } = await job(Buffer.concat(content));
    expect(await run()).toMatchObject({ rows: 14, scored: 13, failed: 1 });
    const scores = await linesOf(output);
    expect(scores.map(({ row }) => row)).toEqual(Array.from({ length: 14 }, (_, row) => row));
    const [failed, ...others] = await linesOf(output, "errors.jsonl");
    expect(others).toEqual([]);
    expect(failed).toEqual(scores[5]);
    expect(failed).toMatchObject({ row: 5, logit: null, score: null, error: { line: 6 } });
    expect(failed).toMatchObject({ error: { message: expect.stringMatching(message) } });
    expect(scores.filter(({ score }) => score === null)).toHaveLength(1);
  });

  it("fails a line of more bytes than it holds, and reads on", async () => {
    const long = JSON.stringify({ query: "x", document: "y".repeat(17 * 1024 * 1024) });
    const { output, run } = await job(`${toLines(rowsOf(3, 4))}${long}\n${toLines(rowsOf(3, 5))}`);
    expect(await run()).toMatchObject({ rows: 7, scored: 6, failed: 1 });
    expect(await linesOf(output, "errors.jsonl")).toMatchObject([{ row: 3, error: { line: 4 } }]);
  });

  it("fails a pair alone for which the model gives no number", async () => {
    const rows = rowsOf(30, 6);
    const [wanted] = (await reranker.score(rows.slice(17, 18))).scores;
    const sound = trivial();
    const own: typeof sound = {
      ...sound,
      async load(request) {
        const session = await sound.load(request);
        return {
          ...session,
          async run(batch, options) {
            const output = await session.run(batch, options);
            return {
              ...output,
              data: output.data.map((logit) => (logit === wanted?.logit ? Number.NaN : logit)),
            };
          },
        };
      },
    };
    await using faulty = await openReranker(model, { backend: own });
    const { output, pairs } = await job(toLines(rows));
    expect(await scorePairs(faulty, { pairs, output })).toMatchObject({ scored: 29, failed: 1 });
    expect(await linesOf(output, "errors.jsonl")).toMatchObject([
      { row: 17, error: { code: "non-finite-score" } },
    ]);
  });

  it("reads Parquet as JSONL, in row groups and shards of other sizes", async () => {
    const rows = rowsOf(95, 7).map((row, index) => ({ ...row, id: `row-${index}` }));
    const expected = (await (await job(toLines(rows))).run()).sha256;
    const column = (name: keyof Row): { name: string; data: string[]; type: "STRING" } => ({
      name,
      data: rows.map((row) => row[name] as string),
      type: "STRING",
    });
    for (const rowGroupSize of [7, 10, 64, 1000]) {
      const columnData = [column("id"), column("query"), column("document")];
      const { run } = await job(new Uint8Array(parquetWriteBuffer({ columnData, rowGroupSize })));
      expect((await run()).sha256, `groups of ${rowGroupSize}`).toBe(expected);
    }
  });

  it("takes other fields, and titles as rerank does", async () => {
    const scored = async (row: unknown, options: Partial<ScorePairsOptions> = {}): Promise<unknown> => {
      const { output, run } = await job(toLines([row]), options);
      await run();
      return (await linesOf(output))[0]?.["logit"];
    };
    const logit = async (document: string): Promise<unknown> =>
      (await reranker.score([{ query: "cat", document }])).scores[0]?.logit;
    const wanted = await logit("paris city");
    expect(await scored({ query: "cat", title: "paris", text: "city" })).toBe(wanted);
    expect(await scored({ query: "cat", document: { title: "paris", text: "city" } })).toBe(wanted);
    expect(await scored({ query: "cat", document: "paris city", text: "other" })).toBe(wanted);
    const fields = { queryField: "question", textFields: ["name", "body"] };
    expect(await scored({ question: "cat", name: "paris", body: "city" }, fields)).toBe(wanted);
  });

  it("goes on where it was stopped, wherever that was, and ends with the same bytes", async () => {
    const content = toLines(rowsOf(64, 8));
    const whole = await job(content, { batchPairs: 3 });
    await whole.run();
    const expected = await bytesOf(whole.output);
    const pairs = whole.pairs;
    for (let after = 1; after <= 24; after += isLong ? 1 : 5) {
      const output = folder.path(`stopped-${after}`);
      const stop = new AbortController();
      let calls = 0;
      const options = { pairs, output, shardPairs: 10, batchPairs: 3 };
      const stopped = scorePairs(reranker, {
        ...options,
        signal: stop.signal,
        onProgress: () => {
          calls += 1;
          if (calls === after) stop.abort(new Error("stopped"));
        },
      });
      await expect(stopped).rejects.toThrow("stopped");
      const before = await readdir(join(output, "shards", "000000000")).catch(() => []);
      const progress: string[] = [];
      await scorePairs(reranker, { ...options, onProgress: ({ step }) => progress.push(step) });
      expect(progress.length).toBeLessThan(40 - before.length * 4);
      expect(await bytesOf(output), `after ${after} calls`).toEqual(expected);
    }
  });

  it("does nothing again that is done", async () => {
    const { output, run } = await job(toLines(rowsOf(25, 9)));
    const first = await run();
    const before = await bytesOf(output);
    expect(await run()).toEqual(first);
    expect(await bytesOf(output)).toEqual(before);
    await rm(join(output, "shards", "000000000", "000000001.jsonl"));
    await rm(join(output, "scores.jsonl"));
    expect(await run()).toEqual(first);
    expect(await bytesOf(output)).toEqual(before);
  });
});

describe("a job that cannot go on", () => {
  it("is refused with other pairs, and goes on with the same that were touched", async () => {
    const rows = rowsOf(25, 10);
    const { pairs, output, run } = await job(toLines(rows));
    await run();
    await utimes(pairs, new Date(), new Date(Date.now() - 1e6));
    await run();
    const changed = rows.map((row, index) =>
      index === 3 ? { ...row, query: [...row.query].reverse().join("") } : row,
    );
    await writeFile(pairs, toLines(changed));
    expect(await refusal(run())).toMatchObject({ code: "score-job", reason: "input" });
    await writeFile(pairs, toLines(rows));
    await appendFile(pairs, toLines(rows.slice(0, 1)));
    expect(await refusal(run())).toMatchObject({ code: "score-job", reason: "input" });
    expect(await readdir(output)).toContain("scores.jsonl");
  });

  it("is refused where another began in the folder at the same moment, on another machine", async () => {
    // An exclusion is of one machine: here none is taken.
    const scorer = await scorerOf(reranker, {});
    const places = { input: folderStorage, output: folderStorage };
    const plan = { queryField: "query", textFields: null, shardPairs: 10, batchPairs: 10 };
    for (let tries = 0; tries < (isLong ? 200 : 10); tries += 1) {
      const output = folder.path(`raced-${tries}`);
      const planned = await Promise.allSettled(
        [1, 2].map(async (seed) => {
          const pairs = await folder.write(`raced-${tries}-${seed}`, toLines(rowsOf(25, seed)));
          return planJob(scorer, places, { ...plan, pairs, output });
        }),
      );
      const jobs = planned.flatMap((one) => (one.status === "fulfilled" ? [one.value] : []));
      const refused = planned.flatMap((one) => (one.status === "rejected" ? [one.reason] : []));
      expect(jobs).toHaveLength(1);
      expect(refused).toMatchObject([{ code: "score-job", reason: "input" }]);
      const [job] = jobs as [ScoreJob];
      for (let shard = 0; shard < job.manifest.shards; shard += 1) await runShard(job, scorer, shard);
      expect(await joinScores(job)).toMatchObject({ rows: 25, failed: 0 });
      await writeFile(
        join(output, "manifest.json"),
        JSON.stringify({ ...job.manifest, options: { ...plan, batchPairs: 11 } }),
      );
      expect(await refusal(joinScores(job))).toMatchObject({ code: "score-job", reason: "output" });
    }
  });

  it("goes on where it was killed between its manifest and its index", async () => {
    const { output, run } = await job(toLines(rowsOf(25, 22)));
    const { sha256 } = await run();
    for (const name of ["index.bin", "shards", "summary.json", "scores.jsonl", "errors.jsonl"])
      await rm(join(output, name), { recursive: true });
    expect((await run()).sha256).toBe(sha256);
  });

  it("is refused where another Parquet file takes the place of the one that is read", async () => {
    const write = (seed: number): Uint8Array => {
      const rows = rowsOf(60, seed);
      const columnData = (["query", "document"] as const).map((name) => ({
        name,
        data: rows.map((row) => row[name]),
      }));
      return new Uint8Array(parquetWriteBuffer({ columnData, rowGroupSize: 10 }));
    };
    const { pairs, output } = await job(write(23));
    let hasChanged = false;
    const slow = scorePairs(reranker, {
      ...{ pairs, output, shardPairs: 10 },
      onProgress: ({ step, completed }) => {
        if (step !== "scoring" || completed < 20 || hasChanged) return;
        hasChanged = true;
        const next = `${pairs}.next`;
        writeFileSync(next, write(24));
        renameSync(next, pairs);
      },
    });
    expect(await refusal(slow)).toMatchObject({
      ...{ code: "score-job", reason: "input" },
      message: expect.stringMatching(/has changed/),
    });
  });

  it("is refused where the pairs change while they are scored", async () => {
    const rows = rowsOf(40, 11);
    const { pairs, run, output } = await job(toLines(rows));
    let changing: Promise<void> | undefined;
    const slow = scorePairs(reranker, {
      ...{ pairs, output, shardPairs: 10 },
      onProgress: ({ step, completed }) => {
        if (step === "scoring" && completed === 10)
          changing ??= writeFile(pairs, toLines([...rows].reverse()));
      },
    });
    const error = await refusal(slow.then(() => changing));
    expect(error).toMatchObject({ code: "score-job", reason: "input" });
    await changing;
    expect(await refusal(run())).toMatchObject({ code: "score-job", reason: "input" });
  });

  it.each<[name: string, change: Partial<ScorePairsOptions>, reason: string]>([
    ["shards", { shardPairs: 11 }, "options"],
    ["calls", { batchPairs: 11 }, "options"],
    ["query", { queryField: "document" }, "options"],
    ["text", { textFields: ["document"] }, "options"],
    ["activation", { activation: "probability" }, "model"],
    ["long documents", { longDocuments: "chunk" }, "model"],
  ])("is refused with another option: %s", async (_, change, reason) => {
    const { pairs, output, run } = await job(toLines(rowsOf(25, 12)));
    await run();
    const other = scorePairs(reranker, { pairs, output, shardPairs: 10, ...change });
    expect(await refusal(other)).toMatchObject({ code: "score-job", reason });
  });

  it("is refused with another model", async () => {
    const { pairs, output, run } = await job(toLines(rowsOf(25, 13)));
    await run();
    await using other = await openReranker(conformanceFixture("roberta-logit"), { backend: trivial() });
    const error = await refusal(scorePairs(other, { pairs, output, shardPairs: 10 }));
    expect(error).toMatchObject({ code: "score-job", reason: "model" });
    await using shorter = await openReranker(model, { backend: trivial(), maxLength: 32 });
    expect(await refusal(scorePairs(shorter, { pairs, output, shardPairs: 10 }))).toMatchObject({
      reason: "model",
    });
  });

  it.each<[name: string, spoil: (output: string) => Promise<unknown>]>([
    ["a manifest that is none", (output) => writeFile(join(output, "manifest.json"), "{}")],
    ["a manifest that is no JSON", (output) => writeFile(join(output, "manifest.json"), "{")],
    ["no manifest", (output) => rm(join(output, "manifest.json"))],
    ["a damaged index", (output) => appendFile(join(output, "index.bin"), "x")],
    ["no index", (output) => rm(join(output, "index.bin"))],
    [
      "a shard that lost lines",
      async (output) => {
        await rm(join(output, "summary.json"));
        const path = join(output, "shards", "000000000", "000000001.jsonl");
        await writeFile(path, (await readFile(path, "utf8")).split("\n").slice(2).join("\n"));
      },
    ],
  ])("is refused with %s", async (_, spoil) => {
    const { output, run } = await job(toLines(rowsOf(25, 14)));
    await run();
    await spoil(output);
    expect(await refusal(run())).toMatchObject({ code: "score-job", reason: "output" });
  });

  it("is refused while another call runs it", async () => {
    const { run } = await job(toLines(rowsOf(40, 15)));
    const [first, second] = await Promise.allSettled([run(), run()]);
    const outcomes = [first, second].map(({ status }) => status).sort();
    expect(outcomes).toEqual(["fulfilled", "rejected"]);
  });

  it.each<[name: string, content: string | Uint8Array, message: RegExp]>([
    ["gzip", Buffer.from([0x1f, 0x8b, 8, 0]), /gzip/],
    ["zstd", Buffer.from([0x28, 0xb5, 0x2f, 0xfd]), /zstd/],
    ["a JSON array", '[{"query":"a"}]', /JSON array/],
    ["the beginning of a Parquet file", "PAR1abcdefgh", /Parquet/],
    ["a Parquet file of nothing", "PAR1PAR1", /Parquet/],
    [
      "a footer that is longer than its file",
      Buffer.concat([Buffer.from("PAR1"), Buffer.alloc(4, 255), Buffer.from("PAR1")]),
      /Parquet/,
    ],
    ["an encrypted file", "PAREabcdPARE", /encrypted/],
  ])("is refused for an input that is %s", async (_, content, message) => {
    const { run } = await job(content);
    const error = await refusal(run());
    expect(error).toMatchObject({ code: "score-job", reason: "input" });
    expect(error.message).toMatch(message);
  });

  it("is refused for damaged Parquet, whatever byte is wrong, or reads rows", async () => {
    const rows = rowsOf(30, 16);
    const columnData = (["query", "document"] as const).map((name) => ({
      name,
      data: rows.map((row) => row[name]),
    }));
    const bytes = new Uint8Array(parquetWriteBuffer({ columnData }));
    const random = createRandom(17);
    for (let tries = 0; tries < (isLong ? 400 : 20); tries += 1) {
      const copy = bytes.slice();
      copy[random.below(copy.length)] = random.below(256);
      const { run } = await job(copy);
      await run().catch((error: unknown) => {
        expect(ScoreJobError.isInstance(error), String(error)).toBe(true);
      });
    }
  });

  it("is refused for a folder, and for nothing", async () => {
    await mkdir(folder.path("a-folder"));
    for (const pairs of [folder.path("a-folder"), folder.path("none")]) {
      const error = await refusal(scorePairs(reranker, { pairs, output: folder.path("unused-output") }));
      expect(error).toMatchObject({ code: "score-job", reason: "input" });
    }
  });

  it.each<[options: object, path: string]>([
    [{ shardPairs: 0 }, "shardPairs"],
    [{ shardPairs: 1e9 }, "shardPairs"],
    [{ batchPairs: 1.5 }, "batchPairs"],
    [{ textFields: [] }, "textFields"],
    [{ textFields: "text" }, "textFields"],
    [{ pairs: "" }, "pairs"],
    [{ topN: 3 }, "topN"],
    [{ activation: "sigmoid" }, "activation"],
  ])("is refused with the option %j", async (options, path) => {
    const pairs = await folder.write("some", toLines(rowsOf(2, 18)));
    const given = { pairs, output: folder.path("refused"), ...options } as ScorePairsOptions;
    expect(await refusal(scorePairs(reranker, given))).toMatchObject({ code: "invalid-input", path });
  });

  it("is refused for a listwise model", async () => {
    await using listwise = await openReranker(conformanceFixture("qwen3-listwise"), { backend: "onnx" });
    const { pairs, output } = await job(toLines(rowsOf(2, 19)));
    expect(await refusal(scorePairs(listwise, { pairs, output }))).toMatchObject({
      code: "invalid-input",
      path: "model",
    });
  });
});

describe("crossrank score", () => {
  it("gives the scores of crossrank rerank", async () => {
    const rows = rowsOf(9, 20).map((row) => ({ ...row, query: "how do vaccines work" }));
    const pairs = await folder.write("command.jsonl", toLines(rows));
    const documents = await folder.write(
      "documents.jsonl",
      toLines(rows.map(({ document }) => ({ text: document }))),
    );
    const shared = ["--model", model, "--backend", "onnx:fp32", "--threads", "1"];
    const output = folder.path("command");
    const scored = await crossrankInTurn(["score", "--pairs", pairs, "--output", output, ...shared]);
    expect(scored).toMatchObject({ code: 0, stderr: "" });
    expect(JSON.parse(scored.stdout)).toMatchObject({ rows: 9, scored: 9, failed: 0 });
    const ranked = await crossrankInTurn([
      ...[
        "rerank",
        "--query",
        "how do vaccines work",
        "--documents",
        documents,
        "--format",
        "json",
        ...shared,
      ],
    ]);
    const { results } = JSON.parse(ranked.stdout) as {
      results: { index: number; logit: number; score: number }[];
    };
    const lines = await linesOf(output);
    for (const { index, logit, score } of results)
      expect(lines[index]).toMatchObject({ row: index, logit, score });
    const again = await crossrankInTurn([
      "score",
      "--pairs",
      pairs,
      "--output",
      output,
      ...shared,
      "--max-length",
      "32",
    ]);
    expect(again).toMatchObject({ code: 1, stdout: "" });
    expect(again.stderr).toMatch(/^crossrank: .*with other content, settings or another version/);
  });

  it("fails where no row has a score", async () => {
    const pairs = await folder.write("wrong.jsonl", toLines([{ question: "a", passage: "b" }]));
    const { code, stderr } = await crossrankInTurn([
      ...[
        "score",
        "--pairs",
        pairs,
        "--output",
        folder.path("wrong"),
        "--model",
        model,
        "--backend",
        "onnx:fp32",
      ],
    ]);
    expect(code).toBe(1);
    expect(stderr).toMatch(/errors\.jsonl says why\. Name the fields with --query-field/);
  });
});

describe("a killed score", () => {
  it(`goes on after ${isLong ? 60 : 2} kills at random moments, and ends with the bytes of one that was not`, async () => {
    const pairs = await folder.write("killed.jsonl", toLines(rowsOf(200, 21)));
    const environment = { TRIVIAL_PAUSE: "20" };
    const argumentsOf = (output: string): string[] => [
      ...["score", "--pairs", pairs, "--output", output, "--shard-pairs", "10", "--batch-pairs", "5"],
      ...["--model", model, "--backend", fileURLToPath(new URL("./trivial-backend.mjs", import.meta.url))],
    ];
    const undisturbed = folder.path("undisturbed");
    expect(await crossrankInTurn(argumentsOf(undisturbed))).toMatchObject({ code: 0, stderr: "" });
    const expected = await bytesOf(undisturbed);
    const random = createRandom(31);
    let early = 0;
    for (let round = 0; round < (isLong ? 15 : 1); round += 1) {
      const output = folder.path(`killed-${round}`);
      for (let kills = 0; kills < (isLong ? 4 : 2); kills += 1) {
        let timer: NodeJS.Timeout | undefined;
        const { code } = await crossrank([...argumentsOf(output), "--verbose"], {
          environment,
          // Said once the model is open.
          onStandardError: (_, child) => {
            timer ??= setTimeout(() => child.kill("SIGKILL"), random.below(isLong ? 1000 : 400));
          },
        });
        clearTimeout(timer);
        if (code === null) early += 1;
      }
      expect(await crossrankInTurn(argumentsOf(output)), `round ${round}`).toMatchObject({
        code: 0,
        stderr: "",
      });
      expect(await bytesOf(output), `round ${round}`).toEqual(expected);
    }
    if (isLong) console.log(`60 kills, of which ${early} came before the end`);
    expect(early).toBeGreaterThan(0);
  });
});

describe("memory", () => {
  it(`stays flat over ${isLong ? "2,000,000" : "5,000"} pairs with a trivial backend`, async () => {
    const rows = isLong ? 2_000_000 : 5000;
    const pairs = folder.path("many.jsonl");
    await writeFile(
      pairs,
      (function* () {
        for (let row = 0; row < rows; row += 1000)
          yield toLines(
            rowsOf(1000, row).map(({ query, document }) => ({ query, document: document.slice(0, 40) })),
          );
      })(),
    );
    let peak = 0;
    let early = 0;
    await scorePairs(reranker, {
      ...{ pairs, output: folder.path("many"), shardPairs: 1000 },
      onProgress: ({ step, completed }) => {
        if (step !== "scoring") return;
        const { rss } = process.memoryUsage();
        if (completed <= rows / 10) early = Math.max(early, rss);
        peak = Math.max(peak, rss);
      },
    });
    const megabytes = (bytes: number): number => Math.round(bytes / 2 ** 20);
    console.log(`${rows} pairs: ${megabytes(early)} MB in the first tenth, ${megabytes(peak)} MB at most`);
    expect(peak - early).toBeLessThan(200 * 2 ** 20);
  });
});

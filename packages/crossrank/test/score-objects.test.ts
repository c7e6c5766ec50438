import { readFile } from "node:fs/promises";
import { join } from "node:path";
import type { Reranker } from "@crossrank/core";
import { createRandom } from "@crossrank/eval";
import { type ObjectStorage, ObjectStoreError, openObjectStorage, type StoredFolder } from "@crossrank/queue";
import { parquetWriteBuffer } from "hyparquet-writer";
import { afterAll, afterEach, beforeAll, expect, it } from "vitest";
import { isLong } from "../../../test/sample.js";
import { openReranker, scorePairs } from "../src/index.js";
import { describeWithObjectStore, type ObjectStore, startObjectStore } from "./object-store.js";
import { conformanceFixture, temporaryFolder } from "./run-command.js";
import { trivial } from "./trivial-backend.mjs";

const folder = temporaryFolder();
const model = conformanceFixture("bert-logit");
const partBytes = 16 * 1024 * 1024;
let reranker: Reranker;
let store: ObjectStore;
let storage: ObjectStorage;

const random = createRandom(41);
const words = "vaccine train the immune system paris city cat sat on mat".split(" ");
const text = (most: number): string =>
  Array.from({ length: 1 + random.below(most) }, () => words[random.below(words.length)]).join(" ");
const rows = Array.from({ length: 60 }, () => ({ query: text(4), document: text(20) }));
const lines = rows.map((row) => `${JSON.stringify(row)}\n`).join("");
const shape = { shardPairs: 10, batchPairs: 5 };

async function textOf(output: StoredFolder, name: string): Promise<string> {
  return Buffer.from((await output.read(name, 2 ** 30)) ?? []).toString();
}

async function shardsOf(output: StoredFolder): Promise<string[]> {
  const names: string[] = [];
  for await (const name of output.names("shards")) names.push(name);
  return names;
}

const refusal = (promise: Promise<unknown>): Promise<unknown> =>
  promise.then(
    () => expect.unreachable("it was not refused"),
    (error: unknown) => error,
  );

/** Uploads in parts below a place that nobody has ended, as the store lists them. */
async function uploadsOf(): Promise<number> {
  const answer = await fetch(`${store.environment["AWS_ENDPOINT_URL_S3"]}/bucket?uploads`);
  return (await answer.text()).split("<Upload>").length - 1;
}

describeWithObjectStore("files in S3", () => {
  beforeAll(async () => {
    store = await startObjectStore();
    Object.assign(process.env, store.environment);
    await fetch(`${store.environment["AWS_ENDPOINT_URL_S3"]}/bucket`, { method: "PUT" });
    storage = await openObjectStorage();
    reranker = await openReranker(model, { backend: trivial() });
  });
  afterEach(() => {
    if (store !== undefined) store.cut = () => undefined;
  });
  afterAll(async () => {
    await reranker?.dispose();
    await store?.stop();
  });

  it("get the scores that files in a folder get, whole and where it was stopped", async () => {
    const pairs = await folder.write("pairs.jsonl", lines);
    const output = folder.path("scored");
    await scorePairs(reranker, { pairs, output, ...shape });
    const expected = await readFile(join(output, "scores.jsonl"), "utf8");
    const columnData = (["query", "document"] as const).map((name) => ({
      name,
      data: rows.map((row) => row[name]),
    }));
    const parquet = new Uint8Array(parquetWriteBuffer({ columnData, rowGroupSize: 16 }));
    const inputs = await storage.openOutput("s3://bucket/inputs");
    for (const [name, content] of [
      ["a.jsonl", lines],
      ["a.parquet", parquet],
    ] as const) {
      await inputs.write(name, [content]);
      const place = `s3://bucket/scored/${name}`;
      const options = { pairs: `s3://bucket/inputs/${name}`, output: place, ...shape };
      const stop = new AbortController();
      const stopped = scorePairs(reranker, {
        ...{ ...options, signal: stop.signal },
        onProgress: ({ step, completed }) => {
          if (step === "scoring" && completed >= 25) stop.abort(new Error("stopped"));
        },
      });
      await expect(stopped).rejects.toThrow("stopped");
      const there = await storage.openOutput(place);
      expect(await shardsOf(there)).toHaveLength(2);
      expect(await scorePairs(reranker, options)).toMatchObject({ output: place, rows: 60, failed: 0 });
      expect(await textOf(there, "scores.jsonl"), name).toBe(expected);
      expect(await scorePairs(reranker, options)).toMatchObject({ rows: 60 });
    }
    // Pairs that are others now are another job.
    await inputs.write("a.jsonl", [lines.replace("vaccine", "Vaccine")]);
    const again = { pairs: "s3://bucket/inputs/a.jsonl", output: "s3://bucket/scored/a.jsonl", ...shape };
    expect(await refusal(scorePairs(reranker, again))).toMatchObject({ code: "score-job", reason: "input" });
  });

  it("are written once: of two at the same time the first one stays, and none is mixed", async () => {
    const output = await storage.openOutput("s3://bucket/once");
    const content = (byte: number, size: number): Buffer[] =>
      Array.from({ length: Math.ceil(size / 1e6) }, () => Buffer.alloc(Math.min(size, 1e6), byte));
    const sizes = [10, ...Array.from({ length: isLong ? 100 : 4 }, () => 1 + random.below(1e5))];
    for (const [index, size] of [...sizes, partBytes + 1e6].entries()) {
      const name = `object-${index}`;
      const both = [1, 2].map((byte) => content(byte, size));
      await Promise.all(both.map((pieces) => output.writeOnce(name, pieces)));
      const bytes = Buffer.from((await output.read(name, 2 ** 30)) ?? []);
      expect(
        both.some((pieces) => bytes.equals(Buffer.concat(pieces))),
        name,
      ).toBe(true);
      await output.writeOnce(name, content(3, size));
      expect(Buffer.from((await output.read(name, 2 ** 30)) ?? []).equals(bytes), name).toBe(true);
    }
    expect(await uploadsOf()).toBe(0);
  });

  it("are there in whole or not at all where connections break, and errors are typed", async () => {
    const output = await storage.openOutput("s3://bucket/cut");
    const small = ["a small one\n"];
    const large = Array.from({ length: 18 }, (_, index) => Buffer.alloc(1 << 20, index));
    const cases: [name: string, pieces: readonly (string | Buffer)[], cut: (what: string) => boolean][] = [
      ["small", small, (what) => what.startsWith("PUT")],
      ["begin", large, (what) => what.startsWith("POST") && what.includes("uploads")],
      ["first-part", large, (what) => what.includes("partNumber=1")],
      ["second-part", large, (what) => what.includes("partNumber=2")],
      ["end", large, (what) => what.startsWith("POST") && what.includes("uploadId")],
    ];
    // Parts are 16 MB, and each is sent three times before the client gives up.
    const tried = cases.filter(([name]) => isLong || name === "small" || name === "end");
    for (const [name, pieces, isCut] of tried) {
      store.cut = (what) => (isCut(what) ? "request" : undefined);
      for (const write of isLong || pieces === small
        ? (["write", "writeOnce"] as const)
        : (["writeOnce"] as const)) {
        const error = await refusal(output[write](name, pieces));
        expect(error, `${name}, ${write}`).toMatchObject({ code: "object-store", reason: "unreachable" });
      }
      store.cut = () => undefined;
      expect(await output.has(name), name).toBe(false);
      // Broken once it is tried again.
      let breaks = 1;
      store.cut = (what) => (isCut(what) && breaks-- > 0 ? "request" : undefined);
      await output.writeOnce(name, pieces);
      const expected = Buffer.concat(pieces.map((piece) => Buffer.from(piece as string)));
      expect(Buffer.from((await output.read(name, 2 ** 30)) ?? []).equals(expected), name).toBe(true);
    }
    store.cut = () => undefined;
    // An upload whose writer was killed, and cannot end it.
    store.cut = (what) =>
      what.includes("partNumber=2") || what.startsWith("DELETE") ? "request" : undefined;
    await refusal(output.writeOnce("left", large));
    store.cut = () => undefined;
    expect(await uploadsOf()).toBeGreaterThan(0);
    await output.removeUnfinished(".");
    expect(await uploadsOf()).toBe(0);

    // What the pieces throw is theirs.
    const failing = (function* () {
      yield Buffer.alloc(partBytes);
      throw new RangeError("of the pieces");
    })();
    expect(await refusal(output.write("failing", failing))).toBeInstanceOf(RangeError);
    expect([await output.has("failing"), await uploadsOf()]).toEqual([false, 0]);

    store.cut = (what) => (what.startsWith("GET") ? "answer" : undefined);
    expect(await refusal(output.read("end", 2 ** 30))).toMatchObject({ reason: "unreachable" });
    store.cut = () => undefined;
    const input = await storage.openInput("s3://bucket/cut/small");
    await output.write("small", ["A small one\n"]);
    const read = async (): Promise<void> => {
      for await (const _ of input.read(0, 5));
    };
    expect(await refusal(read())).toMatchObject({ reason: "changed" });
    for (const [place, reason] of [
      ["s3://bucket/none", "missing"],
      ["s3://no-bucket/none", "missing"],
      ["s3://bucket", "address"],
      ["s3://B/x", "address"],
    ] as const) {
      const error = await refusal(storage.openInput(place));
      expect(ObjectStoreError.isInstance(error), place).toBe(true);
      expect(error, place).toMatchObject({ reason });
    }
  });
});

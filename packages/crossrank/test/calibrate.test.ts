import { cp, readdir, readFile, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { describe, expect, test } from "vitest";
import { crossrankInTurn, fixture, type Outcome, temporaryFolder } from "./run-command.js";

const folder = temporaryFolder();

const subjects = ["cat", "vaccine", "planet", "river", "bread", "engine", "violin", "tax", "whale", "bridge"];

/** Questions with an answer and with sentences about something else. */
const pairs = subjects.flatMap((subject, index) =>
  Array.from({ length: 6 }, (_, place) => {
    const other = subjects[(index + place + 1) % subjects.length];
    const relevant = place < 2;
    const about = relevant ? subject : other;
    return {
      query: `what is a ${subject}?`,
      document: `A ${about} is explained here in ${place + 1} words about the ${about}.`,
      relevance: relevant ? 1 : 0,
    };
  }),
);

const jsonl = (rows: readonly object[]): string => rows.map((row) => JSON.stringify(row)).join("\n");

const calibrate = (args: readonly string[], input?: string): Promise<Outcome> =>
  crossrankInTurn(["calibrate", ...args], input === undefined ? {} : { input });

interface Written {
  readonly [entry: string]: unknown;
  readonly calibration: {
    readonly method: string;
    readonly slope: number;
    readonly intercept: number;
    readonly fit: {
      readonly pairs: number;
      readonly relevant: number;
      readonly before: { readonly logLoss: number };
      readonly after: { readonly logLoss: number };
      readonly heldOut: { readonly logLoss: number } | null;
    };
  };
}

describe("calibrate", () => {
  test("fits nano's probabilities, writes them, and leaves what else the file holds", async () => {
    const file = await folder.write("pairs.jsonl", jsonl(pairs));
    const target = await folder.write("nano.json", '{"instruction": "", "calibration": {"old": 1}}');
    const { code, stdout, stderr } = await calibrate(["--pairs", file, "--calibration", target]);
    expect({ code, stderr }).toEqual({ code: 0, stderr: "" });
    expect(stdout).toMatch(/pairs +60 of pairs\.jsonl, 20 of them relevant/);
    expect(stdout).toMatch(/calibration +platt, slope [\d.]+, intercept -?[\d.]+/);
    expect(stdout).toMatch(/held out +[\d.]+ +[\d.]+/);
    const { calibration, ...others } = JSON.parse(await readFile(target, "utf8")) as Written;
    expect(others).toEqual({ instruction: "" });
    expect(calibration).toMatchObject({
      method: "platt",
      fit: { pairs: 60, relevant: 20, source: "pairs.jsonl", of: "nano, onnx int8, onnx" },
    });
    expect(calibration.fit.after.logLoss).toBeLessThanOrEqual(calibration.fit.before.logLoss);
  });

  describe("of a model's folder", () => {
    const embedded = fileURLToPath(new URL("../../model-nano/model", import.meta.url));
    /** A copy of nano, which is a folder like others. */
    const ownModel = async (name: string): Promise<string> => {
      const model = folder.path(name);
      await cp(embedded, model, { recursive: true });
      return model;
    };
    const profileOf = (model: string): Promise<string> => readFile(join(model, "crossrank.json"), "utf8");
    const fitted = async (model: string, ...args: string[]): Promise<Outcome> =>
      calibrate([model, "--pairs", "-", ...args], jsonl(pairs));

    test("goes into its crossrank.json, and is what the model's probabilities are then", async () => {
      const model = await ownModel("calibrated");
      const before = JSON.parse(await profileOf(model)) as object;
      const first = await fitted(model);
      expect(first).toMatchObject({ code: 0, stderr: "" });
      expect(first.stdout).toContain(`written to ${join(model, "crossrank.json")}`);
      const { calibration, ...others } = JSON.parse(await profileOf(model)) as Written;
      expect(others).toEqual(before);
      expect(calibration.fit).toMatchObject({
        ...{ source: "standard input", of: "calibrated, onnx int8, onnx" },
      });
      const { stdout } = await crossrankInTurn([
        ...["rerank", "--model", model, "--query", "what is a cat?", "--format", "json"],
        ...["--documents", await folder.write("two.jsonl", jsonl([{ text: "a cat" }, { text: "a tax" }]))],
        ...["--activation", "probability"],
      ]);
      const result = JSON.parse(stdout);
      expect(result.calibration).toMatchObject({ method: "platt", source: "crossrank.json" });
      for (const { logit, score } of result.results) {
        const line = calibration.slope * logit + calibration.intercept;
        expect(score).toBeCloseTo(1 / (1 + Math.exp(-line)), 12);
      }
      // A fit is on logits, which an earlier one does not move.
      const { calibration: wanted } = JSON.parse(await profileOf(model)) as Written;
      expect((await fitted(model)).code).toBe(0);
      expect(JSON.parse(await profileOf(model))).toEqual({ ...before, calibration: wanted });
      expect((await fitted(model, "--method", "temperature")).code).toBe(0);
      const again = JSON.parse(await profileOf(model)) as Written;
      expect(again.calibration.method).toBe("temperature");
      expect(again.calibration).not.toHaveProperty("slope");
      expect((await readdir(model)).filter((name) => /crossrank/.test(name))).toEqual(["crossrank.json"]);
    });

    test("makes the file where there is none", async () => {
      const model = await ownModel("bare");
      await rm(join(model, "crossrank.json"));
      expect((await fitted(model, "--method", "temperature")).code).toBe(0);
      expect(Object.keys(JSON.parse(await profileOf(model)))).toEqual(["calibration"]);
    });

    test("leaves it as it is where another file is named, and where there is no fit", async () => {
      const model = await ownModel("untouched");
      const before = await profileOf(model);
      const target = folder.path("elsewhere.json");
      expect((await fitted(model, "--calibration", target)).code).toBe(0);
      expect(Object.keys(JSON.parse(await readFile(target, "utf8")))).toEqual(["calibration"]);
      const few = await calibrate([model, "--pairs", "-"], jsonl(pairs.slice(0, 20)));
      expect(few).toMatchObject({ code: 1, stdout: "" });
      const turned = pairs.map((pair) => ({ ...pair, relevance: 1 - pair.relevance }));
      expect((await calibrate([model, "--pairs", "-"], jsonl(turned))).stderr).toMatch(/No calibration/);
      expect(await profileOf(model)).toBe(before);
    });

    test.each(["{", "[]", "null", ""])("that holds %j as its crossrank.json is refused", async (content) => {
      const model = await ownModel(`broken-${content.length}-${content.codePointAt(0)}`);
      await writeFile(join(model, "crossrank.json"), content);
      const outcome = await fitted(model);
      expect(outcome.stderr).toMatch(/crossrank\.json: it is no/);
      expect(outcome).toMatchObject({ code: 1, stdout: "" });
      expect(await profileOf(model)).toBe(content);
    });
  });

  test("of nano is printed where no file is named; labels may be true and false", async () => {
    const { code, stdout, stderr } = await calibrate(
      ["--pairs", "-", "--method", "temperature", "--format", "json"],
      jsonl(
        pairs.map(({ query, document, relevance }) => ({ query, text: document, relevant: relevance === 1 })),
      ),
    );
    expect({ code, stderr }).toEqual({ code: 0, stderr: "" });
    const json = JSON.parse(stdout) as Written & { readonly written: string | null; readonly bins: object };
    expect(json).toMatchObject({ written: null, leftOut: 0, calibration: { method: "temperature" } });
    expect(json.bins).toMatchObject({ before: { length: 15 }, after: { length: 15 } });
  });

  test.each([
    [[], 2, /--pairs, or a task with --task/],
    [["--pairs", "-", "--limit", "3"], 2, /--limit is of a task/],
    [["--pairs", "-", "--task", "x"], 2, /cannot be used with/],
    [["--pairs", "none.jsonl"], 1, /none\.jsonl/],
    [["--pairs", "-", "--method", "isotonic"], 2, /Allowed choices/],
    [["--pairs", "-"], 1, /No calibration: there are 0 pairs/],
  ])("%j fails with a reason", async (args, code, reason) => {
    const outcome = await calibrate(args, "");
    expect(outcome.stderr).toMatch(reason);
    expect(outcome).toMatchObject({ code, stdout: "" });
  });

  test.each([
    ["{", /:1: not valid JSON/],
    ["[]", /:1: not a JSON object/],
    ['{"document": "a", "relevance": 1}', /:1: no "query"/],
    ['{"query": " ", "document": "a", "relevance": 1}', /"query" is no text/],
    ['{"query": "q", "relevance": 1}', /no "document"/],
    ['{"query": "q", "document": 5, "relevance": 1}', /"document" is neither/],
    ['{"query": "q", "document": "a"}', /no "relevance"/],
    ['{"query": "q", "document": "a", "relevance": "1"}', /"relevance" is neither/],
    ['{"query": "q", "document": "a", "relevance": 1, "label": 0}', /both "relevance" and "label"/],
    ['\n{"query": "q", "document": "a", "relevance": null}', /:2: "relevance" is neither/],
  ])("a line like %j names itself", async (line, reason) => {
    const outcome = await calibrate(["--pairs", "-"], line);
    expect(outcome.stderr).toMatch(reason);
    expect(outcome.code).toBe(1);
  });

  test("one class alone, and a target that is no JSON, are refused with what to do", async () => {
    const ones = await calibrate(["--pairs", "-"], jsonl(pairs.filter(({ relevance }) => relevance === 1)));
    expect(ones.stderr).toMatch(/all 20 pairs are relevant\. Add judged pairs of the other kind/);
    const target = await folder.write("broken.json", "{");
    const broken = await calibrate(["--pairs", "-", "--calibration", target], jsonl(pairs));
    expect(broken.stderr).toMatch(/broken\.json: it is not JSON/);
    expect(broken.code).toBe(1);
    expect(await readFile(target, "utf8")).toBe("{");
  });

  test("of a random model there is no order to keep, or a poor fit, and never a crash", async () => {
    const { code, stderr } = await calibrate(
      ["--model", fixture("cross-encoder"), "--pairs", "-", "--calibration", folder.path("tiny.json")],
      jsonl(pairs),
    );
    expect(stderr === "" ? code : stderr).toSatisfy(
      (value: unknown) => value === 0 || /No calibration|note:/.test(String(value)),
    );
  });
});

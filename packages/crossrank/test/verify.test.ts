import { cp, readdir, readFile, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import type { Goldens, Verification } from "@crossrank/core/verify";
import { modelFolder } from "@crossrank/model-nano";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { gitFile, type HubServer, lfsFile, startHub } from "../../hub/test/hub-server.js";
import {
  conformanceFixture,
  crossrankInTurn as crossrank,
  fixture,
  type Outcome,
  temporaryFolder,
} from "./run-command.js";

const folder = temporaryFolder();

interface VerifyOutput {
  readonly passed: boolean;
  readonly verifications: readonly (Verification & {
    readonly goldens: { readonly source: string; readonly reference: Goldens["reference"] };
  })[];
}

async function verifyJson(
  ...args: readonly string[]
): Promise<VerifyOutput & Pick<Outcome, "code" | "stderr">> {
  const { code, stdout, stderr } = await crossrank(["verify", ...args, "--format", "json"]);
  return { ...(JSON.parse(stdout) as VerifyOutput), code, stderr };
}

/** A copy of a model of the conformance suite, to damage. */
async function copyOf(name: string, as: string): Promise<string> {
  const model = folder.path(as);
  await cp(conformanceFixture(name), model, { recursive: true });
  return model;
}

async function edit<Content>(path: string, change: (content: Content) => unknown): Promise<void> {
  await writeFile(path, JSON.stringify(change(JSON.parse(await readFile(path, "utf8")) as Content)));
}

async function goldensOf(model: string): Promise<Goldens> {
  return JSON.parse(await readFile(join(model, "golden.json"), "utf8")) as Goldens;
}

describe("verify", () => {
  it("holds nano, in 8 bits, against its own goldens", async () => {
    const { code, stdout, stderr } = await crossrank(["verify"]);
    expect({ code, stderr }).toEqual({ code: 0, stderr: "" });
    expect(stdout).toMatch(/^model +nano, onnx int8$/m);
    const { reference, cases } = await goldensOf(modelFolder);
    const wanted = (name: string): string =>
      cases.find((one) => one.name === name)?.expected["document-only"]?.logit?.toFixed(5) ?? "none";
    expect(stdout).toContain(`\nreference               ${reference.name}, float32, torch `);
    expect(stdout).toMatch(
      new RegExp(
        `^berlin-population +ok +${wanted("berlin-population")} +-?\\d\\.\\d{5} +\\d\\.\\d{4}$`,
        "m",
      ),
    );
    expect(stdout).toMatch(
      new RegExp(`^empty-query +ok +${wanted("empty-query")} +– +– +not scored: an empty query$`, "m"),
    );
    expect(stdout).toMatch(/^tokens +24 of 24 sequences are the same$/m);
    expect(stdout).toMatch(
      /^numbers +22 of 24 cases compared; \|Δ\| max 0\.\d+, mean 0\.\d+, median 0\.\d+$/m,
    );
    expect(stdout).toMatch(/^order +(?:9\d|100)\.\d\d % of \d+ pairs of cases are ordered alike$/m);
    expect(stdout).toMatch(
      /^bound +median \|Δ\| at most 0\.15, signs stable, 75 % of pairs further apart than 0\.15 ordered alike \(int8\)$/m,
    );
    expect(stdout).toMatch(/\n\nPASS: [^\n]+\.\n$/);
  });

  it.each(["bert-logit", "bert-cosine-cls", "qwen3-yes-no"])(
    "passes %s in both truncation modes, every golden compared",
    async (name) => {
      const model = conformanceFixture(name);
      const expected = (await goldensOf(model)).cases.flatMap((one) => Object.values(one.expected));
      const { code, stderr, passed, verifications } = await verifyJson(model);
      expect({ code, stderr, passed }).toEqual({ code: 0, stderr: "", passed: true });
      const [verification] = verifications;
      expect(verification?.summary).toMatchObject({
        cases: expected.length,
        tokensCompared: expected.length,
        tokensDifferent: 0,
        nonFinite: 0,
        mismatched: 0,
      });
      const modes = new Set(verification?.cases.map(({ truncation }) => truncation));
      expect([...modes]).toEqual(["document-only", "longest-first"]);
      expect(verification?.summary.maximum).toBeLessThan(1e-4);
    },
  );

  it("passes a listwise model, document by document", async () => {
    const model = conformanceFixture("qwen3-listwise");
    const documents = (await goldensOf(model)).lists?.flatMap((list) => list.documents) ?? [];
    const { code, verifications } = await verifyJson(model);
    expect(code).toBe(0);
    expect(verifications[0]?.cases).toHaveLength(documents.length);
    expect(verifications[0]).toMatchObject({ scale: "cosine", summary: { orderAgreement: 1 } });
    const { stdout } = await crossrank(["verify", model]);
    expect(stdout).toMatch(/^\S+\[0\] +ok +/m);
  });

  it("fails a tokenizer that marks no segments, with the first id that differs", async () => {
    const model = await copyOf("bert-logit", "segments");
    await edit<{ post_processor: { pair: Record<string, { type_id: number }>[] } }>(
      join(model, "tokenizer.json"),
      (content) => {
        for (const piece of content.post_processor.pair)
          for (const one of Object.values(piece)) one.type_id = 0;
        return content;
      },
    );
    const { code, stdout, stderr } = await crossrank(["verify", model]);
    expect(code).toBe(1);
    expect(stdout).toMatch(/^\S+ +document-only +DIFFER +.*segmentIds\[\d+\] 0 instead of 1$/m);
    expect(stdout).toMatch(/\nFAIL: \d+ of \d+ token sequences differ, the first in [^\n]+\n$/);
    expect(stderr).toMatch(
      /^crossrank: .*does not agree with golden\.json: \d+ of \d+ token sequences differ/,
    );
    expect(stderr.trim().split("\n")).toHaveLength(1);
  });

  it("fails an artifact that pools otherwise than its config says", async () => {
    const model = await copyOf("modernbert-mean", "pooling");
    await cp(conformanceFixture("modernbert-cls/onnx/model.onnx"), join(model, "onnx/model.onnx"));
    const { code, passed, verifications } = await verifyJson(model);
    expect({ code, passed }).toEqual({ code: 1, passed: false });
    expect(verifications[0]?.summary).toMatchObject({ tokensDifferent: 0 });
    expect(verifications[0]?.summary.maximum).toBeGreaterThan(0.01);
    expect(verifications[0]?.reason).toMatch(/logits are further off than the 0\.0001 of fp32, the worst by/);
  });

  it("fails an artifact that gives NaN, and names the number so", async () => {
    const model = folder.path("nan");
    await cp(fixture("cross-encoder-nan"), model, { recursive: true });
    const golden = (name: string, document: string) => ({
      name,
      query: "tea",
      document,
      // Of the fixture's own goldens.json; the word poison makes its graph give NaN.
      expected: { "document-only": { logit: -0.9898156 } },
    });
    const goldens: Goldens = {
      specificationVersion: "1",
      reference: { name: "onnxruntime (Python)", dtype: "float32" },
      cases: [golden("sound", "coffee"), golden("poisoned", "coffee poison")],
    };
    await writeFile(join(model, "golden.json"), JSON.stringify(goldens));
    const { code, verifications } = await verifyJson(model);
    expect(code).toBe(1);
    const [sound, poisoned] = verifications[0]?.cases ?? [];
    expect(sound?.delta).toBeLessThan(1e-4);
    expect(poisoned).toMatchObject({ name: "poisoned", actual: "NaN", delta: "NaN" });
    expect(verifications[0]?.reason).toBe("1 of 2 numbers are not finite, the first of poisoned");
  });

  it("judges by --tolerance when it is given", async () => {
    const model = await copyOf("bert-logit", "tolerance");
    await edit<Goldens>(join(model, "golden.json"), (goldens) => ({
      ...goldens,
      cases: goldens.cases.map(({ expected, ...one }) => ({
        ...one,
        expected: Object.fromEntries(
          Object.entries(expected).map(([mode, golden]) => {
            const logit = golden?.logit;
            return [
              mode,
              typeof logit === "number" ? { ...golden, score: undefined, logit: logit + 0.05 } : golden,
            ];
          }),
        ),
      })),
    }));
    expect((await crossrank(["verify", model])).code).toBe(1);
    const { code, verifications } = await verifyJson(model, "--tolerance", "0.06");
    expect(code).toBe(0);
    expect(verifications[0]?.bound).toEqual({ name: "the tolerance asked for", maximum: 0.06 });
    expect((await crossrank(["verify", model, "--tolerance", "0.04"])).code).toBe(1);
  });

  it("takes goldens from a file, and says what is wrong with one", async () => {
    const model = await copyOf("bert-logit", "without");
    const own = join(model, "golden.json");
    const elsewhere = folder.path("elsewhere.json");
    await cp(own, elsewhere);
    await rm(own);
    const none = await crossrank(["verify", model]);
    expect(none.code).toBe(1);
    expect(none.stderr).toMatch(/has no golden\.json .*--goldens FILE.*--published ID\n$/);
    const given = await verifyJson(model, "--goldens", elsewhere);
    expect(given).toMatchObject({ code: 0, verifications: [{ goldens: { source: elsewhere } }] });

    const bad = await folder.write("bad.json", '{ "specificationVersion": "1", "cases": [] }');
    const refused = await crossrank(["verify", model, "--goldens", bad]);
    expect(refused).toMatchObject({ code: 1, stdout: "" });
    expect(refused.stderr).toMatch(/^crossrank: --goldens .*bad\.json: cannot be read \(reference: /);
    const missing = await crossrank(["verify", model, "--goldens", folder.path("missing.json")]);
    expect(missing.stderr).toMatch(/^crossrank: cannot read --goldens .*there is no such file/);
    const lists = await crossrank([
      "verify",
      model,
      "--goldens",
      join(conformanceFixture("qwen3-listwise"), "golden.json"),
    ]);
    expect(lists.code).toBe(1);
    expect(lists.stderr).toMatch(/^crossrank: --goldens .*golden\.json hold nothing: .*cross-encoder/);
  });

  it("takes goldens from one place only", async () => {
    const { code, stderr } = await crossrank(["verify", "--goldens", "x.json", "--published", "a/b"]);
    expect(code).toBe(2);
    expect(stderr).toMatch(/--goldens <file>' cannot be used with option '--published <id>'/);
  });

  it("names a precision that the model does not have", async () => {
    const { code, stdout, stderr } = await crossrank([
      "verify",
      conformanceFixture("bert-logit"),
      "--backend",
      "onnx:int8",
    ]);
    expect({ code, stdout }).toEqual({ code: 1, stdout: "" });
    expect(stderr).toContain("model_int8.onnx");
  });

  it.each(["0", "-1", "much", ""])("refuses --tolerance %j", async (value) => {
    const { code, stderr } = await crossrank(["verify", "nano", "--tolerance", value]);
    expect(code).toBe(2);
    expect(stderr).toMatch(/^crossrank: .*It must be a number above 0\. See: crossrank verify --help\n$/);
  });
});

describe("published goldens", () => {
  let hub: HubServer;
  beforeAll(async () => {
    const root = conformanceFixture("bert-logit");
    const entries = await readdir(root, { recursive: true, withFileTypes: true });
    const names = entries
      .filter((entry) => entry.isFile() && entry.name !== "golden.json")
      .map((entry) => join(entry.parentPath, entry.name));
    const files = await Promise.all(
      names.map(async (local) => {
        const content = await readFile(local);
        const path = local.slice(root.length + 1).replaceAll("\\", "/");
        return [path, path.endsWith(".onnx") ? lfsFile(content) : gitFile(content)] as const;
      }),
    );
    hub = await startHub({
      id: "cross-encoder/MS-MARCO-minilm-l6-v2",
      commit: "0123456789abcdef0123456789abcdef01234567",
      revisions: ["main"],
      files: Object.fromEntries(files),
    });
  });
  afterAll(() => hub[Symbol.asyncDispose]());

  it("are found by repository id whatever its case, and a model that only has the name fails all of them", async () => {
    const { code, stdout } = await crossrank(
      ["verify", "cross-encoder/MS-MARCO-minilm-l6-v2", "--format", "json"],
      {
        environment: {
          HF_ENDPOINT: hub.endpoint,
          HF_HOME: folder.path("hub"),
          HF_HUB_CACHE: "",
          HF_HUB_OFFLINE: "",
          HF_TOKEN: "",
        },
      },
    );
    expect(code).toBe(1);
    const { passed, verifications } = JSON.parse(stdout) as VerifyOutput;
    expect(passed).toBe(false);
    expect(verifications.map(({ goldens }) => goldens.source)).toEqual([
      expect.stringContaining("sentence-transformers/blob/"),
      expect.stringContaining("sbert.net"),
    ]);
    for (const { cases, reason } of verifications) {
      expect(cases.map(({ tokens }) => tokens)).toEqual(cases.map(() => "unknown"));
      expect(reason).toMatch(/further off than the/);
    }
    expect(verifications[0]?.cases.map(({ expected }) => expected)).toEqual([
      -6.53125, 9.6875, 6.90625, 6.6875,
    ]);
  });

  it("are taken for a folder only when its repository is named", async () => {
    const model = await copyOf("bert-logit", "ms-marco-MiniLM-L6-v2");
    await rm(join(model, "golden.json"));
    expect((await crossrank(["verify", model])).stderr).toContain("has no golden.json");
    const named = await crossrank(["verify", model, "--published", "Xenova/ms-marco-MiniLM-L-6-v2"]);
    expect(named.code).toBe(1);
    expect(named.stdout).toMatch(/^goldens +https:\/\/github\.com\/qdrant\/fastembed\//m);
    expect(named.stdout).toMatch(/^tokens +not given by the source$/m);
    // Its name until 2025, from which the hub leads to today's.
    const old = await crossrank(["verify", model, "--published", "cross-encoder/ms-marco-MiniLM-L-12-v2"]);
    expect(old.stdout).toMatch(/^goldens +https:\/\/github\.com\/huggingface\/sentence-transformers\//m);
    const other = await crossrank(["verify", model, "--published", "cross-encoder/ms-marco-MiniLM-L-13-v2"]);
    expect(other.stderr).toContain("no scores are published");
    const unknown = await crossrank(["verify", model, "--published", "nobody/nothing"]);
    expect(unknown.stderr).toMatch(
      /^crossrank: no scores are published for --published nobody\/nothing\. Known: Alibaba/,
    );
  });

  it("have a source each, a tolerance no tighter than the source's, and a number a pair", async () => {
    const path = new URL("../src/published-goldens.json", import.meta.url);
    const sources = JSON.parse(await readFile(path, "utf8")) as {
      readonly url: string;
      readonly note: string;
      readonly sourceTolerance: number | null;
      readonly pairs: readonly (readonly string[])[];
      readonly models: Record<string, { readonly tolerance: number; readonly expected: readonly number[] }>;
    }[];
    expect(sources.flatMap(({ models }) => Object.keys(models)).length).toBeGreaterThan(50);
    for (const { url, note, sourceTolerance, pairs, models } of sources) {
      expect(url).toMatch(/^https:\/\//);
      expect(note).not.toBe("");
      for (const [id, { tolerance, expected }] of Object.entries(models)) {
        expect(id).toMatch(/^[\w.-]+\/[\w.-]+$/);
        expect(tolerance).toBeGreaterThanOrEqual(sourceTolerance ?? Number.MIN_VALUE);
        expect(expected).toHaveLength(pairs.length);
        // A tolerance as wide as the scores' range would let everything pass.
        if (Math.max(...expected) > 0.1)
          expect(Math.max(...expected) - Math.min(...expected), id).toBeGreaterThan(0);
      }
    }
  });
});

import { createHash } from "node:crypto";
import { cp, mkdir, mkdtemp, readFile, rm, symlink, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { afterAll, beforeAll, beforeEach, describe, expect, test, vi } from "vitest";
import { startWritableHub, type WritableHub } from "../../hub/test/writable-hub.js";
import { openReranker, planPublication, publishModel, writeCard } from "../src/index.js";
import { writeTask } from "./evaluation-scene.js";
import { conformanceFixture, crossrank, crossrankInTurn, temporaryFolder } from "./run-command.js";

const published = [
  "README.md",
  "config.json",
  "golden.json",
  "model_int8.onnx",
  "provenance.json",
  "special_tokens_map.json",
  "tokenizer.json",
  "tokenizer_config.json",
];

const temporary = temporaryFolder();
let task: string;
let scratch: string;
let ready: string;
let folder: string;
let hub: WritableHub;
let count = 0;

/** A folder with everything that is asked for: measured once, copied for each test. */
beforeAll(async () => {
  scratch = await mkdtemp(join(tmpdir(), "crossrank-publish-"));
  task = await writeTask(temporary, "task", { queries: 4, candidates: 5, words: 9 });
  ready = join(scratch, "ready");
  await cp(conformanceFixture("bert-logit"), ready, { recursive: true });
  const converted = await crossrankInTurn(["convert", "--model", ready, "--to", "onnx", "--dtype", "int8"]);
  expect(converted.code, converted.stderr).toBe(0);
  await rm(join(ready, "model.safetensors"));
  await mkdir(join(ready, "evidence"));
  const verified = await crossrankInTurn(["verify", ready, "--backend", "onnx:int8", "--format", "json"]);
  await writeFile(join(ready, "evidence/verify.json"), verified.stdout);
  const evaluated = await crossrankInTurn([
    "eval",
    "--task",
    task,
    "--model",
    ready,
    "--backend",
    "onnx:fp32",
    "--backend",
    "onnx:int8",
    "--gate",
    "0.2",
    "--report",
    join(ready, "evidence/eval"),
  ]);
  expect(evaluated.code, evaluated.stderr).toBe(0);
  await writeFile(
    join(ready, "MODEL_CARD.md"),
    "---\nlicense: mit\n---\n\n# Ours\n\nA word of the author.\n",
  );
  await writeCard(ready);
}, 240_000);

beforeEach(async () => {
  count += 1;
  folder = join(scratch, String(count));
  await cp(ready, folder, { recursive: true });
});

afterAll(() => rm(scratch, { recursive: true, force: true }));

const plan = (more: object = {}): ReturnType<typeof planPublication> =>
  planPublication(folder, { repository: "acme/reranker-mobile", variant: "int8", tag: "v0.1", ...more });

const publish = (more: object = {}): ReturnType<typeof publishModel> =>
  publishModel(folder, {
    repository: hub.id,
    variant: "int8",
    tag: "v0.1",
    confirm: true,
    endpoint: hub.endpoint,
    token: hub.token,
    retry: { delay: 1 },
    ...more,
  });

const reasonOf = async (task: Promise<unknown>): Promise<string> =>
  task.then(
    () => "published",
    (error: Error & { code?: string }) => `${error.code}: ${error.message}`,
  );

describe("a plan", () => {
  test("is one variant's files, flat at the root, without the network", async () => {
    const found = await plan();
    expect(found).toMatchObject({ tag: "v0.1-int8", artifact: "onnx/model_int8.onnx" });
    expect(found.files.map(({ path }) => path)).toEqual(published);
    for (const { path, size, sha256 } of found.files) {
      // It is made anew, of this artifact alone.
      if (path === "provenance.json") continue;
      const local = { "README.md": "MODEL_CARD.md", "model_int8.onnx": "onnx/model_int8.onnx" }[path] ?? path;
      const bytes = await readFile(join(folder, local));
      expect([size, sha256]).toEqual([bytes.length, createHash("sha256").update(bytes).digest("hex")]);
    }
  });

  test("holds nothing that is not known to belong to a model", async () => {
    for (const name of [".env", "notes.txt", "id_rsa", "train.py", "model.safetensors.bak", ".git/config"]) {
      await mkdir(join(folder, ".git"), { recursive: true });
      await writeFile(join(folder, name), "secret");
    }
    expect((await plan()).files.map(({ path }) => path)).toEqual(published);
  });

  test("takes a tokenizer to the root that lies in its own folder", async () => {
    await mkdir(join(folder, "tokenizer"));
    await writeFile(join(folder, "tokenizer/added_tokens.json"), "{}");
    expect(await reasonOf(plan())).toContain("added_tokens.json was not there when it was verified");
  });
});

describe("what is refused", () => {
  const change = (name: string, edit: (text: string) => string) => async (): Promise<void> => {
    const path = join(folder, name);
    await writeFile(path, edit(await readFile(path, "utf8")));
  };
  const without = (name: string) => (): Promise<void> => rm(join(folder, name), { recursive: true });
  const report = (edit: (report: never) => void): (() => Promise<void>) =>
    change("evidence/eval/report.json", (text) => {
      const value = JSON.parse(text) as never;
      edit(value);
      return JSON.stringify(value);
    });

  test.each<[string, () => Promise<void>, RegExp]>([
    ["no verification", without("evidence/verify.json"), /no verification/],
    ["no evaluation", without("evidence/eval"), /no evaluation/],
    ["no card", without("MODEL_CARD.md"), /no card/],
    [
      "a card of another's hand where the tool writes",
      change("MODEL_CARD.md", (text) => text.replace("passed", "excellent")),
      /is not of these files/,
    ],
    [
      "a card without a licence",
      change("MODEL_CARD.md", (text) => text.replace("license: mit\n", "")),
      /names no licence|not of these files/,
    ],
    ...['""', "''", "null", "~", "[]", '[""]', "# later", "TODO"].map(
      (text): [string, () => Promise<void>, RegExp] => [
        `a licence that is ${text}`,
        change("MODEL_CARD.md", (card) => card.replace("license: mit", `license: ${text}`)),
        /names no licence/,
      ],
    ),
    [
      "a card with a damaged mark",
      change("MODEL_CARD.md", (text) => text.replace("<!-- crossrank bench: end -->", "")),
      /card: .*line \d+/,
    ],
    [
      "another artifact than was measured",
      async () => {
        await writeFile(
          join(folder, "onnx/model_int8.onnx"),
          Buffer.concat([await readFile(join(folder, "onnx/model_int8.onnx")), Buffer.from([0x0a, 0])]),
        );
      },
      /of other files|no file of/,
    ],
    ["another tokenizer", change("tokenizer.json", (text) => `${text}\n`), /tokenizer\.json was sha256/],
    ["another configuration", change("config.json", (text) => `${text}\n`), /config\.json was sha256/],
    ["other goldens", change("golden.json", (text) => `${text}\n`), /golden\.json was sha256/],
    [
      "a verification that failed",
      change("evidence/verify.json", (text) => text.replaceAll('"passed": true', '"passed": false')),
      /did not pass/,
    ],
    [
      "a verification without hashes",
      change("evidence/verify.json", (text) => text.replace('"files"', '"other"')),
      /no hash of configuration/,
    ],
    [
      "a report that is none",
      change("evidence/verify.json", () => '{"passed":true}'),
      /no report of this kind/,
    ],
    ["a report that is no JSON", change("evidence/verify.json", () => "PASS"), /not JSON/],
    [
      "an evaluation that failed",
      report((value: { systems: { passed: boolean }[] }) => {
        for (const one of value.systems) one.passed = false;
      }),
      /did not pass/,
    ],
    [
      "an evaluation of fewer tokens",
      report((value: { settings: { maxLength: number } }) => {
        value.settings.maxLength = 16;
      }),
      /maxLength was given/,
    ],
    [
      "an evaluation with another tokenizer",
      report((value: { systems: { model: { tokenizerSha256: string } | null }[] }) => {
        for (const { model } of value.systems) if (model !== null) model.tokenizerSha256 = "0".repeat(64);
      }),
      /tokenizer\.json was sha256/,
    ],
    [
      "a link out of the folder",
      async () => {
        await rm(join(folder, "config.json"));
        await symlink(conformanceFixture("bert-logit/config.json"), join(folder, "config.json"));
      },
      /link to a file outside|outside of the model's folder/,
    ],
  ])("%s", async (_, prepare, expected) => {
    await prepare();
    const reason = await reasonOf(plan());
    expect(reason).toMatch(expected);
    expect(reason).toMatch(/^(?:publish-refused|card|unsafe-path): /);
  });

  test.each([
    { confirm: false },
    { confirm: undefined },
    { confirm: "yes" },
    { variant: "../x" },
    { tag: "" },
    { repository: "../x" },
    { file: "nothing" },
    { dtype: "int4" },
    { unknown: 1 },
  ])("%j", async (more) => {
    await using own = await startWritableHub();
    hub = own;
    expect(await reasonOf(publish(more))).toMatch(/^(?:publish-refused|invalid-input|card): /);
    expect(hub.log).toEqual([]);
  });
});

describe("a publication", () => {
  test("is read back by openReranker with the same scores", async () => {
    await using own = await startWritableHub();
    hub = own;
    const found = await publish();
    expect(found.files.map(({ path }) => path)).toEqual(published);
    const before = process.env["HF_ENDPOINT"];
    process.env["HF_ENDPOINT"] = hub.endpoint;
    process.env["HF_TOKEN"] = hub.token;
    try {
      const cacheFolder = join(scratch, "cache");
      await using theirs = await openReranker(hub.id, { revision: "v0.1-int8", cacheFolder, offline: false });
      await using ours = await openReranker(folder, { file: "onnx/model_int8.onnx" });
      const pair = { query: "what is the capital of france?", documents: ["paris is the capital", "bread"] };
      const scores = async (reranker: typeof ours): Promise<unknown> =>
        (await reranker.rerank(pair)).results.map(({ index, logit }) => [index, logit]);
      expect(await scores(theirs)).toEqual(await scores(ours));
    } finally {
      if (before === undefined) delete process.env["HF_ENDPOINT"];
      else process.env["HF_ENDPOINT"] = before;
      delete process.env["HF_TOKEN"];
    }
  });

  test("leaves what was made by hand, and nothing of another variant", async () => {
    await using own = await startWritableHub();
    hub = own;
    const stay = [
      "LICENSE",
      "docs/guide.md",
      "assets/a.PNG",
      "examples/predict.py",
      "notes.txt",
      ".gitignore",
    ];
    const go = [
      "model.mlpackage/Data/readme.md",
      "model_fp16.onnx",
      "crossrank.json",
      "vocab.txt",
      "tokenizer/merges.txt",
      "1_Pooling/config.json",
      "weights.bin",
      "openvino/model.xml",
    ];
    for (const path of [...stay, ...go]) hub.commitOther(path, path);
    const found = await publish();
    expect([found.kept, found.removed]).toEqual([stay.sort(), go.sort()]);
  });

  test("of the seed's package by its variant's name is read back from the root", async () => {
    const ane = join(scratch, "ane");
    const evidence = join(ane, "evidence");
    await cp(conformanceFixture("xlm-roberta-logit"), ane, { recursive: true });
    await rm(join(ane, "model.safetensors"), { force: true });
    const seed = "../../backend-coreml/test/fixtures/xlm-roberta-logit_seed-port.mlpackage";
    await cp(fileURLToPath(new URL(seed, import.meta.url)), join(ane, "model.mlpackage"), {
      recursive: true,
    });
    // What a Mac's file manager leaves is none of the model's files.
    for (const path of [".DS_Store", "Data/.DS_Store", "Data/._weights", "Thumbs.db"]) {
      await writeFile(join(ane, "model.mlpackage", path), "left");
    }
    await mkdir(evidence);
    const judge = "coreml:reference";
    const verified = await crossrankInTurn(["verify", ane, "--backend", judge, "--format", "json"]);
    await writeFile(join(evidence, "verify.json"), verified.stdout);
    const evaluated = await crossrankInTurn(
      ["eval", "--task", task, "--model", ane, "--backend", "onnx:fp32", "--backend", judge].concat([
        "--gate",
        "0.2",
        "--report",
        join(evidence, "eval"),
      ]),
    );
    expect(evaluated.code, evaluated.stderr).toBe(0);
    await writeFile(join(ane, "MODEL_CARD.md"), "---\nlicense: mit\n---\n");
    await writeCard(ane);
    await using own = await startWritableHub();
    hub = own;
    const environment = { HF_ENDPOINT: hub.endpoint, HF_TOKEN: hub.token, HF_HUB_OFFLINE: "0" };
    const done = await crossrankInTurn(
      ["publish", ane, "--repo", hub.id, "--variant", "ane", "--tag", "v0.1", "--confirm"],
      { environment },
    );
    expect(done.code, done.stderr).toBe(0);
    const tree = hub.commits.get(hub.tags.get("v0.1-ane") ?? "");
    const paths = [...(tree?.keys() ?? [])];
    expect(paths).toEqual(expect.arrayContaining(["model.mlpackage/Manifest.json", "tokenizer.json"]));
    expect(paths.filter((path) => path.endsWith(".onnx"))).toEqual([]);
    expect(paths.filter((path) => /DS_Store|\._|Thumbs/.test(path))).toEqual([]);
    // What nobody measured is not sent, whatever its ending.
    for (const path of ["credentials.json", "Data/notes.txt", "Data/com.apple.CoreML/more.json"]) {
      await writeFile(join(ane, "model.mlpackage", path), "secret");
      await expect(
        planPublication(ane, { repository: hub.id, variant: "ane", tag: "v0.2" }),
        path,
      ).rejects.toThrow(`model.mlpackage/${path} was not part of what was measured`);
      await rm(join(ane, "model.mlpackage", path));
    }
    const source = { revision: "v0.1-ane", cacheFolder: join(scratch, "ane-cache"), offline: false };
    vi.stubEnv("HF_ENDPOINT", hub.endpoint);
    vi.stubEnv("HF_TOKEN", hub.token);
    try {
      await using theirs = await openReranker(hub.id, { ...source, backend: judge });
      await using ours = await openReranker(ane, { backend: judge });
      const pair = { query: "what is the capital of france?", documents: ["paris is the capital", "bread"] };
      expect((await theirs.rerank(pair)).results).toEqual((await ours.rerank(pair)).results);
    } finally {
      vi.unstubAllEnvs();
    }
  }, 240_000);

  test("that is killed anywhere is whole after the next run, and not half before", async () => {
    for (const [path, loseAnswer] of [
      ["/objects/", false],
      ["/commit/", false],
      ["/commit/", true],
      ["/tag/", false],
    ] as const) {
      await using own = await startWritableHub();
      hub = own;
      let child: { kill(signal: "SIGKILL"): boolean } | undefined;
      hub.faults.push({
        path,
        times: 1,
        loseAnswer,
        before: () => {
          if (!loseAnswer) child?.kill("SIGKILL");
        },
      });
      if (loseAnswer)
        hub.faults.push({ path: "/refs", after: 1, times: 1, before: () => child?.kill("SIGKILL") });
      const outcome = await crossrank(
        ["publish", folder, "--repo", hub.id, "--variant", "int8", "--tag", "v0.1", "--confirm"],
        {
          environment: { HF_ENDPOINT: hub.endpoint, HF_TOKEN: hub.token, HF_HUB_OFFLINE: "0" },
          onStart: (started) => {
            child = started;
          },
        },
      );
      expect(outcome.code).toBeNull();
      const tagged = hub.tags.get("v0.1-int8");
      // A request that came whole may be done although its sender is gone; then the tag is of the whole commit.
      if (tagged !== undefined)
        expect(
          [...(hub.commits.get(tagged)?.keys() ?? [])].filter((name) => name !== ".gitattributes").sort(),
        ).toEqual(published);
      const again = await reasonOf(publish());
      expect(again).toMatch(/^published$|^hub-tag-exists: .*with exactly these files/);
      const tree = hub.commits.get(hub.tags.get("v0.1-int8") ?? "");
      expect([...(tree?.keys() ?? [])].filter((name) => name !== ".gitattributes").sort()).toEqual(published);
      expect(outcome.stdout + outcome.stderr).not.toContain(hub.token);
    }
  }, 240_000);

  test("by the command says what it would do, and what it did, and no token", async () => {
    await using own = await startWritableHub();
    hub = own;
    const environment = { HF_ENDPOINT: hub.endpoint, HF_TOKEN: hub.token, HF_HUB_OFFLINE: "0" };
    const args = ["publish", folder, "--repo", hub.id, "--variant", "int8", "--tag", "v0.1"];
    expect(await crossrankInTurn(args, { environment })).toMatchObject({
      code: 2,
      stderr: expect.stringContaining("--confirm"),
    });
    const dry = await crossrankInTurn([...args, "--dry-run"], { environment });
    expect(dry).toMatchObject({ code: 0, stdout: expect.stringContaining("Nothing was sent") });
    expect(hub.log).toEqual([]);
    const offline = { ...environment, HF_HUB_OFFLINE: "1" };
    expect(await crossrankInTurn([...args, "--confirm"], { environment: offline })).toMatchObject({
      code: 1,
      stderr: expect.stringContaining("HF_HUB_OFFLINE"),
    });
    expect(hub.log).toEqual([]);
    const done = await crossrankInTurn([...args, "--confirm", "--format", "json"], { environment });
    expect(done.code, done.stderr).toBe(0);
    expect(JSON.parse(done.stdout)).toMatchObject({ tag: "v0.1-int8", committed: true });
    const twice = await crossrankInTurn([...args, "--confirm"], { environment });
    expect(twice).toMatchObject({ code: 1, stderr: expect.stringContaining("with exactly these files") });
    const wrong = await crossrankInTurn([...args, "--confirm"], {
      environment: { ...environment, HF_TOKEN: "hf_wrong_token" },
    });
    expect(wrong).toMatchObject({ code: 1, stderr: expect.stringContaining("refuses") });
    expect(JSON.stringify([dry, done, twice, wrong])).not.toMatch(/hf_wrong_token|hf_loopback/);
  });
});

import { cp, mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { beginMark, endMark, readMarkedParts, withMarkedPart } from "../src/card/markers.js";
import { writeCard } from "../src/index.js";
import { conformanceFixture } from "./run-command.js";

let scratch: string;
let count = 0;

beforeAll(async () => {
  scratch = await mkdtemp(join(tmpdir(), "crossrank-card-"));
});
afterAll(() => rm(scratch, { recursive: true, force: true }));

/** A copy of a tiny model, with an artifact of another format in place of its own where one is given. */
async function modelOf(name: string, artifact?: Artifact): Promise<string> {
  count += 1;
  const folder = join(scratch, String(count));
  await cp(conformanceFixture(name), folder, { recursive: true });
  if (artifact !== undefined) {
    await rm(join(folder, "onnx"), { recursive: true, force: true });
    await rm(join(folder, "model.safetensors"), { force: true });
    await cp(fileURLToPath(new URL(`../../${artifact.from}`, import.meta.url)), join(folder, artifact.to), {
      recursive: true,
    });
  }
  return folder;
}

async function cardOf(folder: string): Promise<string> {
  const { path } = await writeCard(folder);
  return readFile(path, "utf8");
}

/** What the cards of the seeds tell their consumers, section by section. */
const seedSections = [
  // bge-reranker-base, Core ML
  /^## Usage$/m,
  /^## Identity$/m,
  /^## Variants$/m,
  /^## Architecture$/m,
  /^## Tokenizer$/m,
  /Special token \| Id/,
  /Padding: on the right/,
  /^## Template$/m,
  /^## Truncation$/m,
  /^## Input tensors$/m,
  /^## Output$/m,
  /^## Performance$/m,
  /^## Quality regression$/m,
  /^## Failure modes$/m,
  /^## Known limitations$/m,
  /^## License$/m,
  /^## How to reproduce$/m,
  // bge-small-en-v1.5, MNN: model details, conversion, quality, inputs and outputs, attribution
  /Source model: /,
  /layers \| \d/,
  /hidden size \| \d/,
  /Scores are on the scale/,
  /tokens/,
  /crossrank convert|crossrank verify/,
];

interface Artifact {
  readonly from: string;
  readonly to: string;
}

const kinds: readonly [name: string, family: string, artifact: Artifact | undefined][] = [
  ["bert-logit", "cross-encoder", undefined],
  ["xlm-roberta-logit", "cross-encoder", undefined],
  ["bert-cosine-mean", "bi-encoder", undefined],
  ["bert-late", "late-interaction", undefined],
  ["qwen3-yes-no", "causal-lm", undefined],
  ["qwen3-listwise", "listwise", undefined],
  [
    "bert-logit",
    "cross-encoder",
    { from: "formats/test/fixtures/gguf-tokenizers/bert-logit.gguf", to: "gguf/model-F16.gguf" },
  ],
  [
    "bert-logit",
    "cross-encoder",
    { from: "backend-mnn/test/fixtures/bert-logit_fp16.mnn", to: "mnn/model_fp16.mnn" },
  ],
  [
    "xlm-roberta-logit",
    "cross-encoder",
    {
      from: "backend-coreml/test/fixtures/xlm-roberta-logit_seed-port.mlpackage",
      to: "mlpackage/model.mlpackage",
    },
  ],
  [
    "bert-logit",
    "cross-encoder",
    { from: "backend-ctranslate2/test/fixtures/bert-logit_fp32", to: "ctranslate2/model.ctranslate2" },
  ],
];

describe("a card", () => {
  test.each(kinds)("of %s says all that the seeds' cards say (%s, %j)", async (name, family, artifact) => {
    const folder = await modelOf(name, artifact);
    const card = await cardOf(folder);
    for (const section of seedSections) expect(card).toMatch(section);
    expect(card).toContain(`| family | ${family} |`);
    expect(card.match(/^Not measured\./gm)?.length).toBe(3);
    expect(card).toMatch(/crossrank bench \. /);
    expect(readMarkedParts(card, "card").length).toBe(16);
    // Again, and no byte is another.
    expect(await writeCard(folder)).toMatchObject({ changed: false });
    expect(await readFile(join(folder, "MODEL_CARD.md"), "utf8")).toBe(card);
  });

  test("of weights alone is one of their own format", async () => {
    const folder = await modelOf("bert-logit");
    await rm(join(folder, "onnx"), { recursive: true });
    expect(await cardOf(folder)).toMatch(/`model\.safetensors` \| safetensors \| fp32/);
  });

  test("of the seed's package says its contract", async () => {
    const folder = await modelOf("xlm-roberta-logit", {
      from: "backend-coreml/test/fixtures/xlm-roberta-logit_seed-port.mlpackage",
      to: "mlpackage/model.mlpackage",
    });
    const card = await cardOf(folder);
    expect(card).toMatch(/`input_ids` \| int32 \| \(\d+, 1, 1, [\d/]+\)/);
    expect(card).toMatch(/`attention_mask` \| int32 \| .*1 for tokens, 0 for padding/);
    expect(card).toMatch(/`logit` \| float32 \|/);
    expect(card).toMatch(/max_doc_tokens = S - len\(query_tokens\) - 4/);
    expect(card).toMatch(/<s> \{query\} <\/s> <\/s> \{document\} <\/s>/);
    expect(card).toMatch(/has a fixed batch of \d+/);
  });

  test("keeps what its author wrote, byte for byte", async () => {
    const folder = await modelOf("bert-logit");
    const own =
      "---\r\nlicense: mit # as upstream\r\ntags:\r\n  - rerank\r\nlanguage: [en]\r\n---\r\n# Ours\r\n\r\n## Failure modes the consumer must handle\r\n\r\nA banner.\r\n\r\n## Performance\r\n\r\nMeasured on our machine.\r\n\r\n## Last words\r\n\r\n```\r\n## Usage\r\n```\r\n";
    await writeFile(join(folder, "MODEL_CARD.md"), own);
    const card = await cardOf(folder);
    for (const line of own.split("\r\n").filter((one) => one !== "")) expect(card).toContain(`${line}\r\n`);
    expect(card.replaceAll("\r\n", "")).not.toContain("\n");
    expect(card.match(/^license:/gm)?.length).toBe(1);
    expect(card.match(/^language:/gm)?.length).toBe(1);
    expect(card).toMatch(/pipeline_tag: text-ranking/);
    // A section of the author is not written a second time; a measurement comes into it.
    expect(card.match(/^## (?:Failure|Performance)/gm)?.length).toBe(2);
    expect(card).not.toContain(beginMark("failures"));
    expect(card.indexOf("Measured on our machine.")).toBeLessThan(card.indexOf(beginMark("bench")));
    expect(card.indexOf(endMark("bench"))).toBeLessThan(card.indexOf("## Last words"));
    expect(await writeCard(folder)).toMatchObject({ changed: false });
  });

  test("keeps a measurement that is not given again, and drops one of other files", async () => {
    const folder = await modelOf("bert-logit");
    const path = join(folder, "MODEL_CARD.md");
    const content = "| batch | p50 |\n|---:|---:|\n| 1 | 2.0 |";
    await writeFile(path, withMarkedPart("# Ours\n", path, { name: "bench", title: "Performance", content }));
    expect(await cardOf(folder)).toContain(content);
    await writeFile(
      path,
      withMarkedPart("# Ours\n", path, {
        name: "bench",
        title: "Performance",
        content: `${content}\n\nArtifact sha256 \`${"0".repeat(64)}\`.`,
      }),
    );
    expect(await cardOf(folder)).not.toContain(content);
  });

  test.each([
    ["without its end", `a\n${beginMark("bench")}\nb`, 2],
    ["without its beginning", `a\n\n${endMark("bench")}`, 3],
    [
      "inside of another",
      `${beginMark("bench")}\n${beginMark("quality")}\n${endMark("quality")}\n${endMark("bench")}`,
      2,
    ],
    ["inside of itself", `${beginMark("bench")}\n${beginMark("bench")}\n${endMark("bench")}`, 2],
    ["crosswise", `${beginMark("bench")}\n${endMark("quality")}\n${endMark("bench")}`, 2],
    ["twice", `${beginMark("bench")}\n${endMark("bench")}\n${beginMark("bench")}\n${endMark("bench")}`, 3],
    ["misspelt", "a\n<!-- crossrank bench begin -->", 2],
    ["without a space", "<!--crossrank bench: begin-->", 1],
    ["in capitals", "<!-- CROSSRANK bench: begin -->", 1],
    ["cut", "a\nb\n<!-- crossrank ben", 3],
    ["of a strange name", "<!-- crossrank ../x: begin -->", 1],
  ])("with a mark %s is refused with its line, and stays as it is", async (_, text, line) => {
    const folder = await modelOf("bert-logit");
    const path = join(folder, "MODEL_CARD.md");
    await writeFile(path, text);
    await expect(writeCard(folder)).rejects.toMatchObject({ code: "card", line });
    expect(await readFile(path, "utf8")).toBe(text);
  });

  test.each([
    ["front matter without an end", "---\nlicense: mit\n# Title\n"],
    ["no text", Buffer.from([0xff, 0xfe, 0x00])],
  ])("that is %s is refused", async (_, content) => {
    const folder = await modelOf("bert-logit");
    await writeFile(join(folder, "MODEL_CARD.md"), content);
    await expect(writeCard(folder)).rejects.toMatchObject({ code: "card" });
  });

  test("of no model, or with a report that is none, is refused", async () => {
    await expect(writeCard(join(scratch, "nowhere"))).rejects.toMatchObject({ code: expect.any(String) });
    const folder = await modelOf("bert-logit");
    await rm(join(folder, "onnx"), { recursive: true });
    await rm(join(folder, "model.safetensors"));
    await expect(writeCard(folder)).rejects.toMatchObject({ code: "card" });
    const other = await modelOf("bert-logit");
    await writeFile(join(other, "x.json"), "[]");
    for (const kind of ["verify", "eval", "bench"])
      for (const path of ["x.json", "gone.json"])
        await expect(writeCard(other, { [kind]: [join(other, path)] })).rejects.toMatchObject({
          code: "card",
        });
  });
});

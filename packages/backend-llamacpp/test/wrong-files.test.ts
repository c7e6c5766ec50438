import { readFile, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { llamacpp } from "@crossrank/backend-llamacpp";
import {
  CrossrankError,
  createReranker,
  IncompatibleModelError,
  ModelFileNotFoundError,
  ModelLoadError,
  readProfile,
} from "@crossrank/core";
import { GgufFormatError, parseGgufHeader } from "@crossrank/formats/gguf";
import { describe, expect, test } from "vitest";
import { judgeArtifact } from "../src/judge-artifact.js";
import { Refusal } from "../src/refusal.js";
import { arrayOf, type Contents, type Entry, editGguf, stringsOf, text, uint32 } from "./edit-gguf.js";
import {
  convertedFolder,
  folderWith,
  goldenSequences,
  load,
  makeBatch,
  openFolder,
  rejection,
} from "./fixtures.js";

// In this process: what is wrong is seen before llama.cpp is given the file, which would end this process too.
const backend = llamacpp({ isolation: "thread", contexts: 1, threads: 1 });
const isolated = llamacpp({ contexts: 1, threads: 1 });

/** The error of loading a converted model whose file is edited. */
async function errorOf(name: string, edit: (contents: Contents) => Contents): Promise<Error> {
  const folder = await folderWith(name, (bytes) => editGguf(bytes, edit));
  const error = await rejection(load(backend, folder));
  expect(error).toBeInstanceOf(ModelLoadError);
  return error;
}

const without =
  (...names: readonly string[]) =>
  ({ entries, tensors }: Contents) => ({
    entries: entries.filter(({ key }) => !names.includes(key)),
    tensors: tensors.filter(({ name }) => !names.includes(name)),
  });

describe("a BERT reranker", () => {
  test("as the usual converter writes it: no pooler, no segments", async () => {
    const error = await errorOf("bert-logit", (file) => ({
      ...without("cls.weight", "cls.bias")(file),
      entries: file.entries.filter(({ key }) => !key.startsWith("crossrank.")),
    }));
    expect(error.message).toMatch(/lacks cls.weight \(the model's pooler.*crossrank convert --to gguf/);
  });

  test("with pooler, without segments", async () => {
    const error = await errorOf(
      "bert-logit",
      without("crossrank.segment_vocabulary", "crossrank.tokenizer_sha256"),
    );
    expect(error.message).toMatch(/reads segments, and llama.cpp knows none.*crossrank convert --to gguf/);
  });

  test("whose classifier was left out", async () => {
    const error = await errorOf("bert-logit", without("cls.output.weight", "cls.output.bias"));
    expect(error.message).toMatch(/lacks cls.output.weight \(its classifier\)/);
  });

  test("with pooling of an embedding model", async () => {
    const error = await errorOf("bert-logit", setNumber("bert.pooling_type", 1));
    expect(error.message).toMatch(/pooling type is mean/);
  });

  test("with the same token twice, on which llama.cpp aborts", async () => {
    const error = await errorOf("bert-logit", duplicateToken);
    expect(error.message).toMatch(/token twice/);
  });

  test("of other sizes than config.json", async () => {
    const error = await errorOf("bert-logit", setNumber("bert.attention.head_count", 2));
    expect(error.message).toMatch(/"bert.attention.head_count" of its metadata is 2, and config.json has 4/);
  });

  test("of another vocabulary", async () => {
    const folder = await folderWith("bert-logit", (bytes) =>
      editGguf(bytes, without("crossrank.tokenizer_sha256")),
    );
    const path = join(folder, "tokenizer.json");
    const tokenizer = JSON.parse(await readFile(path, "utf8"));
    const shifted = Object.entries<number>(tokenizer.model.vocab).map(([token, id]) => [
      token,
      id > 600 && id < 1300 ? 1900 - id : id,
    ]);
    tokenizer.model.vocab = Object.fromEntries(shifted);
    await writeFile(path, JSON.stringify(tokenizer));
    expect((await rejection(load(backend, folder))).message).toMatch(
      /tokens are not those of tokenizer.json/,
    );
  });

  test("of a vocabulary spelled as llama.cpp's converter spells it loads", async () => {
    const folder = await folderWith("bert-cosine-mean", (bytes) =>
      editGguf(bytes, without("crossrank.tokenizer_sha256")),
    );
    const session = await load(backend, folder);
    await session.dispose();
    expect(session.capabilities.output).toBe("pooled");
  });
});

test("an architecture that is not known, and one that is not the model's", async () => {
  const rename = (architecture: string) => (file: Contents) => ({
    ...file,
    entries: file.entries.map((entry) =>
      entry.key === "general.architecture" ? { ...entry, value: text(architecture) } : entry,
    ),
  });
  expect((await errorOf("bert-logit", rename("mamba"))).message).toMatch(/architecture is "mamba"/);
  expect((await errorOf("bert-logit", rename("qwen3"))).message).toMatch(/model beside it is "bert"/);
});

test("ModernBERT whose classifier reads the first token", async () => {
  const folder = await folderWith("modernbert-mean", (bytes) => bytes);
  const path = join(folder, "config.json");
  const config = JSON.parse(await readFile(path, "utf8"));
  await writeFile(path, JSON.stringify({ ...config, classifier_pooling: "cls" }));
  expect((await rejection(load(backend, folder))).message).toMatch(/takes the mean.*ONNX/);
});

test("a bi-encoder pooled otherwise than its profile", async () => {
  const error = await errorOf("bert-cosine-mean", setNumber("bert.pooling_type", 2));
  expect(error.message).toMatch(/pooling type is cls, and the model pools by mean/);
});

test("a Qwen3 reranker without its rank head is scored by its answer tokens all the same", async () => {
  const folder = await folderWith("qwen3-yes-no", (bytes) =>
    editGguf(bytes, without("cls.output.weight", "qwen3.pooling_type", "qwen3.classifier.output_labels")),
  );
  const session = await load(backend, folder);
  const [golden] = await goldenSequences(folder);
  if (golden === undefined) throw new Error("no golden");
  const { data } = await session.run(makeBatch([golden]));
  await session.dispose();
  expect((data[0] ?? 0) - (data[1] ?? 0)).toBeCloseTo(golden.logit, 4);
});

test("outputs that it does not have", async () => {
  const folder = await folderWith("bert-logit", (bytes) => bytes);
  for (const kind of ["hidden-states", "marked-states", "pooled"] as const) {
    const error = await rejection(load(backend, folder, { output: { kinds: [kind], tokens: [1] } }));
    expect(error).toBeInstanceOf(IncompatibleModelError);
  }
});

describe("precisions", () => {
  test("one that is not there, and one that the file only pretends to have", async () => {
    const folder = await folderWith("bert-logit", (bytes) => bytes);
    const missing = await rejection(load(backend, folder, { dtype: "q8_0" }));
    expect(missing).toBeInstanceOf(ModelFileNotFoundError);
    expect(missing.message).toMatch(/no gguf\/model-Q8_0.gguf.*Ask for dtype F32/);
    const renamed = await folderWith("bert-logit", (bytes) => bytes, "model.Q8_0.gguf");
    const pretended = await rejection(load(backend, renamed, { dtype: "q8_0" }));
    expect(pretended.message).toMatch(/model.Q8_0.gguf \(F32\)/);
  });

  test("a file whose name says none", async () => {
    const folder = await folderWith("bert-logit", (bytes) => bytes, "ranker.gguf");
    const session = await load(backend, folder, { dtype: "f32" });
    await session.dispose();
    expect(session.artifact).toMatchObject({ dtype: "F32", files: [{ path: "ranker.gguf" }] });
  });

  test.each([
    ["the name of another format's precision", "int8", "F32"],
    ["a precision that is not there", "F16", "F32"],
    ["written in another case", "q8_0", "Q8_0"],
  ])("a default that is %s", async (_, defaultDtype, expected) => {
    const folder = await convertedFolder("bert-logit", ["Q8_0", "F32"]);
    const { profile } = await readProfile(openFolder(folder));
    const session = await load(backend, folder, { profile: { ...profile, defaultDtype } });
    await session.dispose();
    expect(session.artifact.dtype).toBe(expected);
  });

  test("a name that is no precision, a file that is not there, none at all", async () => {
    const folder = await folderWith("bert-logit", (bytes) => bytes);
    expect((await rejection(load(backend, folder, { dtype: "int8" }))).message).toMatch(
      /F32, BF16, F16, Q8_0/,
    );
    const named = load(llamacpp({ file: "gguf/other.gguf" }), folder);
    expect((await rejection(named)).message).toMatch(/no gguf\/other.gguf/);
    await rm(join(folder, "gguf"), { recursive: true });
    expect((await rejection(load(backend, folder))).message).toMatch(/crossrank convert --to gguf/);
  });
});

test("a file that aborts llama.cpp: an error with its last words, and this process lives", async () => {
  // More experts used than there are: an assertion of llama.cpp while it loads. No metadata of ours say experts.
  const folder = await folderWith("bert-logit", (bytes) =>
    editGguf(bytes, ({ entries, tensors }) => ({
      entries: [...entries, { key: "bert.expert_used_count", type: 4, value: uint32(3) }],
      tensors,
    })),
  );
  const error = await rejection(load(isolated, folder));
  expect(error).toBeInstanceOf(ModelLoadError);
  expect(error.message).toMatch(/process was ended by SIGABRT; its last words: .*GGML_ASSERT.*expert/);
  const sound = await load(isolated, await folderWith("bert-logit", (bytes) => bytes));
  await sound.dispose();
});

const isLong = process.env["CROSSRANK_LONG"] !== undefined;
/** Of a head: 4,000 with CROSSRANK_LONG, and more of those that llama.cpp is given. */
const changes = isLong ? 4000 : 200;

test(`${changes} random changes of a head end in typed errors or are read as sound`, async () => {
  const folder = await folderWith("bert-logit", (bytes) => bytes);
  const sound = await readFile(join(folder, "gguf/model-F32.gguf"));
  const { dataOffset } = parseGgufHeader(sound, sound.length);
  const files = openFolder(folder);
  const { profile } = await readProfile(files);
  const facts = {
    profile,
    output: { kinds: ["class-logits" as const] },
    config: JSON.parse(await files.readText("config.json")),
    tokenizerJson: await files.readText("tokenizer.json"),
  };
  const random = randomNumbers(11);
  let refused = 0;
  const passed: Buffer[] = [];
  const started = performance.now();
  for (let round = 0; round < changes; round += 1) {
    const copy = mutate(sound, dataOffset, random);
    try {
      judgeArtifact(parseGgufHeader(copy, copy.length), facts);
      passed.push(copy);
    } catch (error) {
      expect(error instanceof GgufFormatError || error instanceof Refusal, String(error)).toBe(true);
      refused += 1;
    }
  }
  expect(performance.now() - started).toBeLessThan(100_000);
  expect(refused).toBeGreaterThan(changes / 20);
  expect(passed.length).toBeGreaterThan(changes / 20);

  // Those whose metadata pass: llama.cpp loads them, or refuses them, or aborts, and this process lives.
  for (const copy of passed.slice(0, isLong ? 12 : 1)) {
    await writeFile(join(folder, "gguf/model-F32.gguf"), copy);
    const outcome = await createReranker({ model: files, backend: isolated }).then(
      (reranker) => reranker.dispose(),
      (error: unknown) => error,
    );
    expect(outcome === undefined || CrossrankError.isInstance(outcome), String(outcome)).toBe(true);
  }
});

/** The same pseudo-random numbers in every run (mulberry32). */
function randomNumbers(seed: number): () => number {
  let state = seed;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 4294967296;
  };
}

/** One to four bytes changed, some removed or put in, or the end cut off. Half of the changes near the beginning. */
function mutate(sound: Buffer, headLength: number, random: () => number): Buffer {
  const place = (): number =>
    Math.floor(random() * (random() < 0.5 ? Math.min(2000, headLength) : headLength));
  const kind = random();
  if (kind < 0.05) return sound.subarray(0, place());
  if (kind < 0.1) {
    const at = place();
    return Buffer.concat([sound.subarray(0, at), sound.subarray(at + 1 + Math.floor(8 * random()))]);
  }
  if (kind < 0.15) {
    const at = place();
    return Buffer.concat([sound.subarray(0, at), Buffer.alloc(8, 256 * random()), sound.subarray(at)]);
  }
  const copy = Buffer.from(sound);
  for (let changes = 1 + Math.floor(4 * random()); changes > 0; changes -= 1) {
    copy[place()] = random() < 0.3 ? 255 : 256 * random();
  }
  return copy;
}

function setNumber(key: string, value: number) {
  return ({ entries, tensors }: Contents): Contents => {
    expect(entries.some((entry) => entry.key === key)).toBe(true);
    const changed = entries.map(
      (entry): Entry => (entry.key === key ? { key, type: 4, value: uint32(value) } : entry),
    );
    return { entries: changed, tensors };
  };
}

function duplicateToken({ entries, tensors }: Contents): Contents {
  const changed = entries.map((entry): Entry => {
    if (entry.key !== "tokenizer.ggml.tokens") return entry;
    const tokens = stringsOf(entry.value);
    return { ...entry, value: arrayOf(tokens.with(900, tokens[901] ?? "")) };
  });
  return { entries: changed, tensors };
}

import { readFile, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { ctranslate2 } from "@crossrank/backend-ctranslate2";
import {
  BackendRunError,
  type Batch,
  IncompatibleModelError,
  InvalidInputError,
  ModelFileNotFoundError,
  ModelLoadError,
} from "@crossrank/core";
import { CTranslate2FormatError } from "@crossrank/formats/ctranslate2";
import { describe, expect, onTestFinished, test } from "vitest";
import { sampleOf } from "../../../test/sample.js";
import { randomOf } from "../../backend-kit/test/mutations.js";
import { backends } from "../src/descriptor.js";
import { readEncoder } from "../src/encoder.js";
import { requireFinite } from "../src/finite.js";
import {
  batchOf,
  conformanceFixtures,
  describeNative,
  fixtureFolder,
  load,
  modelBytes,
  modelPath,
  rejection,
  vocabularyOf,
} from "./fixtures.js";
import { changed, type ModelBin, putTogether, takeApart, variable } from "./model-bin.js";

const here = ctranslate2({ sessions: 1, threads: 1, isolation: "thread" });
const layer = "encoder/layer_1";

/** What a changed file is refused with. None of these reaches native code. */
const damages: readonly (readonly [string, (model: ModelBin) => void, RegExp])[] = [
  [
    "another version",
    (model) => {
      model.version = 5;
    },
    /version 5 of the format, and 6 is read/,
  ],
  [
    "no model.bin",
    (model) => {
      model.version = 0x46554747;
    },
    /no model\.bin of CTranslate2/,
  ],
  [
    "another spec",
    (model) => {
      model.spec = "TransformerDecoderSpec";
    },
    /encoders .* are run/,
  ],
  [
    "a later revision",
    (model) => {
      model.revision = 2;
    },
    /TransformerEncoderSpec 2/,
  ],
  [
    "bytes behind it",
    (model) => {
      model.tail = Buffer.alloc(3);
    },
    /goes on behind its last variable/,
  ],
  [
    "a variable twice",
    (model) => void model.variables.push({ ...at(model, 0) }),
    /two variables encoder\/activation/,
  ],
  [
    "a variable that is unknown",
    (model) =>
      void model.variables.push({ ...at(model, 0), name: "encoder/layer_0/self_attention/rotary_dim" }),
    /rotary_dim, which is not known here/,
  ],
  [
    "no last layer's norm",
    (model) => {
      model.variables = model.variables.filter(({ name }) => name !== `${layer}/ffn/layer_norm/beta`);
    },
    /no variable encoder\/layer_1\/ffn\/layer_norm\/beta/,
  ],
  [
    "a gap in its layers",
    (model) => {
      model.variables = model.variables.map((one) => ({
        ...one,
        name: one.name.replace("layer_1/", "layer_2/"),
      }));
    },
    /layer_2.*which is not known here/,
  ],
  [
    "another number of heads",
    (model) => void variable(model, "encoder/num_heads").data.writeInt16LE(3),
    /3 heads for 32/,
  ],
  ["no heads", (model) => void variable(model, "encoder/num_heads").data.writeInt16LE(0), /0 heads/],
  ["negative heads", (model) => void variable(model, "encoder/num_heads").data.writeInt16LE(-4), /-4 heads/],
  ["norms in front", (model) => void variable(model, "encoder/pre_norm").data.writeInt8(1), /pre_norm is 1/],
  [
    "scaled embeddings",
    (model) => void variable(model, "encoder/scale_embeddings").data.writeInt8(1),
    /is 1, and 0/,
  ],
  [
    "shared keys",
    (model) => void variable(model, "encoder/multi_query_attention").data.writeInt8(1),
    /is 1, and 0/,
  ],
  [
    "no activation",
    (model) => void variable(model, "encoder/activation").data.writeInt8(99),
    /is 99, which is none/,
  ],
  [
    "a negative one",
    (model) => void variable(model, "pooler_activation").data.writeInt8(-1),
    /is -1, which is none/,
  ],
  [
    "joined tables",
    (model) => void variable(model, "encoder/embeddings_merge").data.writeInt8(0),
    /are not added/,
  ],
  [
    "a matrix turned",
    (model) => void variable(model, `${layer}/ffn/linear_0/weight`).shape.reverse(),
    /linear_0\/weight has shape 32 × 64, and any × 32 belongs there|linear_1\/weight/,
  ],
  [
    "a shape beyond its bytes",
    (model) => {
      variable(model, "encoder/embeddings_0/weight").shape[0] = 2 ** 32 - 1;
    },
    /does not fill its shape/,
  ],
  [
    "a shape whose product overflows",
    (model) => {
      const table = variable(model, "encoder/embeddings_0/weight");
      table.shape = [2 ** 32 - 1, 2 ** 32 - 1, 2 ** 32 - 1, 2 ** 32 - 1];
    },
    /does not fill its shape/,
  ],
  [
    "a length of 4 GiB",
    (model) => {
      at(model, 1).bytes = 2 ** 32 - 1;
    },
    /does not fill its shape/,
  ],
  [
    "an empty dimension",
    (model) => {
      variable(model, `${layer}/ffn/linear_0/bias`).shape = [0];
    },
    /does not fill/,
  ],
  [
    "300 dimensions",
    (model) => {
      at(model, 1).shape = new Array<number>(200).fill(1);
    },
    /200 dimensions/,
  ],
  [
    "an unknown type",
    (model) => {
      at(model, 1).type = 9;
    },
    /unknown type, 9/,
  ],
  ["integers without scales", (model) => toIntegers(model, false), /no variable .*_scale/],
  [
    "weights of two types",
    (model) => {
      const one = variable(model, `${layer}/ffn/linear_0/weight`);
      Object.assign(one, { type: 1, bytes: one.bytes / 4, data: one.data.subarray(0, one.bytes / 4) });
    },
    /partly float32, partly int8/,
  ],
  ["a table of bfloat16", (model) => halve(model, 5), /are of type bfloat16/],
  ["an alias of nothing", (model) => void model.aliases.push({ alias: "a", name: "b" }), /a stands for b/],
  [
    "an alias that hides a variable",
    (model) => void model.aliases.push({ alias: at(model, 0).name, name: at(model, 1).name }),
    /two variables/,
  ],
  [
    "a name with a line break",
    (model) => {
      at(model, 0).name = "a\nb";
    },
    /name that is no text/,
  ],
  [
    "an endless name",
    (model) => {
      at(model, 0).name = "x".repeat(60_000);
    },
    /a name of 60001 bytes/,
  ],
];

function at(model: ModelBin, index: number): ModelBin["variables"][number] {
  const found = model.variables[index];
  if (found === undefined) throw new Error(`no variable ${index}`);
  return found;
}

function toIntegers(model: ModelBin, hasScales: boolean, scale = 1): void {
  for (const one of model.variables.filter(({ name }) => name.endsWith("/weight"))) {
    Object.assign(one, { type: 1, bytes: one.bytes / 4, data: one.data.subarray(0, one.bytes / 4) });
    if (!hasScales) continue;
    const rows = one.shape[0] ?? 0;
    const data = Buffer.from(new Float32Array(rows).fill(scale).buffer);
    model.variables.push({ name: `${one.name}_scale`, shape: [rows], type: 0, bytes: data.length, data });
  }
}

function halve(model: ModelBin, type: number): void {
  for (const one of model.variables.filter(({ shape }) => shape.length > 0)) {
    Object.assign(one, { type, bytes: one.bytes / 2, data: one.data.subarray(0, one.bytes / 2) });
  }
}

/** Of each precision every variable of floats, with what it is changed to and where. */
function infiniteNumbers(): readonly {
  readonly fixture: string;
  readonly name: string;
  readonly value: number;
  readonly where: number;
}[] {
  return ["bert-logit_fp32", "bert-logit_fp16", "bert-logit_int8"].flatMap((fixture) =>
    takeApart(modelBytes(fixture))
      .variables.filter(({ shape, type }) => shape.length > 0 && (type === 0 || type === 4))
      .flatMap(({ name }) =>
        [Number.NaN, Number.POSITIVE_INFINITY, Number.NEGATIVE_INFINITY].flatMap((value) =>
          [0, 0.3, 0.7, 1].map((where) => ({ fixture, name, value, where })),
        ),
      ),
  );
}

function turned(tokens: readonly string[]): readonly string[] {
  return [...tokens.slice(0, -2), tokens.at(-1) ?? "", tokens.at(-2) ?? ""];
}

/** One number of each named tensor is another; "every": all have names that say nothing. */
function withOtherNumbers(weights: Buffer, names: readonly string[]): Buffer {
  const copy = Buffer.from(weights);
  const length = Number(copy.readBigUInt64LE(0));
  const header = copy.toString("utf8", 8, 8 + length);
  if (names.includes("every")) {
    copy.write(header.replaceAll(".layer.", ".lager."), 8);
    return copy;
  }
  const tensors: Record<string, { data_offsets?: [number, number] }> = JSON.parse(header);
  for (const end of names) {
    const name = Object.keys(tensors).findLast((one) => one.endsWith(end)) ?? "";
    const at = 8 + length + (tensors[name]?.data_offsets?.[0] ?? Number.NaN);
    copy.writeFloatLE(copy.readFloatLE(at) + 0.5, at);
  }
  return copy;
}

async function folderWith(change: (model: ModelBin) => void, name = "bert-logit"): Promise<string> {
  const folder = fixtureFolder(name);
  await writeFile(modelPath(folder), changed(modelBytes(`${name}_fp32`), change));
  return folder;
}

describe("a file is refused before native code sees it:", () => {
  test.each([
    ...damages,
    ...[0, Number.NaN, Number.POSITIVE_INFINITY, -1].map(
      (scale) =>
        [
          `scales of ${scale}`,
          (model: ModelBin) => toIntegers(model, true, scale),
          /which is no scale/,
        ] as const,
    ),
  ])("%s", async (_, change, message) => {
    const error = await rejection(load(here, await folderWith(change)));
    expect(error).toBeInstanceOf(ModelLoadError);
    expect(error.message).toMatch(message);
  });

  test("a number that is not finite, in every precision, variable and place", async () => {
    const all = infiniteNumbers();
    expect(all.length).toBeGreaterThan(1000);
    for (const { fixture, name, value, where } of sampleOf(all, { name: "not finite", every: 6 })) {
      const bytes = changed(modelBytes(fixture), (model) => {
        const one = variable(model, name);
        const width = one.type === 0 ? 4 : 2;
        const place = Math.floor((where * (one.bytes - width)) / width) * width;
        if (width === 4) one.data.writeFloatLE(value, place);
        else one.data.writeUInt16LE(Number.isNaN(value) ? 0x7c01 : value > 0 ? 0x7c00 : 0xfc00, place);
      });
      const source = {
        size: bytes.length,
        read: async (start: number, end: number) => bytes.subarray(start, end),
      };
      const error = await rejection(readEncoder(source).then(() => requireFinite(source, undefined)));
      expect(error).toBeInstanceOf(CTranslate2FormatError);
      expect(error.message.startsWith(`${name} has `), error.message).toBe(true);
    }
  });

  test("every float of a file is looked at, and no sound file is refused for one", async () => {
    for (const name of ["bert-logit_fp32", "bert-logit_fp16", "bert-logit_int8", "xlm-roberta-logit_fp32"]) {
      const bytes = modelBytes(name);
      const source = {
        size: bytes.length,
        read: async (start: number, end: number) => bytes.subarray(start, end),
      };
      await requireFinite(source, undefined);
    }
    const folder = await folderWith((model) => {
      const { data } = variable(model, "encoder/layernorm_embedding/beta");
      data.writeFloatLE(Number.NEGATIVE_INFINITY, data.length - 4);
    });
    const error = await rejection(load(here, folder));
    expect(error).toBeInstanceOf(ModelLoadError);
    expect(error.message).toMatch(/layernorm_embedding\/beta has a number that is not finite, at 31/);
  });

  test("cut at any place", async () => {
    const whole = modelBytes("bert-logit_fp32");
    const random = randomOf(18);
    const places = [
      0,
      1,
      4,
      5,
      30,
      whole.length - 1,
      whole.length - 4,
      ...Array.from({ length: 40 }, () => random.below(whole.length)),
    ];
    for (const length of places) {
      const cut = whole.subarray(0, length);
      const source = {
        size: cut.length,
        read: async (start: number, end: number) => cut.subarray(start, end),
      };
      await expect(readEncoder(source), `${length} bytes`).rejects.toBeInstanceOf(CTranslate2FormatError);
    }
  });

  test("whatever byte of what it says of itself is another", async () => {
    const whole = modelBytes("bert-logit_int8");
    const { variables } = takeApart(whole);
    const data = variables.map(({ data: bytes }) => whole.indexOf(bytes));
    expect(data.every((place) => place > 0)).toBe(true);
    const random = randomOf(1818);
    const isData = (place: number): boolean =>
      variables.some(({ shape, bytes }, index) => {
        const start = data[index] as number;
        return shape.length > 0 && place >= start && place < start + bytes;
      });
    let [refused, taken] = [0, 0];
    for (let attempt = 0; attempt < 600; attempt += 1) {
      let place = random.below(whole.length);
      while (isData(place)) place = random.below(whole.length);
      const copy = Buffer.from(whole);
      copy[place] = random.below(256);
      const source = {
        size: copy.length,
        read: async (start: number, end: number) => copy.subarray(start, end),
      };
      try {
        const facts = await readEncoder(source);
        taken += 1;
        // What may be another in a sound file: how many heads, and what lies between layers.
        expect({ ...facts, heads: 4, activation: "gelu", pooler: "tanh" }).toEqual(
          await readEncoder({
            size: whole.length,
            read: async (start, end) => whole.subarray(start, end),
          }).then((original) => ({ ...original, heads: 4, activation: "gelu", pooler: "tanh" })),
        );
      } catch (error) {
        expect(error).toBeInstanceOf(CTranslate2FormatError);
        refused += 1;
      }
    }
    console.log(`bytes of heads changed: ${refused} refused, ${taken} taken`);
    expect(refused).toBeGreaterThan(400);
  });

  test("empty, and a Git LFS pointer", async () => {
    const folder = fixtureFolder("bert-logit");
    await writeFile(modelPath(folder), "");
    expect((await rejection(load(here, folder))).message).toMatch(/the file is empty/);
    await writeFile(
      modelPath(folder),
      "version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 12\n",
    );
    expect((await rejection(load(here, folder))).message).toMatch(/Git LFS pointer/);
  });
});

describe("an artifact of another model is refused by its configuration:", () => {
  test.each<[string, Record<string, unknown>, RegExp]>([
    ["heads", { num_attention_heads: 8 }, /4 heads, and the model's config\.json says 8/],
    ["layers", { num_hidden_layers: 3 }, /2 layers/],
    ["tokens", { vocab_size: 1401 }, /1400 rows/],
    ["activation", { hidden_act: "relu" }, /activation is gelu/],
    ["epsilon", { layer_norm_eps: 1e-5 }, /norms add 1e-12, and the model's config\.json says 0\.00001/],
  ])("%s", async (_, more, message) => {
    const folder = fixtureFolder("bert-logit");
    const path = join(folder, "config.json");
    await writeFile(path, JSON.stringify({ ...JSON.parse(await readFile(path, "utf8")), ...more }));
    const error = await rejection(load(here, folder));
    expect(error).toBeInstanceOf(ModelLoadError);
    expect(error.message).toMatch(message);
  });

  test("places that a converter did not shift", async () => {
    const folder = await folderWith((model) => {
      const table = variable(model, "encoder/position_encodings/encodings");
      const [rows = 0, width = 0] = table.shape;
      const data = Buffer.concat([table.data, Buffer.alloc(2 * 4 * width)]);
      Object.assign(table, { shape: [rows + 2, width], bytes: data.length, data });
    }, "xlm-roberta-logit");
    expect((await rejection(load(here, folder))).message).toMatch(/they begin behind the padding's/);
  });

  test.each<[string, (tokens: readonly string[]) => string, RegExp]>([
    [
      "another word",
      (tokens) => JSON.stringify(tokens.with(77, "other")),
      /token 77 is "other", and the mod/,
    ],
    ["two words in the other order", (tokens) => JSON.stringify(turned(tokens)), /token 1398 is /],
    ["a word less", (tokens) => JSON.stringify(tokens.slice(0, -1)), /lists 1399 tokens, .* 1400 rows/],
    ["no words", () => "[]", /lists 0 tokens/],
    ["a map", (tokens) => JSON.stringify(Object.fromEntries(tokens.entries())), /no list of tokens/],
    ["no JSON", (tokens) => JSON.stringify(tokens).slice(0, 900), /is no JSON/],
    ["an empty file", () => "", /lists 0 tokens/],
    ["depth", () => `["a", ${"[".repeat(100_000)}${"]".repeat(100_000)}]`, /token 1 is no text|is no JSON/],
  ])("its vocabulary has %s", async (_, change, message) => {
    const folder = fixtureFolder("bert-logit");
    await writeFile(join(modelPath(folder), "../vocabulary.json"), change(vocabularyOf(folder)));
    const error = await rejection(load(here, folder));
    expect(error).toBeInstanceOf(ModelLoadError);
    expect(error.message).toMatch(/vocabulary\.json is not this model's/);
    expect(error.message).toMatch(message);
  });

  test("its vocabulary is a list of lines, as older converters wrote it", async () => {
    const folder = fixtureFolder("bert-logit");
    const beside = join(modelPath(folder), "..");
    await rm(join(beside, "vocabulary.json"));
    const tokens = vocabularyOf(folder);
    await writeFile(join(beside, "vocabulary.txt"), `${tokens.with(9, "other").join("\n")}\n`);
    expect((await rejection(load(here, folder))).message).toMatch(
      /vocabulary\.txt is not .* token 9 is "other"/,
    );
  });

  test.each<[string, string, readonly string[], RegExp | undefined]>([
    ["the model's own", "bert-logit", [], undefined],
    ["the model's own, under other names", "bert-logit", ["every"], undefined],
    ["another bias of the last layer", "bert-logit", ["output.dense.bias"], /numbers of theirs differ/],
    ["another norm", "bert-logit", ["embeddings.LayerNorm.weight"], /numbers of theirs differ/],
    [
      "another classifier",
      "bert-logit",
      ["classifier.weight"],
      /\(classifier\.weight\) holds weights of another/,
    ],
    ["another classifier's bias", "bert-logit", ["classifier.bias"], /\(classifier\.bias\) holds/],
    ["another model's, without a classifier", "bert-cosine-mean", ["output.dense.bias"], /theirs differ/],
  ])("the weights beside it are %s", async (_, name, changes, message) => {
    const folder = fixtureFolder(name);
    const weights = await readFile(join(conformanceFixtures, name, "model.safetensors"));
    await writeFile(join(folder, "model.safetensors"), withOtherNumbers(weights, changes));
    const loading = load(here, folder, name === "bert-logit" ? {} : { kinds: ["hidden-states"] });
    const error = await loading.then(
      (session) => session.dispose(),
      (reason: Error) => reason,
    );
    if (message === undefined) {
      // Where there is no addon, this is as far as it comes.
      if (error !== undefined) expect(error.message).toMatch(/CTranslate2 does not start/);
      return;
    }
    expect(error).toBeInstanceOf(ModelLoadError);
    expect(error?.message).toMatch(message);
  });

  test("nothing says what norms add", async () => {
    const folder = fixtureFolder("bert-logit");
    await rm(join(modelPath(folder), "../config.json"));
    const path = join(folder, "config.json");
    const { layer_norm_eps: _, ...config } = JSON.parse(await readFile(path, "utf8"));
    await writeFile(path, JSON.stringify(config));
    expect((await rejection(load(here, folder))).message).toMatch(/neither its config\.json/);
  });
});

describe("the classifier", () => {
  test("that is not there is named, with what to do", async () => {
    const folder = fixtureFolder("bert-logit");
    await rm(join(modelPath(folder), "../classifier.safetensors"));
    expect((await rejection(load(here, folder))).message).toMatch(
      /ends before the layers that make a score.*Put the model's model\.safetensors/,
    );
  });

  test("of other classes than the head reads", async () => {
    const { files } = await import("@crossrank/conformance").then(({ openFixtureFolder }) =>
      openFixtureFolder(fixtureFolder("bert-logit")),
    );
    const loading = here.load({
      files,
      profile: { head: { kind: "two-class", positive: 1 }, architecture: "bert" } as never,
      output: { kinds: ["class-logits"] },
    });
    expect((await rejection(loading)).message).toMatch(/gives 1 classes, and the model's head reads 2/);
  });

  test("is not wanted of bi-encoders, and other outputs are none", async () => {
    const folder = fixtureFolder("bert-logit");
    expect(await rejection(load(here, folder, { kinds: ["token-logits"] }))).toBeInstanceOf(
      IncompatibleModelError,
    );
  });
});

describeNative("what CTranslate2 does not look at is refused:", () => {
  const wrong: readonly (readonly [string, (batch: Batch) => void, RegExp])[] = [
    [
      "an id of the vocabulary's size",
      ({ inputIds }) => {
        inputIds[5] = 1400;
      },
      /has 1400, .* rows for 0 to 1399/,
    ],
    [
      "a far id",
      ({ inputIds }) => {
        inputIds[5] = 2 ** 31 - 1;
      },
      /has 2147483647/,
    ],
    [
      "a negative id",
      ({ inputIds }) => {
        inputIds[0] = -1;
      },
      /has -1/,
    ],
    [
      "a segment beyond the table",
      ({ segmentIds }) => {
        segmentIds[3] = 2;
      },
      /segmentIds has 2, .* 0 to 1/,
    ],
    [
      "a far segment",
      ({ segmentIds }) => {
        segmentIds[3] = 9;
      },
      /segmentIds has 9/,
    ],
    [
      "a negative segment",
      ({ segmentIds }) => {
        segmentIds[3] = -1;
      },
      /segmentIds has -1/,
    ],
    [
      "a row that is too long",
      ({ lengths }) => {
        lengths[1] = 13;
      },
      /a row of 13 tokens/,
    ],
    [
      "a negative length",
      ({ lengths }) => {
        lengths[1] = -1;
      },
      /a row of -1 tokens/,
    ],
    [
      "a hole in the mask",
      ({ attentionMask }) => {
        attentionMask[4] = 0;
      },
      /attention mask/,
    ],
  ];
  test.each(wrong)("%s", async (_, change, message) => {
    const session = await load(here, fixtureFolder("bert-logit"));
    onTestFinished(() => session.dispose());
    const batch = batchOf(2, 12);
    change(batch);
    const error = await rejection(session.run(batch));
    expect(error).toBeInstanceOf(BackendRunError);
    expect(error.message).toMatch(message);
    expect((await session.run(batchOf(2, 12))).shape).toEqual([2, 1]);
  });

  test("more tokens than places, and a batch of none", async () => {
    const session = await load(here, fixtureFolder("bert-logit"));
    onTestFinished(() => session.dispose());
    expect((await rejection(session.run(batchOf(1, 65)))).message).toMatch(/positions for 64/);
    expect((await rejection(session.run(batchOf(1, 0)))).message).toMatch(/a batch of 1 rows of 0 tokens/);
    expect((await session.run(batchOf(1, 64))).shape).toEqual([1, 1]);
  });

  test("an empty row is padding: it gives a number, and changes none", async () => {
    const session = await load(here, fixtureFolder("bert-logit"));
    onTestFinished(() => session.dispose());
    const alone = (await session.run(batchOf(1, 12))).data[0];
    const batch = batchOf(2, 12);
    batch.lengths[1] = 0;
    batch.attentionMask.fill(0, 12);
    // Ids of padding are not looked up.
    batch.inputIds.fill(99_999, 12);
    expect((await session.run(batch)).data[0]).toBeCloseTo(alone ?? Number.NaN, 5);
  });

  test("segments of a model with a table of one are left out", async () => {
    const session = await load(here, fixtureFolder("xlm-roberta-logit"));
    onTestFinished(() => session.dispose());
    expect(session.capabilities.segmentIds).toBe(false);
    const alone = [...(await session.run(batchOf(1, 12))).data];
    const batch = batchOf(1, 12);
    batch.segmentIds.fill(1);
    expect([...(await session.run(batch)).data]).toEqual(alone);
  });

  test("a matrix of numbers that overflow never ends the process", async () => {
    const folder = await folderWith((model) => {
      // 3.4e38 each.
      variable(model, `${layer}/ffn/linear_0/weight`).data.fill(0x7f);
    });
    const session = await load(here, folder);
    onTestFinished(() => session.dispose());
    expect((await session.run(batchOf(1, 8))).shape).toEqual([1, 1]);
  });
});

describe("choosing", () => {
  const [descriptor] = backends;

  test("a folder stands for its model.bin, and a model.bin of others is none", async () => {
    const paths = [
      "ctranslate2/model_int8.ctranslate2/model.bin",
      "ctranslate2/model_int8.ctranslate2/vocabulary.json",
    ];
    expect(descriptor?.artifacts(paths)).toEqual([{ dtype: "int8", path: paths[0] }]);
    expect(descriptor?.artifacts(["model.bin", "pytorch_model.bin", "config.json"])).toEqual([]);
    expect(descriptor?.artifacts(["model.bin", "vocabulary.txt"])).toEqual([
      { dtype: "?", path: "model.bin" },
    ]);
    const error = await rejection(load(here, fixtureFolder("bert-logit"), { dtype: "int8" }));
    expect(error).toBeInstanceOf(ModelFileNotFoundError);
  });

  test("options out of range", () => {
    for (const options of [
      { sessions: 0 },
      { threads: 65 },
      { threads: 1.5 },
      { isolation: "fiber" },
      { thread: 1 },
    ]) {
      expect(() => ctranslate2(options as never)).toThrow(InvalidInputError);
    }
  });

  test("what an artifact is, from its content", async () => {
    const { openFixtureFolder } = await import("@crossrank/conformance");
    const { files } = openFixtureFolder(fixtureFolder("bert-logit", ["int8"]));
    const path = "ctranslate2/model_int8.ctranslate2/model.bin";
    expect(await descriptor?.describe?.(files, path)).toMatchObject({
      dtype: "int8",
      facts: { layers: "2 of 32 numbers, 4 heads, 64 in the middle", positions: "64", pooler: "tanh" },
      files: expect.arrayContaining([expect.stringMatching(/classifier\.safetensors$/)]),
    });
    const broken = fixtureFolder("bert-logit");
    await writeFile(
      modelPath(broken),
      putTogether({ ...takeApart(modelBytes("bert-logit_fp32")), revision: 9 }),
    );
    expect(
      await descriptor?.describe?.(
        openFixtureFolder(broken).files,
        "ctranslate2/model.ctranslate2/model.bin",
      ),
    ).toMatchObject({ dtype: undefined, notes: [expect.stringMatching(/^It is not run/)] });
  });
});

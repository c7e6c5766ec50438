import { mkdir, readFile, rename, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { backends, llamacpp } from "@crossrank/backend-llamacpp";
import type { ModelFile } from "@crossrank/core";
import { describe, expect, onTestFinished, test } from "vitest";
import { chooseFile, fetchArtifact } from "../src/artifact.js";
import { dtypeOfPath, dtypes } from "../src/dtype.js";
import { arrayOf, type Contents, editGguf, text, uint32 } from "./edit-gguf.js";
import {
  convertedFolder,
  folderWith,
  goldenSequences,
  load,
  makeBatch,
  openFolder,
  rejection,
} from "./fixtures.js";

const MB = 1e6;
const backend = llamacpp({ isolation: "thread", contexts: 1, threads: 1 });

describe("what a name says of the precision", () => {
  // Names of published files, and those that llama.cpp's quantiser takes, as publishers write them around.
  test.each<[string, string | undefined]>([
    ["InRanker-base.IQ3_M.gguf", "IQ3_M"],
    ["InRanker-base.Q5_K_M.gguf", "Q5_K_M"],
    ["Qwen.Qwen3-Reranker-0.6B.Q5_K_M.gguf", "Q5_K_M"],
    ["Qwen3-VL-Reranker-2B.f16.gguf", "F16"],
    ["bge-reranker-v2-gemma.Q3_K.gguf", "Q3_K_M"],
    ["bge-reranker-v2-gemma.Q4_K.gguf", "Q4_K_M"],
    ["bge-reranker-v2-gemma.Q5_K.gguf", "Q5_K_M"],
    ["bge-reranker-v2-gemma.IQ4_NL.gguf", "IQ4_NL"],
    ["bge-reranker-v2-m3-FP16.gguf", "F16"],
    ["bge-reranker-v2-m3-q8_0.gguf", "Q8_0"],
    ["jina-reranker-v1-tiny-en/ggml-model-f16.gguf", "F16"],
    ["jina-reranker-v3-BF16.gguf", "BF16"],
    ["lb-reranker-0.5B-v1.0-Q2_K_L.gguf", "Q2_K_L"],
    ["lb-reranker-0.5B-v1.0-Q6_K_L.gguf", "Q6_K_L"],
    ["lb-reranker-0.5B-v1.0-f32.gguf", "F32"],
    ["ms-marco-MiniLM-L-6-v2-q8_0-g7c.gguf", "Q8_0"],
    ["Qwen3-Reranker-4B.i1-Q4_K_M.gguf", "Q4_K_M"],
    ["Qwen3-Reranker-4B.i1-IQ2_XXS.gguf", "IQ2_XXS"],
    ["Qwen3-8B-UD-Q4_K_XL.gguf", "Q4_K_XL"],
    ["Qwen3-8B-UD-IQ1_S-00001-of-00003.gguf", "IQ1_S"],
    ["Qwen3-8B-UD-Q8_K_XL.gguf", "Q8_K_XL"],
    ["BF16/Qwen3-8B-BF16-00001-of-00002.gguf", "BF16"],
    ["Q8_0/model.gguf", "Q8_0"],
    ["BF16/model-00001-of-00002.gguf", "BF16"],
    ["model-MXFP4.gguf", "MXFP4"],
    ["model-mxfp4_moe.gguf", "MXFP4"],
    ["model_q4_0.gguf", "Q4_0"],
    ["model.f32-Q4_K_S.gguf", "Q4_K_S"],
    ["model-Q4_0_4_8.gguf", undefined],
    ["model-IQ4_K.gguf", undefined],
    ["lb-reranker-0.5B-v1.0.gguf", undefined],
    ["Qwen3-VL-Reranker-2B.gguf", undefined],
  ])("%s", (path, dtype) => {
    expect(dtypeOfPath(path)).toBe(dtype);
  });

  test("is right for every precision, however it is spelt and whatever stands around it", () => {
    const spellings: ((dtype: string) => string)[] = [
      (dtype) => `gguf/model-${dtype}.gguf`,
      (dtype) => `Model-0.6B.${dtype.toLowerCase()}.gguf`,
      (dtype) => `ggml_model_${dtype}.GGUF`,
      (dtype) => `Model.i1-${dtype}.gguf`,
      (dtype) => `Model-UD-${dtype}-00001-of-00002.gguf`,
      (dtype) => `${dtype}/Model.gguf`,
      (dtype) => `Model-F32-${dtype}-v2.gguf`,
    ];
    for (const dtype of dtypes) {
      for (const spell of spellings) expect(dtypeOfPath(spell(dtype)), spell(dtype)).toBe(dtype);
    }
  });

  test("projectors, measurements and later parts are no models", () => {
    const paths = [
      "m-Q8_0.gguf",
      "mmproj-F16.gguf",
      "m.imatrix.gguf",
      "m-BF16-00001-of-00002.gguf",
      "m-BF16-00002-of-00002.gguf",
    ];
    expect(backends[0]?.artifacts(paths)).toEqual([
      { dtype: "BF16", path: "m-BF16-00001-of-00002.gguf" },
      { dtype: "Q8_0", path: "m-Q8_0.gguf" },
    ]);
  });
});

describe("where nobody asks for a precision", () => {
  const chosen = (sizes: Readonly<Record<string, number>>, dtype?: string): string => {
    const listed = Object.entries(sizes).map(
      ([path, megabytes]): ModelFile => ({ path, size: megabytes * MB }),
    );
    return chooseFile("m", listed, { file: undefined, dtype, defaultDtype: undefined }).files[0].path;
  };

  test.each<[string, Readonly<Record<string, number>>, string]>([
    ["a small float file", { "m-F16.gguf": 1100, "m-Q8_0.gguf": 600 }, "m-F16.gguf"],
    ["Q8_0 before a large one", { "m-F16.gguf": 2271, "m-Q8_0.gguf": 1200 }, "m-Q8_0.gguf"],
    ["Q8_0 before a large bfloat16", { "m-BF16.gguf": 8000, "m-Q8_0.gguf": 4200 }, "m-Q8_0.gguf"],
    [
      "half precision before a large F32",
      { "m-F32.gguf": 2400, "m-F16.gguf": 1200, "m-Q8_0.gguf": 600 },
      "m-F16.gguf",
    ],
    ["a large one without Q8_0", { "m-F16.gguf": 8000, "m-Q4_K_M.gguf": 2500 }, "m-F16.gguf"],
    [
      "a split one by the sum of its parts",
      { "m-F16-00001-of-00002.gguf": 1500, "m-F16-00002-of-00002.gguf": 1500, "m-Q8_0.gguf": 1600 },
      "m-Q8_0.gguf",
    ],
  ])("takes %s", (_, sizes, path) => {
    expect(chosen(sizes)).toBe(path);
  });

  test("and takes what is asked for", () => {
    expect(chosen({ "m-F16.gguf": 8000, "m-Q8_0.gguf": 4000 }, "F16")).toBe("m-F16.gguf");
    expect(chosen({ "m-UD-Q4_K_XL.gguf": 1, "m-Q4_K_M.gguf": 1 }, "UD-Q4_K_XL")).toBe("m-UD-Q4_K_XL.gguf");
    expect(chosen({ "m-Q3_K.gguf": 1, "m-Q4_K.gguf": 1 }, "q4_k")).toBe("m-Q4_K.gguf");
  });
});

describe("what the file holds decides what it is shown as", () => {
  const fileType = (value: number | undefined) => (bytes: Buffer) =>
    editGguf(bytes, ({ entries, tensors }) => ({
      entries: entries.flatMap((entry) => {
        if (entry.key !== "general.file_type") return [entry];
        return value === undefined ? [] : [{ ...entry, value: uint32(value) }];
      }),
      tensors,
    }));
  const shown = async (written: string, change: (bytes: Buffer) => Buffer, path: string): Promise<string> => {
    const source = await convertedFolder("bert-logit", ["F32", "F16", "Q8_0", "Q4_0"]);
    const folder = await folderWith("bert-logit", (bytes) => bytes);
    await rm(join(folder, "gguf"), { recursive: true });
    await mkdir(join(folder, path, ".."), { recursive: true });
    await writeFile(join(folder, path), change(await readFile(join(source, `gguf/model-${written}.gguf`))));
    const files = openFolder(folder);
    const wish = { file: undefined, dtype: undefined, defaultDtype: undefined };
    return (await fetchArtifact(files, chooseFile("m", await files.list(), wish), {})).dtype;
  };

  test.each<[string, string, number | undefined, string, string]>([
    ["a name that says another", "Q4_0", 2, "model-F32.gguf", "Q4_0"],
    ["a head that says a float", "Q4_0", 0, "model.gguf", "Q4_0"],
    ["a head that says half precision of F32", "F32", 1, "model-F16.gguf", "F32"],
    ["a head that says more bits", "Q4_0", 7, "model-Q8_0.gguf", "Q4_0"],
    ["a head that says fewer", "Q8_0", 10, "model-Q2_K.gguf", "Q8_0"],
    ["a head that says nothing", "Q8_0", undefined, "model.gguf", "Q8_0"],
    ["a variant by its name", "Q8_0", 7, "model-UD-Q8_K_XL.gguf", "Q8_K_XL"],
    ["a variant of another precision", "Q8_0", 7, "model-Q4_K_L.gguf", "Q8_0"],
  ])("%s", async (_, written, value, path, dtype) => {
    expect(await shown(written, fileType(value), path)).toBe(dtype);
  });

  test.each(["Q6_K", "Q5_K_M", "Q5_K_S", "Q4_K_M", "Q4_K_S"])(
    "%s of our own, though no row of it fills a block of 256",
    async (dtype) => {
      const folder = await convertedFolder("bert-logit", [dtype]);
      const session = await load(backend, folder);
      onTestFinished(() => session.dispose());
      expect(session.artifact.dtype).toBe(dtype);
    },
  );
});

describe("a file in parts", () => {
  const entry = (key: string, type: number, value: Buffer) => ({ key, type, value });
  const uint16 = (value: number): Buffer => {
    const bytes = Buffer.alloc(2);
    bytes.writeUInt16LE(value);
    return bytes;
  };
  /** As llama.cpp's gguf-split cuts: metadata in the first part, tensors in all. */
  const part = (bytes: Buffer, number: number, count: number, order = number): Buffer =>
    editGguf(bytes, ({ entries, tensors }: Contents) => {
      const size = Math.ceil(tensors.length / count);
      return {
        entries: [
          ...(number === 0 ? entries : []),
          entry("split.no", 2, uint16(order)),
          entry("split.count", 2, uint16(count)),
          entry("split.tensors.count", 5, uint32(tensors.length)),
        ],
        tensors: tensors.slice(number * size, (number + 1) * size),
      };
    });
  const name = (number: number, count: number): string =>
    `model-F32-${String(number + 1).padStart(5, "0")}-of-${String(count).padStart(5, "0")}.gguf`;
  const split = async (
    count: number,
    order: (number: number) => number = (number) => number,
  ): Promise<string> => {
    const folder = await folderWith("xlm-roberta-logit", (bytes) => bytes);
    const whole = await readFile(join(folder, "gguf/model-F32.gguf"));
    await rm(join(folder, "gguf"), { recursive: true });
    for (let number = 0; number < count; number += 1) {
      await writeFile(join(folder, name(number, count)), part(whole, number, count, order(number)));
    }
    return folder;
  };

  test.each([1, 3])("of %d loads through the first and scores as the whole", async (count) => {
    const folder = await split(count);
    const session = await load(backend, folder);
    onTestFinished(() => session.dispose());
    expect(session.artifact.files.map(({ path }) => path)).toEqual(
      Array.from({ length: count }, (_, number) => name(number, count)),
    );
    const whole = await load(backend, await convertedFolder("xlm-roberta-logit"));
    onTestFinished(() => whole.dispose());
    const batch = makeBatch((await goldenSequences(folder)).slice(0, 4));
    expect((await session.run(batch)).data).toEqual((await whole.run(batch)).data);
  });

  test("loads by any of its parts' names", async () => {
    const session = await load(llamacpp({ file: name(1, 2), contexts: 1 }), await split(2));
    onTestFinished(() => session.dispose());
    expect(session.artifact.files).toHaveLength(2);
  });

  test("is refused without one of them", async () => {
    const folder = await split(3);
    await rm(join(folder, name(2, 3)));
    const error = await rejection(load(backend, folder));
    expect(error).toMatchObject({ code: "model-file-not-found" });
    expect(error.message).toContain(name(2, 3));
  });

  test("is refused under another name, with the fix", async () => {
    const folder = await split(2);
    await rename(join(folder, name(0, 2)), join(folder, "first.gguf"));
    await rm(join(folder, name(1, 2)));
    const error = await rejection(load(backend, folder));
    expect(error.message).toMatch(/one of 2 parts.*-00001-of-00003\.gguf.*llama-gguf-split --merge/);
  });

  test("is refused where the parts are in another order, or of different files", async () => {
    expect((await rejection(load(backend, await split(3, (number) => (3 - number) % 3)))).message).toMatch(
      /part 2 of 3 says that it is part 3 of 3/,
    );
    const folder = await split(2);
    const other = await readFile(join(await convertedFolder("qwen3-yes-no"), "gguf/model-F32.gguf"));
    await writeFile(join(folder, name(1, 2)), part(other, 1, 2));
    expect((await rejection(load(backend, folder))).message).toMatch(
      /two of its parts|parts have \d+ tensors/,
    );
  });
});

test("a file that is no model is refused by what it says of itself", async () => {
  const folder = await folderWith("bert-logit", (bytes) =>
    editGguf(bytes, ({ entries, tensors }) => ({
      entries: entries
        .filter(({ key }) => key !== "general.type")
        .concat(
          { key: "general.type", type: 8, value: text("adapter") },
          { key: "x", type: 9, value: arrayOf([]) },
        ),
      tensors,
    })),
  );
  expect((await rejection(load(backend, folder))).message).toMatch(/no model.*"adapter"/);
});

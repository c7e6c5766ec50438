import { InvalidInputError, readProfile } from "@crossrank/core";
import { expect, test } from "vitest";
import { UnsupportedConversionError } from "../src/errors.js";
import { createMlpackageWriter } from "../src/mlpackage/write-mlpackage.js";
import { createOnnxWriter } from "../src/onnx/write-onnx.js";
import { architectureNames, named, writtenArchitectures } from "../src/source/architecture-names.js";
import { describedArchitectures, describeModel } from "../src/source/describe-model.js";
import {
  conversionDtypes,
  createWriter,
  formatsWith,
  type WriterDescriptor,
  writers,
} from "../src/writers.js";
import { readFixture } from "./source-files.js";

test.each(writers)("$format: the descriptor says what its writer does", async (descriptor) => {
  const { format, dtypes, options = {}, judges, help = [] } = descriptor;
  const writer = await createWriter(format);
  expect(writer.format).toBe(format);
  expect(writer.dtypes).toEqual(dtypes);
  expect(conversionDtypes(format)).toEqual(dtypes);
  expect(dtypes).toContain(writer.defaultDtype ?? dtypes[0]);
  for (const dtype of dtypes) {
    expect(writer.path(dtype)).toMatch(new RegExp(`^${format}/model[\\w-]*\\.${format}$`));
    expect(judges?.(dtype).length).toBeGreaterThan(0);
  }
  expect(new Set(dtypes.map((dtype) => writer.path(dtype))).size).toBe(dtypes.length);
  expect(help.length).toBeGreaterThan(0);
  for (const { value } of Object.values(options)) {
    if (typeof value === "string") expect(["text", "count", "counts"]).toContain(value);
    else expect(value.length).toBeGreaterThan(1);
  }
  // One of several words is one that the writer takes; another is refused.
  for (const [name, { value }] of Object.entries(options)) {
    if (typeof value === "string") continue;
    for (const word of value) expect((await createWriter(format, { [name]: word })).format).toBe(format);
    await expect(createWriter(format, { [name]: "constructor" })).rejects.toThrow(InvalidInputError);
  }
});

test.each<[string, Readonly<Record<string, unknown>>, string, RegExp]>([
  ["tflite", {}, "to", /must be one of onnx, gguf, mnn, mlpackage, ctranslate2, not "tflite"/],
  ["constructor", {}, "to", /must be one of/],
  ["gguf", { target: "mnn" }, "target", /is an option of onnx, and gguf has none\. Leave it out/],
  ["onnx", { lengths: [1] }, "lengths", /is an option of mlpackage, and onnx has none/],
  ["onnx", { constructor: 1 }, "constructor", /is an option of no format/],
  ["mlpackage", { batch: 0 }, "batch", /1 to 1024/],
  ["mlpackage", { batch: 1e9 }, "batch", /1 to 1024/],
  ["mlpackage", { lengths: [] }, "lengths", /at least one and at most 128/],
  ["mlpackage", { lengths: [1.5] }, "lengths", /at least one and at most 128/],
  ["mlpackage", { lengths: Array.from({ length: 1e5 }, (_, index) => index + 1) }, "lengths", /at most 128/],
])("%s with %o is refused", async (format, options, path, message) => {
  const error: unknown = await createWriter(format, options).catch((thrown: unknown) => thrown);
  expect(error).toBeInstanceOf(InvalidInputError);
  expect(error).toMatchObject({ path, message: expect.stringMatching(message) });
});

test("a registry of somebody else's has its own formats and options", async () => {
  const own: WriterDescriptor = {
    format: "mine",
    dtypes: ["fp32"],
    options: { depth: { help: "how deep", value: "count" } },
    create: async ({ depth = 1 }) => ({
      format: "mine",
      dtypes: ["fp32"],
      path: () => `mine/model.mine`,
      check: () => undefined,
      settings: () => ({ depth }),
      write: async ({ path }) => [path],
    }),
  };
  const among = [...writers, own];
  const writer = await createWriter("mine", { depth: 3, target: undefined }, among);
  expect(writer.settings?.({} as never, "fp32")).toEqual({ depth: 3 });
  expect(formatsWith("depth", among)).toEqual(["mine"]);
  await expect(createWriter("onnx", { depth: 3 }, among)).rejects.toThrow(/is an option of mine/);
});

test("what can be described has a name for people", () => {
  expect(Object.keys(architectureNames)).toEqual(describedArchitectures);
  expect(named(["bert"])).toBe("BERT");
  expect(named(["bert", "electra", "qwen3"])).toBe("BERT, ELECTRA and Qwen3");
});

test.each([
  ["bert-logit", "bert"],
  ["roberta-logit", "roberta"],
  ["xlm-roberta-logit", "xlm-roberta"],
  ["modernbert-mean", "modernbert"],
  ["deberta-v2-logit", "deberta-v2"],
] as const)("%s: the help lists it exactly where it is written", async (name, architecture) => {
  const { files } = await readFixture(name);
  const { profile } = await readProfile(files);
  const description = await describeModel(files, profile);
  for (const writer of [createOnnxWriter(), createMlpackageWriter()]) {
    const written: readonly string[] = writtenArchitectures[writer.format as "onnx" | "mlpackage"];
    const check = (): void => writer.check(description, profile);
    if (written.includes(architecture)) check();
    else expect(check).toThrow(UnsupportedConversionError);
    const help = writers.find(({ format }) => format === writer.format)?.help?.join(" ") ?? "";
    for (const known of Object.keys(architectureNames) as (keyof typeof architectureNames)[])
      expect(new RegExp(`\\b${architectureNames[known]}\\b`).test(help)).toBe(written.includes(known));
  }
});

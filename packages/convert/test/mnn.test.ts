import { cp, open, readdir, readFile, stat, truncate, writeFile } from "node:fs/promises";
import { dirname, join } from "node:path";
import { type Backend, type Batch, InvalidInputError, type RawOutput, readProfile } from "@crossrank/core";
import { readGoldens, verify } from "@crossrank/core/verify";
import { openModel } from "@crossrank/hub";
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { sampleOf } from "../../../test/sample.js";
import { type ConvertOptions, convert } from "../src/convert.js";
import {
  ConversionNotFaithfulError,
  ExternalConverterError,
  UnsupportedConversionError,
} from "../src/errors.js";
import { findConverter, runConverter } from "../src/mnn/converter.js";
import { IncompleteFileError, readStoredTensors } from "../src/mnn/stored-tensors.js";
import { createMnnWriter } from "../src/mnn/write-mnn.js";
import { createOnnxWriter } from "../src/onnx/write-onnx.js";
import type { ArtifactProvenance } from "../src/provenance.js";
import { describeModel } from "../src/source/describe-model.js";
import {
  backend,
  describeWithAddon,
  describeWithConverter,
  describeWithPython,
  fixtures,
  newFolder,
  pythonPackage,
  recorded,
  replay,
} from "./mnn-scene.js";

let output = "";
beforeEach(async () => {
  output = join(await newFolder(), "out");
});
afterEach(() => {
  vi.unstubAllEnvs();
});

async function toMnn(name: string, rest: Partial<ConvertOptions> = {}): Promise<ConvertOptions> {
  return { model: await openModel(join(fixtures, name)), to: "mnn", output, backend: backend(), ...rest };
}

async function failure(work: Promise<unknown>): Promise<Error> {
  return work.then(
    () => expect.fail("it did not fail"),
    (error: unknown) => error as Error,
  );
}

const nowhere = "/nowhere/python3";

describe("MNN's converter that is not there", () => {
  const prepare = (python?: string): Promise<unknown> =>
    createMnnWriter({ python }).prepare?.(undefined) ?? expect.fail("nothing was looked for");

  it("is missing where no Python is on the PATH, and the message says what to install", async () => {
    vi.stubEnv("PATH", await newFolder());
    vi.stubEnv("PYTHON", "");
    const error = await failure(prepare());
    expect(error).toBeInstanceOf(ExternalConverterError);
    expect(error).toMatchObject({ code: "external-converter", converter: "MNN", reason: "missing" });
    expect(error.message).toBe(
      "MNN's converter is a Python package, and python3 is not there. Install Python 3.8 or later and then " +
        "`python3 -m pip install MNN==3.6.1`, or name a Python that has it in the option `python` or in " +
        "the environment's PYTHON.",
    );
  });

  it("is looked for where the option says, then where the environment does", async () => {
    vi.stubEnv("PYTHON", "/nowhere/by-environment");
    expect((await failure(prepare(nowhere))).message).toContain(`and ${nowhere} is not there`);
    expect((await failure(prepare())).message).toContain("and /nowhere/by-environment is not there");
  });

  it("is noticed before anything is computed or written", async () => {
    const steps: string[] = [];
    const options = await toMnn("bert-logit", {
      python: nowhere,
      onProgress: ({ step }) => steps.push(step),
    });
    expect(await failure(convert(options))).toBeInstanceOf(ExternalConverterError);
    expect(steps).toEqual(["reading"]);
    expect(await readdir(dirname(output))).toEqual([]);
  });

  it("has no place in a conversion to another format", async () => {
    const error = await failure(convert(await toMnn("bert-logit", { to: "onnx", python: nowhere })));
    expect(error).toBeInstanceOf(InvalidInputError);
    expect(error).toMatchObject({ path: "python" });
  });

  describeWithPython("in a Python that is there", () => {
    /** A Python without any packages of the machine's. */
    const bare = async (): Promise<string> => {
      const script = join(await newFolder(), "python3");
      await writeFile(script, '#!/bin/sh\nexec python3 -I -S "$@"\n', { mode: 0o755 });
      return script;
    };

    it.skipIf(process.platform === "win32")("says that it lacks the package", async () => {
      const python = await bare();
      const error = await failure(prepare(python));
      expect(error).toMatchObject({ reason: "missing" });
      expect(error.message).toMatch(/python3 \(Python 3\.\d+\.\d+\) does not have it\. Install it with `/);
      expect(error.message).toContain(`\`${python} -m pip install MNN==3.6.1\``);
    });

    it("says that it is of another version", async () => {
      for (const version of ["3.5.0", "3.60.0"]) {
        vi.stubEnv("PYTHONPATH", await pythonPackage(version));
        const error = await failure(prepare("python3"));
        expect(error).toMatchObject({ reason: "version" });
        expect(error.message).toMatch(
          `python3 has the package MNN ${version}, and crossrank runs files of 3.6. `,
        );
        expect(error.message).toContain("pip install MNN==3.6.1");
      }
    });

    it("says why it does not load", async () => {
      vi.stubEnv("PYTHONPATH", await pythonPackage("3.6.1", "raise ImportError('libstdc++ is too old')"));
      const error = await failure(prepare("python3"));
      expect(error).toMatchObject({ reason: "missing" });
      expect(error.message).toContain("MNN 3.6.1 of python3 does not load: libstdc++ is too old. ");
    });

    it.skipIf(process.platform === "win32")("says that something else answers to the name", async () => {
      const error = await failure(prepare("/bin/echo"));
      expect(error.message).toMatch(/^\/bin\/echo is no Python that works: /);
    });

    it("has not worked where it wrote nothing, half a file, or crashed", async () => {
      const whole = recorded("bert-logit_fp32.mnn");
      const half = join(await newFolder(), "half.mnn");
      await cp(whole, half);
      await truncate(half, Math.floor((await stat(whole)).size / 2));
      for (const [tools, reason] of [
        // The real one says so, with exit code 0, when its folder is not writable or its input is no ONNX file.
        ["def mnnconvert(arguments): print('Converted Success!')", /wrote no file: Converted Success!/],
        [replay(half), /wrote \d+ bytes and not the whole file \(byte \d+ is wanted of \d+\)\. Look whether/],
        ["import os\ndef mnnconvert(arguments): os.abort()", /ended by SIGABRT: it printed nothing/],
        [
          "def mnnconvert(arguments): raise ValueError('no such op')",
          /ended with code 1: ValueError: no such op/,
        ],
      ] as const) {
        vi.stubEnv("PYTHONPATH", await pythonPackage("3.6.1", tools));
        // Nothing but the writer can notice it here.
        const error = await failure(
          convert(await toMnn("bert-logit", { python: "python3", verify: false, backend: undefined })),
        );
        expect(error).toMatchObject({ code: "external-converter", reason: "failed" });
        expect(error.message).toMatch(reason);
        expect(await readdir(dirname(output))).toEqual([]);
      }
    });

    it("is killed when the conversion is aborted, and leaves nothing", async () => {
      const mark = join(await newFolder(), "mark");
      const slow = `
import time
def mnnconvert(arguments):
    open(${JSON.stringify(mark)}, "w").write("began")
    time.sleep(2)
    open(${JSON.stringify(mark)}, "w").write("ended")
`;
      vi.stubEnv("PYTHONPATH", await pythonPackage("3.6.1", slow));
      const controller = new AbortController();
      const conversion = failure(
        convert(await toMnn("bert-logit", { python: "python3", verify: false, signal: controller.signal })),
      );
      await vi.waitFor(async () => expect(await readFile(mark, "utf8")).toBe("began"), { timeout: 10_000 });
      const reason = new Error("enough");
      controller.abort(reason);
      expect(await conversion).toBe(reason);
      expect(await readdir(dirname(output))).toEqual([]);
      await new Promise((resolve) => setTimeout(resolve, 2500));
      expect(await readFile(mark, "utf8")).toBe("began");
    });
  });
});

describe("models that are not written as MNN", () => {
  it.each([
    [
      "deberta-v2-logit",
      /cannot be converted to mnn: .* MNN computes DeBERTa's attention wrongly .* Convert it to onnx/,
    ],
    ["qwen3-yes-no", /cannot be converted to mnn: it is a language model, .* Convert it to gguf/],
    ["qwen3-listwise", /cannot be converted to mnn: it reads many documents/],
  ])("%s", async (name, reason) => {
    // Before a converter is looked for: none would help.
    const error = await failure(convert(await toMnn(name, { python: nowhere })));
    expect(error).toBeInstanceOf(UnsupportedConversionError);
    expect(error).toMatchObject({ format: "mnn" });
    expect(error.message).toMatch(reason);
  });

  it("a rotary model for long texts in fp16, since its frequencies would be halved too", async () => {
    const folder = join(await newFolder(), "long");
    await cp(join(fixtures, "modernbert-mean"), folder, { recursive: true });
    for (const [file, key] of [
      ["config.json", "max_position_embeddings"],
      ["tokenizer_config.json", "model_max_length"],
    ] as const) {
      const path = join(folder, file);
      const facts = JSON.parse(await readFile(path, "utf8")) as Record<string, unknown>;
      await writeFile(path, JSON.stringify({ ...facts, [key]: 8192 }));
    }
    const long = await toMnn("modernbert-mean", { model: await openModel(folder), python: nowhere });
    const error = await failure(convert({ ...long, dtype: "fp16" }));
    expect(error).toBeInstanceOf(UnsupportedConversionError);
    expect(error.message).toMatch(
      /turns tokens 8192 apart by up to 0\.\d\d radians\. Take dtype fp32 or int8/,
    );
    for (const one of [
      { ...long, dtype: "int8" },
      await toMnn("modernbert-mean", { python: nowhere, dtype: "fp16" }),
    ]) {
      expect(await failure(convert(one))).toBeInstanceOf(ExternalConverterError);
    }
  });
});

describe("what an .mnn file holds", () => {
  const read = async (path: string): Promise<Awaited<ReturnType<typeof readStoredTensors>>> => {
    const handle = await open(path);
    try {
      return await readStoredTensors(handle);
    } finally {
      await handle.close();
    }
  };

  it.each([
    ["fp32", { fp32: 46 }, "fp32", "fp32"],
    ["fp16", { fp16: 22, fp32: 24 }, "fp16", "fp16"],
    ["int8", { int8: 14, fp32: 32 }, "fp32", "int8"],
  ])("in %s", async (dtype, counts, table, matrix) => {
    const tensors = await read(recorded(`bert-logit_${dtype}.mnn`));
    const counted: Record<string, number> = {};
    for (const tensor of tensors) counted[tensor.dtype] = (counted[tensor.dtype] ?? 0) + 1;
    expect(counted).toEqual(counts);
    expect(tensors.find(({ name }) => name.startsWith("embeddings.word"))).toMatchObject({
      shape: [1400, 32],
      dtype: table,
    });
    expect(tensors).toContainEqual({ name: "head.1.output", shape: [1, 32], dtype: matrix });
    expect(tensors).toContainEqual({ name: "head.1.output.bias", shape: [1], dtype: "fp32" });
    expect(tensors).toContainEqual({ name: "embeddings.norm.output.gamma", shape: [32], dtype: "fp32" });
  });

  it("is not all there in a file that was cut off anywhere", async () => {
    const whole = recorded("bert-logit_int8.mnn");
    const cut = join(await newFolder(), "cut.mnn");
    const { size } = await stat(whole);
    // Of the last three bytes two are padding.
    await expect(read(whole)).resolves.toHaveLength(46);
    for (const bytes of [0, 3, 10, 500, 20_000, size - 70_000, size - 1000, size - 8, size - 3]) {
      await cp(whole, cut);
      await truncate(cut, bytes);
      await expect(read(cut), `${bytes} bytes`).rejects.toBeInstanceOf(IncompleteFileError);
    }
  });
});

/** A backend whose batches go through `change` on their way. */
function changed(
  inner: Backend,
  change: (batch: Batch, run: (batch: Batch) => Promise<RawOutput>) => Promise<RawOutput>,
): Backend {
  return {
    ...inner,
    load: async (request) => {
      const session = await inner.load(request);
      const dispose = (): Promise<void> => session.dispose();
      return {
        info: session.info,
        artifact: session.artifact,
        settings: session.settings,
        bounds: session.bounds,
        capabilities: session.capabilities,
        run: (batch, options) => change(batch, (one) => session.run(one, options)),
        dispose,
        [Symbol.asyncDispose]: dispose,
      };
    },
  };
}

describeWithPython("the gate", () => {
  describeWithAddon("with files that the converter made", () => {
    const convertTo = async (file: string, rest: Partial<ConvertOptions> = {}): Promise<unknown> => {
      vi.stubEnv("PYTHONPATH", await pythonPackage("3.6.1", replay(recorded(file))));
      return convert(await toMnn("bert-logit", { python: "python3", ...rest }));
    };

    it("refuses what came of torch's export, which looks sound and scores wrongly", async () => {
      const error = await failure(convertTo("bert-logit_torch-export.mnn"));
      expect(error).toBeInstanceOf(ConversionNotFaithfulError);
      const { verification, ...facts } = error as ConversionNotFaithfulError;
      expect(facts).toMatchObject({
        format: "mnn",
        dtype: "fp32",
        against: "source",
        batches: "one row at a time",
      });
      expect(verification.summary.maximum).toBeGreaterThan(1);
      expect(verification.summary.nonFinite).toBe(0);
      expect(error.message).toMatch(
        / as mnn fp32 \(one row at a time\) does not give what its weights give: /,
      );
      expect(await readdir(dirname(output))).toEqual([]);
    });

    it("tries one row at a time, then padded batches, then the backend's own, in the same session", async () => {
      const shapes: string[] = [];
      let loads = 0;
      const inner = changed(backend(), (batch, run) => {
        const padded = batch.lengths.some((length) => length < batch.columns);
        shapes.push(batch.rows === 1 ? "one" : padded ? "padded" : "even");
        return run(batch);
      });
      const counting: Backend = {
        ...inner,
        load: (request) => {
          loads += 1;
          return inner.load(request);
        },
      };
      const { verifications } = (await convertTo("bert-logit_fp32.mnn", { backend: counting })) as Awaited<
        ReturnType<typeof convert>
      >;
      expect(verifications.map(({ against, batches }) => [against, batches])).toEqual([
        ["source", "one row at a time"],
        ["source", "padded batches"],
        ["source", undefined],
        ["golden.json", "one row at a time"],
        ["golden.json", "padded batches"],
        ["golden.json", undefined],
      ]);
      expect(loads).toBe(1);
      expect(shapes.slice(0, 11)).toEqual(new Array<string>(11).fill("one"));
      expect(shapes.indexOf("padded")).toBeGreaterThan(0);
      expect(shapes.filter((shape) => shape === "padded").length).toBeGreaterThan(10);
    });

    it.each([
      [
        "a runtime that takes padding for text",
        (): Backend =>
          changed(backend(), (batch, run) =>
            run({ ...batch, attentionMask: new Int32Array(batch.attentionMask.length).fill(1) }),
          ),
      ],
      [
        "a runtime that keeps to the shape of its first batch",
        (): Backend =>
          changed(backend(), async (batch, run) => {
            const result = await run(batch);
            const width = result.data.length / batch.rows;
            const data = result.data.map((_, place) => result.data[place % width] ?? Number.NaN);
            return { ...result, data } as RawOutput;
          }),
      ],
    ])("refuses %s, which single rows do not show", async (_, faulty) => {
      const error = await failure(convertTo("bert-logit_fp32.mnn", { backend: faulty() }));
      expect(error).toBeInstanceOf(ConversionNotFaithfulError);
      expect(error).toMatchObject({ against: "source", batches: "padded batches" });
      expect(error.message).toMatch(/ as mnn fp32 \(padded batches\) does not give/);
    });
  });
});

describeWithConverter("a model by MNN's own converter", () => {
  const converted: readonly (readonly [name: string, dtypes: readonly string[]])[] = [
    ["bert-logit", ["fp32", "fp16", "int8"]],
    ["bert-cosine-mean", ["fp32"]],
    ["modernbert-mean", ["fp16"]],
    ["xlm-roberta-logit", ["int8"]],
  ];
  it.each(sampleOf(converted, { name: "converted", every: 3 }))("%s in %s", async (name, dtypes) => {
    let goldens: ConvertOptions["goldens"];
    for (const dtype of dtypes) {
      const file = `mnn/model${dtype === "fp32" ? "" : `_${dtype}`}.mnn`;
      const conversion = await convert(await toMnn(name, { dtype, goldens }));
      ({ goldens } = conversion);
      const { provenance, verifications } = conversion;
      expect(provenance.files.map(({ path }) => path)).toEqual([file]);
      expect(provenance.converter.tools).toEqual({
        MNN: expect.stringMatching(/^3\.6\./),
        python: expect.stringMatching(/^3\./),
      });
      expect(verifications.map(({ verification }) => verification.passed)).toEqual(new Array(6).fill(true));
      const other = Object.entries(provenance.otherPrecision);
      if (dtype === "int8") expect(other).toContainEqual(["embeddings.word", "fp32"]);
      else expect(other).toEqual([]);
    }
    const made = await readdir(join(output, "mnn"));
    expect(made.length).toBe(dtypes.length);
    const { artifacts } = JSON.parse(await readFile(join(output, "provenance.json"), "utf8")) as {
      artifacts: ArtifactProvenance[];
    };
    expect(artifacts.map(({ dtype }) => dtype).sort()).toEqual([...dtypes].sort());
    expect(artifacts[0]?.verifications.map(({ batches }) => batches).slice(0, 3)).toEqual([
      "one row at a time",
      "padded batches",
      undefined,
    ]);
  });

  it("is right for DeBERTa in our backend: convert refuses it for what other programs' MNN makes of its batches", async () => {
    const { model } = await toMnn("deberta-v2-logit");
    const { profile } = await readProfile(model);
    const description = await describeModel(model, profile, {});
    const folder = await newFolder();
    const graph = join(folder, "model.onnx");
    await createOnnxWriter({ target: "mnn" }).write({
      files: model,
      description,
      profile,
      dtype: "fp32",
      path: graph,
      metadata: {},
    });
    const copy = join(folder, "copy");
    await cp(join(fixtures, "deberta-v2-logit"), copy, { recursive: true });
    await runConverter(
      await findConverter(undefined, undefined),
      ["-f", "ONNX", "--modelFile", graph, "--MNNModel", join(copy, "model.mnn"), "--bizCode", "crossrank"],
      { folder, signal: undefined },
    );
    const goldens = (await readGoldens(model)) ?? expect.fail("no goldens");
    expect((await verify({ model: await openModel(copy), backend: backend(), goldens })).passed).toBe(true);
  });
});

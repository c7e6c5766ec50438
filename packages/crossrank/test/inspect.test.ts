import { cp, readdir, readFile, stat, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { readProfile, type TemplatePiece } from "@crossrank/core";
import {
  createLateEncoder,
  createListEncoder,
  createPairEncoder,
  createTextTokenizer,
} from "@crossrank/core/encoding";
import { openModel } from "@crossrank/hub";
import { describe, expect, it } from "vitest";
import { sampleOf } from "../../../test/sample.js";
import { conformanceFixture, crossrankInTurn as crossrank, fixture, temporaryFolder } from "./run-command.js";

const folder = temporaryFolder();

interface Token {
  readonly token: string;
  readonly id: number;
  readonly segment: number;
  readonly piece: string;
  readonly position: number;
}

interface InspectionOutput {
  readonly model: { readonly id: string; readonly revision: string | null };
  readonly profile: Readonly<Record<string, unknown>>;
  readonly sources: Readonly<Record<string, string>>;
  readonly scale: string;
  readonly precisions: readonly { readonly dtype: string; readonly path: string }[];
  readonly defaultDtype: string | null;
  readonly artifacts: readonly {
    readonly backend: string;
    readonly path: string;
    readonly taken: string;
    readonly reason: string | null;
    readonly description: {
      readonly dtype?: string;
      readonly facts: Readonly<Record<string, string>>;
      readonly inputs: readonly { readonly name: string }[];
    } | null;
  }[];
  readonly example: {
    readonly query: string;
    readonly document: string;
    readonly otherDocument: string;
    readonly sequences: readonly { readonly encodes: string; readonly tokens: readonly Token[] }[];
  };
  readonly files: readonly { readonly path: string; readonly size: number }[];
}

async function inspectJson(...args: readonly string[]): Promise<InspectionOutput> {
  const { code, stdout, stderr } = await crossrank(["inspect", ...args, "--format", "json"]);
  expect({ code, stderr }).toEqual({ code: 0, stderr: "" });
  return JSON.parse(stdout) as InspectionOutput;
}

describe("inspect", () => {
  it("prints the profile with its sources, precisions and files, as JSON", async () => {
    const model = fixture("cross-encoder");
    const reading = await readProfile(await openModel(model));
    const output = await inspectJson(model);
    expect(output.profile).toEqual(reading.profile);
    expect(output.sources).toEqual(reading.sources);
    expect(output).toMatchObject({
      model: { id: model, revision: null },
      scale: "logit",
      defaultDtype: "fp32",
    });
    expect(output.precisions).toEqual([{ backend: "onnx", dtype: "fp32", path: "onnx/model.onnx" }]);
    const names = (await readdir(model, { recursive: true, withFileTypes: true })).filter((entry) =>
      entry.isFile(),
    );
    expect(output.files).toHaveLength(names.length);
    const { size } = await stat(join(model, "onnx", "model.onnx"));
    expect(output.files.find(({ path }) => path === "onnx/model.onnx")?.size).toBe(size);
  });

  it("encodes the example as the model will get it", async () => {
    const model = fixture("cross-encoder");
    const { profile, tokenizerJson } = await readProfile(await openModel(model));
    const { example } = await inspectJson(model);
    const encoder = createPairEncoder(createTextTokenizer(tokenizerJson, model), profile);
    const expected = encoder.encodePair(encoder.encodeQuery(example.query), example.document);
    const [sequence] = example.sequences;
    expect(sequence?.encodes).toBe("pair");
    expect(sequence?.tokens.map(({ id }) => id)).toEqual([...expected.ids]);
    expect(sequence?.tokens.map(({ segment }) => segment)).toEqual([...expected.segmentIds]);
    const pieces = sequence?.tokens
      .map(({ piece }) => piece)
      .filter((piece, at, all) => piece !== all[at - 1]);
    expect(pieces).toEqual(["[CLS]", "query", "[SEP]", "document", "[SEP]"]);
    const words = sequence?.tokens.filter(({ piece }) => piece === "document").map(({ token }) => token);
    expect(words?.join(" ")).toBe("paris is the capital of france .");
  });

  it("shows query and document of a bi-encoder apart", async () => {
    const { example, scale } = await inspectJson(fixture("bi-encoder"));
    expect(scale).toBe("cosine");
    expect(example.sequences.map(({ encodes }) => encodes)).toEqual(["query", "document"]);
    for (const { encodes, tokens } of example.sequences) {
      expect(tokens.map(({ piece }) => piece)).toContain(encodes);
      expect(tokens.at(-1)?.token).toBe("[SEP]");
    }
  });

  it("lists every precision, the default first where there is none in the profile", async () => {
    const model = folder.path("precisions");
    await cp(fixture("cross-encoder"), model, { recursive: true });
    await cp(join(model, "onnx", "model.onnx"), join(model, "onnx", "model_quantized.onnx"));
    await cp(join(model, "onnx", "model.onnx"), join(model, "onnx", "model_int8.onnx"));
    const plain = await inspectJson(model);
    expect(plain.precisions.map(({ dtype }) => dtype)).toEqual(["fp32", "int8", "q8"]);
    expect(plain.defaultDtype).toBe("fp32");
    await writeFile(join(model, "crossrank.json"), '{ "defaultDtype": "int8" }');
    const chosen = await inspectJson(model);
    expect(chosen.defaultDtype).toBe("int8");
    expect(chosen.sources["defaultDtype"]).toBe("crossrank.json");
    const { stdout } = await crossrank(["inspect", model]);
    expect(stdout).toMatch(/^ {2}int8 +onnx\/model_int8\.onnx +[\d.]+ kB +default$/m);
  });

  it("shows facts, sources, the template with ids, and files in its table", async () => {
    const { code, stdout, stderr } = await crossrank(["inspect", fixture("cross-encoder-two-class")]);
    expect({ code, stderr }).toEqual({ code: 0, stderr: "" });
    expect(stdout).toMatch(/^ {2}family +cross-encoder +config\.json architectures$/m);
    expect(stdout).toMatch(/^ {2}head +two-class: logit 1 − logit 0 +config\.json id2label$/m);
    expect(stdout).toMatch(/^ {2}max length +128 tokens, 3 of them special +/m);
    expect(stdout).toMatch(
      /^ {2}template +\[CLS\] 2 · query · \[SEP\] 3 · document · \[SEP\] 3 +tokenizer\.json post_processor$/m,
    );
    expect(stdout).toMatch(/^ {2}\[CLS\] +segment 0 {2}2$/m);
    expect(stdout).toMatch(/^ {2}document +segment 1 {2}paris \d+ · is \d+ · /m);
    expect(stdout).toMatch(/^ {2}onnx\/model\.onnx +[\d.]+ kB$/m);
  });

  it("needs no weights", async () => {
    const model = folder.path("weightless");
    await cp(fixture("cross-encoder"), model, {
      recursive: true,
      filter: (source) => !source.endsWith(".onnx"),
    });
    const { precisions, defaultDtype } = await inspectJson(model);
    expect({ precisions, defaultDtype }).toEqual({ precisions: [], defaultDtype: null });
  });

  it("lists every file that a backend may run, with what its content is, and why it is not taken", async () => {
    const model = folder.path("artifacts");
    await cp(conformanceFixture("bert-logit"), model, { recursive: true });
    const graph = join(model, "onnx", "model.onnx");
    for (const name of ["model_O2.onnx", "model_quantized.onnx", "other.onnx"])
      await cp(graph, join(model, "onnx", name));
    const converted = await crossrank([
      "convert",
      model,
      "--to",
      "gguf",
      "--dtype",
      "F16",
      "--no-verify",
      "--output",
      folder.path("converted"),
    ]);
    expect(converted.code).toBe(0);
    const made = (await readdir(folder.path("converted"), { recursive: true })).find((path) =>
      path.endsWith(".gguf"),
    );
    await cp(join(folder.path("converted"), made as string), join(model, "anything.gguf"));
    const { artifacts, defaultDtype } = await inspectJson(model);
    const onnx = artifacts.filter(({ backend }) => backend === "onnx");
    expect(onnx.map(({ path }) => path).toSorted()).toEqual([
      ...["onnx/model.onnx", "onnx/model_O2.onnx", "onnx/model_quantized.onnx", "onnx/other.onnx"],
    ]);
    expect(onnx.filter(({ taken }) => taken === "default").map(({ path }) => path)).toEqual([
      "onnx/model.onnx",
    ]);
    for (const { taken, reason, description } of onnx) {
      expect(description).toMatchObject({ dtype: "fp32", facts: { opset: expect.any(String) } });
      expect(description?.inputs.map(({ name }) => name)).toContain("input_ids");
      expect(reason === null).toBe(taken === "default");
    }
    const [gguf] = artifacts.filter(({ backend }) => backend === "llamacpp");
    expect(gguf).toMatchObject({ path: "anything.gguf", taken: "default", description: { dtype: "F16" } });
    expect(gguf?.description?.facts).toMatchObject({
      architecture: "bert",
      tensors: expect.stringMatching(/F16/),
    });
    expect(defaultDtype).toBe("fp32");
    const { stdout } = await crossrank(["inspect", model]);
    expect(stdout).toMatch(/^ {4}its content: fp32, opset \d+/m);
    expect(stdout).toMatch(/^ {4}its content: F16, architecture bert/m);
  });

  it("says what the weights are where no backend reads them", async () => {
    const model = folder.path("openvino");
    await cp(fixture("cross-encoder"), model, {
      recursive: true,
      filter: (source) => !/\.(onnx|safetensors)$/.test(source),
    });
    await writeFile(join(model, "openvino_model.xml"), '<?xml version="1.0"?>\n<net name="model">');
    await writeFile(join(model, "openvino_model.bin"), "x");
    await writeFile(join(model, "README.md"), "---\nbase_model: some/reranker\n---\n");
    const { stdout } = await crossrank(["inspect", model]);
    expect(stdout).toMatch(
      /^ {2}none: openvino_model\.xml, openvino_model\.bin: OpenVINO files are not read\. .*some\/reranker/m,
    );
  });

  it("reads a graph of one logit as a cross-encoder, whatever config.json calls its body", async () => {
    const model = folder.path("body");
    await cp(conformanceFixture("bert-logit"), model, { recursive: true });
    const config = JSON.parse(await readFile(join(model, "config.json"), "utf8")) as object;
    await writeFile(
      join(model, "config.json"),
      JSON.stringify({ ...config, architectures: ["OwnModel"], id2label: null }),
    );
    const { profile, sources } = await inspectJson(model);
    expect(profile["head"]).toEqual({ kind: "logit" });
    expect(sources["head"]).toMatch(/onnx\/model\.onnx/);
  });

  it("takes --profile into account, and names it as the source", async () => {
    const profile = await folder.write("profile.json", '{ "maxLength": 64 }');
    const output = await inspectJson(fixture("cross-encoder"), "--profile", profile);
    expect(output.profile["maxLength"]).toBe(64);
    expect(output.sources["maxLength"]).toBe("given by the caller");
  });

  it.each([
    ["{}", 0],
    ['{ "maxLenght": 64 }', 1],
  ])("checks --profile: %s", async (content, expected) => {
    const profile = await folder.write("checked.json", content);
    const { code, stderr } = await crossrank(["inspect", fixture("cross-encoder"), "--profile", profile]);
    expect(code).toBe(expected);
    if (expected !== 0)
      expect(stderr).toMatch(/^crossrank: --profile .*checked\.json is not a valid profile.*\n$/);
  });
});

const families = (await readdir(conformanceFixture(""), { withFileTypes: true }))
  .filter((entry) => entry.isDirectory())
  .map(({ name }) => name);

describe("inspect of every family", () => {
  it("is about all of them", () => {
    expect(families.length).toBeGreaterThanOrEqual(17);
  });

  it.each(sampleOf(families, { name: "families", every: 2 }))(
    "shows %s: profile, sources, and an example with the ids that the model gets",
    async (name) => {
      const model = conformanceFixture(name);
      const { profile, sources, tokenizerJson } = await readProfile(await openModel(model));
      const output = await inspectJson(model);
      expect(output.profile).toEqual(JSON.parse(JSON.stringify(profile)));
      expect(output.sources).toEqual(sources);
      const tokenizer = createTextTokenizer(tokenizerJson, model);
      const { query, document, otherDocument } = output.example;
      const { queryPrefix, documentPrefix, listTemplate, lateTemplate, maxLength, instruction } = profile;
      const texts = { query: queryPrefix + query, document: documentPrefix + document };
      const encoder = createPairEncoder(tokenizer, profile);
      const [expected] =
        listTemplate !== undefined
          ? [
              ...(() => {
                const list = createListEncoder(tokenizer, listTemplate, maxLength);
                const cut = [texts.document, documentPrefix + otherDocument].map((one) =>
                  list.cutDocument(one),
                );
                return list.encodeList(texts.query, cut);
              })(),
            ].map(({ sequence }) => sequence)
          : lateTemplate !== undefined
            ? [createLateEncoder(tokenizer, lateTemplate, maxLength).encodeQuery(texts.query)]
            : profile.family === "bi-encoder"
              ? [encoder.encodeSingle(texts.query)]
              : [encoder.encodePair(encoder.encodeQuery(texts.query, instruction), texts.document)];
      const [shown] = output.example.sequences;
      expect(shown?.tokens.map(({ id }) => id)).toEqual([...(expected?.ids ?? [])]);
      expect(shown?.tokens.length).toBeGreaterThan(4);
      for (const { tokens } of output.example.sequences) {
        const positions = tokens.map(({ position }) => position);
        expect(positions).toEqual(positions.toSorted((a, b) => a - b));
        expect(new Set(tokens.map(({ token }) => token)).has("")).toBe(false);
      }
      const readable = output.example.sequences
        .flatMap(({ tokens }) => tokens)
        .filter(({ piece }) => piece === "document")
        .map(({ token }) => token.replaceAll(/##|[▁Ġ]/g, "").toLowerCase());
      expect(readable.join("")).toContain("parisisthecapitaloffrance");

      const { code, stdout, stderr } = await crossrank(["inspect", model]);
      expect({ code, stderr }).toEqual({ code: 0, stderr: "" });
      expect(stdout).toMatch(new RegExp(`^ {2}family +${profile.family} +\\S`, "m"));
      expect(stdout).toMatch(new RegExp(`^ {2}head +${profile.head.kind}: .+ {2}\\S`, "m"));
      expect(stdout).toMatch(/^example, \d+ tokens: /m);
      const special = [
        ...profile.pairTemplate,
        ...(profile.family === "bi-encoder" ? profile.singleTemplate : []),
        ...(listTemplate === undefined ? [] : [...listTemplate.before, ...listTemplate.item]),
        ...(lateTemplate === undefined ? [] : [...lateTemplate.query, ...lateTemplate.document]),
      ].filter((piece): piece is TemplatePiece & { id: number } => "id" in piece);
      for (const { token, id } of special as readonly { token: string; id: number }[])
        expect(stdout).toContain(`${token.trim()} ${id}`);
    },
  );

  it("shows how late interaction reads texts: markers, expansion, what is attended and what is not compared", async () => {
    const model = conformanceFixture("bert-late");
    const { stdout } = await crossrank(["inspect", model]);
    const from = "config_sentence_transformers\\.json";
    expect(stdout).toMatch(
      new RegExp(
        `^ {2}query template +\\[CLS\\] 5 · \\[Q\\] 1400 · query .* at most 20 tokens +${from}$`,
        "m",
      ),
    );
    expect(stdout).toMatch(
      new RegExp(
        `^ {2}query expansion +with \\[MASK\\] 7 to 20 tokens, which the query does not attend to +${from}$`,
        "m",
      ),
    );
    expect(stdout).toMatch(/^ {2}not compared +of a document: ".*"\.".*$/m);
    const { stdout: json } = await crossrank([
      "inspect",
      model,
      ...["--query", "tea", "--document", "coffee"],
      "--format",
      "json",
    ]);
    const { sequences } = (
      JSON.parse(json) as { encoding: { sequences: { ids: number[]; attentionMask: number[] }[] } }
    ).encoding;
    const [ofQuery, ofDocument] = sequences;
    expect(ofQuery?.ids.slice(-2)).toEqual([7, 7]);
    expect(ofQuery?.attentionMask).toHaveLength(20);
    const attended = ofQuery?.attentionMask.filter((one) => one === 1).length;
    expect(ofQuery?.attentionMask.slice(0, attended)).not.toContain(0);
    expect(ofQuery?.ids[attended as number]).toBe(7);
    expect(ofDocument?.attentionMask).not.toContain(0);
  });

  it("shows a prompt piece by piece, and its answer tokens", async () => {
    const model = conformanceFixture("qwen3-yes-no");
    const { stdout } = await crossrank(["inspect", model]);
    expect(stdout).toMatch(
      /^ {2}head +answer-tokens: logit of "yes" \d+ − logit of "no" \d+ +1_LogitScore\//m,
    );
    expect(stdout).toMatch(/^ {2}instruction +"Given a web search query, .*" unless another is given +/m);
    expect(stdout).toMatch(/^template of a pair, from chat_template\.jinja$/m);
    expect(stdout).toMatch(/^template with an instruction, from chat_template\.jinja$/m);
    expect(stdout).toMatch(/^ {2}token +<\|im_start\|> \d+$/m);
    expect(stdout).toMatch(/^ {2}wording +"system\\nJudge whether the Document meets .*"$/m);
    expect(stdout).toMatch(/^ {2}"system\\nJudge whether .*… +segment 0 +.* · … \d+ more$/m);
  });

  it("shows a second example with an instruction where the model takes one and has none of its own", async () => {
    const { example } = await inspectJson(conformanceFixture("qwen2-one-zero"));
    expect(example.sequences.map(({ encodes }) => encodes)).toEqual(["pair", "instructed pair"]);
    expect(example.sequences[1]?.tokens.map(({ piece }) => piece)).toContain("instruction");
  });

  it("says so where the maximum length cuts the example or has no room for it", async () => {
    const cut = await folder.write("cut.json", '{ "maxLength": 20 }');
    const { stdout } = await crossrank(["inspect", conformanceFixture("bert-logit"), "--profile", cut]);
    expect(stdout).toMatch(/^example, 20 tokens: /m);
    expect(stdout).toMatch(/^ {2}cut to 20 tokens$/m);
    const none = await folder.write("none.json", '{ "maxLength": 90 }');
    const prompt = await crossrank(["inspect", conformanceFixture("qwen3-yes-no"), "--profile", none]);
    expect(prompt.code).toBe(0);
    expect(prompt.stdout).toMatch(/the template alone needs|does not fit into 90 tokens/);
  });
});

describe("doctor", () => {
  it("reports the machine and every backend, as JSON", async () => {
    const { code, stdout, stderr } = await crossrank(["doctor", "--format", "json"], {
      environment: { HF_HUB_CACHE: folder.path("hub"), HF_HUB_OFFLINE: "1" },
    });
    expect({ code, stderr }).toEqual({ code: 0, stderr: "" });
    const report = JSON.parse(stdout) as Record<string, unknown>;
    expect(report).toMatchObject({
      node: process.versions.node,
      platform: process.platform,
      architecture: process.arch,
      cache: { folder: folder.path("hub"), offline: true },
      backends: [
        {
          name: "onnx",
          package: "@crossrank/backend-onnx",
          available: true,
          runtime: { name: "onnxruntime-node", version: expect.stringMatching(/^\d+\.\d+/) },
        },
        {
          name: "llamacpp",
          package: "@crossrank/backend-llamacpp",
          available: true,
          runtime: { name: "node-llama-cpp", version: expect.stringMatching(/^\d+\.\d+/) },
        },
        // Whose addon may not have been built here.
        { name: "mnn", package: "@crossrank/backend-mnn", detail: expect.any(String) },
        process.platform === "darwin"
          ? { name: "coreml", package: "@crossrank/backend-coreml", detail: expect.any(String) }
          : {
              name: "coreml",
              package: "@crossrank/backend-coreml",
              available: false,
              runtime: null,
              detail: expect.stringMatching(/^Core ML is on macOS only; coreml:reference /),
            },
        ...["coreml:reference", "coreml:reference-half"].map((name) => ({
          name,
          package: "@crossrank/backend-coreml",
          available: true,
          runtime: { name: expect.stringMatching(/^Core ML reference \(on onnxruntime-node/) },
        })),
        { name: "mlx", package: "@crossrank/backend-mlx", detail: expect.any(String) },
        { name: "ctranslate2", package: "@crossrank/backend-ctranslate2", detail: expect.any(String) },
      ],
    });
    expect(report["cores"]).toBeGreaterThan(0);
    expect((report["memory"] as { total: number }).total).toBeGreaterThan(0);
  });

  it("reports the same in a table", async () => {
    const { code, stdout } = await crossrank(["doctor"]);
    expect(code).toBe(0);
    expect(stdout).toMatch(/^node +\d+\./m);
    expect(stdout).toMatch(/^downloads +off/m);
    expect(stdout).toMatch(/^ {2}onnx +works +onnxruntime-node /m);
    expect(stdout).toMatch(/^ {2}llamacpp +works +node-llama-cpp /m);
    expect(stdout).toMatch(/^ {2}mnn +(works +MNN 3\.6\.|does not work )/m);
  });
});

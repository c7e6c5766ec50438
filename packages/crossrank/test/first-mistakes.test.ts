import { coreml } from "@crossrank/backend-coreml";
import { llamacpp } from "@crossrank/backend-llamacpp";
import { mnn } from "@crossrank/backend-mnn";
import { onnx } from "@crossrank/backend-onnx";
import { InvalidInputError } from "@crossrank/core";
import { openDataset, openModel } from "@crossrank/hub";
import { modelFolder } from "@crossrank/model-nano";
import { expect, it } from "vitest";
import { openReranker } from "../src/index.js";

type Loose = (...given: unknown[]) => unknown;

/** What the error says; its path comes first. */
async function refusal(attempt: () => unknown): Promise<string> {
  try {
    await attempt();
  } catch (error) {
    expect(InvalidInputError.isInstance(error), String(error)).toBe(true);
    return (error as Error).message;
  }
  throw new Error("nothing was refused");
}

const open = openReranker as unknown as Loose;
const chain =
  (variant: unknown): (() => unknown) =>
  () =>
    open("nano", { variants: [variant] });

/** What somebody writes, and what the error says. */
const mistakes: readonly (readonly [string, () => unknown, RegExp])[] = [
  ["no model", () => open(), /^model is missing: write openReranker\("nano"\)/],
  ["null", () => open(null), /^model is missing/],
  [
    "one object",
    () => open({ model: "nano", backend: "onnx" }),
    /^model stands before the options: write openReranker\("nano"/,
  ],
  [
    "files not awaited",
    () => open(openModel(modelFolder)),
    /^model is a promise: write model: await openModel/,
  ],
  ["openModel itself", () => open(openModel), /^model is a function: call it/],
  ["a backend for options", () => open("nano", "onnx"), /^options must be an object, not string$/],
  [
    "a factory uncalled",
    () => open("nano", { backend: onnx }),
    /^backend is a function that makes one: call it, as in backend: onnx\(\)$/,
  ],
  [
    "a backend not awaited",
    () => open("nano", { backend: Promise.resolve(onnx()) }),
    /^backend is a promise: await it$/,
  ],
  ["a number", () => open("nano", { backend: 1 }), /^backend must be a backend, not number/],
  [
    "topK",
    () => open("nano", { topK: 3 }),
    /^topK is not an option of openReranker: topN is an option of rerank$/,
  ],
  [
    "maxlength",
    () => open("nano", { maxlength: 128 }),
    /^maxlength is not an option of openReranker: write maxLength$/,
  ],
  ["max_length", () => open("nano", { max_length: 128 }), /: write maxLength$/],
  ["worker", () => open("nano", { worker: 2 }), /: write workers$/],
  ["numThreads", () => open("nano", { numThreads: 2 }), /: write threads$/],
  ["device", () => open("nano", { device: "cpu" }), /: write backend$/],
  ["quantized", () => open("nano", { quantized: true }), /: write dtype, e\.g\. dtype: "int8"$/],
  ["cache_dir", () => open("nano", { cache_dir: "x" }), /: write cacheFolder$/],
  ["local_files_only", () => open("nano", { local_files_only: true }), /: write offline$/],
  ["lockFile", () => open("nano", { lockFile: "x" }), /: write lock$/],
  ["timeout", () => open("nano", { timeout: 100 }), /: write timeBudget$/],
  ["progress_callback", () => open("nano", { progress_callback: () => {} }), /: write onProgress$/],
  ["isolation", () => open("nano", { isolation: "thread" }), /: it is an option of the backend/],
  ["no variants", () => open("nano", { variants: {} }), /^variants must be an array/],
  ["a variant by name", chain("onnx"), /^variants\[0\] must be an object/],
  [
    "a variant's option",
    chain({ backend: "onnx", maxlength: 3 }),
    /^variants\[0\]\.maxlength .*: write maxLength$/,
  ],
  ["a variant's factory", chain({ backend: onnx }), /^variants\[0\]\.backend is a function that makes one/],
  ["a variant's model", chain({ model: openModel(modelFolder) }), /^variants\[0\]\.model is a promise/],
  [
    "openModel without a name",
    () => (openModel as Loose)(),
    /^source must be a folder's path or a repository id .*not undefined$/,
  ],
  ["openModel of nano", () => openModel("nano"), /openReranker\("nano"\)/],
  [
    "openModel's options",
    () => (openModel as Loose)(modelFolder, { cacheDir: "x" }),
    /^cacheDir is not an option of openModel: write cacheFolder$/,
  ],
  ["openModel's lock", () => (openModel as Loose)(modelFolder, { lock: "x" }), /: write lockFile$/],
  ["openModel's token", () => (openModel as Loose)(modelFolder, { api_key: "x" }), /: write token$/],
  [
    "openDataset's options",
    () => (openDataset as Loose)(modelFolder, { branch: "x" }),
    /^branch is not an option of openDataset: write revision$/,
  ],
  [
    "onnx: worker",
    () => (onnx as Loose)({ worker: 2 }),
    /^worker is not an option of onnx\(\): write workers$/,
  ],
  ["onnx: numThreads", () => (onnx as Loose)({ numThreads: 2 }), /: write threads$/],
  ["onnx: device", () => (onnx as Loose)({ device: "cuda" }), /: write executionProviders$/],
  [
    "onnx: dtype",
    () => (onnx as Loose)({ dtype: "int8" }),
    /: it is an option of createReranker and openReranker$/,
  ],
  ["onnx: batchSize", () => (onnx as Loose)({ batchSize: 8 }), /: write batch$/],
  [
    "onnx: batch's rows",
    () => (onnx as Loose)({ batch: { size: 8 } }),
    /^batch\.size is not an option of batch: write rows$/,
  ],
  [
    "onnx: deadlines",
    () => (onnx as Loose)({ deadlines: { laod: 8 } }),
    /^deadlines\.laod is not an option of deadlines: write load$/,
  ],
  ["onnx: a string", () => (onnx as Loose)("cuda"), /^options must be an object, not string$/],
  ["onnx: null", () => (onnx as Loose)(null), /^options must be an object/],
  [
    "mnn: workers",
    () => (mnn as Loose)({ workers: 2 }),
    /^workers is not an option of mnn\(\): write sessions$/,
  ],
  ["mnn: numThread", () => (mnn as Loose)({ numThread: 2 }), /: write threads$/],
  ["llamacpp: workers", () => (llamacpp as Loose)({ workers: 2 }), /: write contexts$/],
  ["llamacpp: n_gpu_layers", () => (llamacpp as Loose)({ gpuLayers: 2 }), /: write gpu$/],
  [
    "llamacpp: flash_attention",
    () => (llamacpp as Loose)({ flash_attention: true }),
    /: write flashAttention$/,
  ],
  [
    "model in the options",
    () => open("nano", { model: "a/b" }),
    /: the model stands before the options, as in openReranker\(model/,
  ],
  ["a list for options", () => open("nano", []), /^options must be an object, not an array$/],
  ["a map for options", () => open("nano", new Map()), /^options must be an object, not a Map$/],
  ["null for options", () => open("nano", null), /^options must be an object, not null$/],
  ["a made backend for options", () => open("nano", onnx()), /^options must be an object, not a backend$/],
  ["a controller", () => open("nano", { signal: new AbortController() }), /write controller\.signal$/],
  ["dtype: 8", () => open("nano", { dtype: 8 }), /^dtype must be a string that is not empty, not number$/],
  ["dtype: empty", () => open("nano", { dtype: "" }), /^dtype must be a string that is not empty, not ""$/],
  ["backend: empty", () => open("nano", { backend: "" }), /^backend is an empty string: write/],
  ["probe: no", () => open("nano", { probe: "no" }), /^probe must be true or false, not "no"$/],
  ["convert: no", () => open("nano", { convert: "no" }), /^convert must be true or false/],
  ["offline: yes", () => open("nano", { offline: "yes" }), /^offline must be true or false/],
  ["onNotice: 5", () => open("nano", { onNotice: 5 }), /^onNotice must be a function, not number$/],
  ["onConversion: log", () => open("nano", { onConversion: "log" }), /^onConversion must be a function/],
  ["file: 5", () => open("nano", { file: 5 }), /^file must be a string that is not empty, not number$/],
  ["cacheFolder: 5", () => open("nano", { cacheFolder: 5 }), /^cacheFolder must be a string/],
  ["base: 5", () => open("nano", { base: 5 }), /^base must be a string/],
  ["profile: a list", () => open("nano", { profile: [] }), /^profile must be an object, not an array$/],
  [
    "timeBudget: 100",
    () => open("nano", { timeBudget: 100 }),
    /^timeBudget must be an object, not number: write/,
  ],
  [
    "whenExhausted alone",
    () => open("nano", { whenExhausted: "throw" }),
    /: it is an option of openReranker with variants$/,
  ],
  [
    "signal of a chain",
    () => open("nano", { variants: [{ backend: "onnx" }], signal: AbortSignal.timeout(9999) }),
    /: it is an option of rerank and score$/,
  ],
  [
    "a variant's probe",
    chain({ backend: "onnx", probe: "no" }),
    /^variants\[0\]\.probe must be true or false/,
  ],
  ["a variant's dtype", chain({ dtype: 8 }), /^variants\[0\]\.dtype must be a string/],
  ["openModel: null", () => (openModel as Loose)(modelFolder, null), /^options must be an object, not null$/],
  [
    "openModel: offline",
    () => (openModel as Loose)(modelFolder, { offline: "true" }),
    /^offline must be true or false/,
  ],
  ["openModel: token", () => (openModel as Loose)(modelFolder, { token: 5 }), /^token must be a string/],
  ["openModel: retries", () => (openModel as Loose)(modelFolder, { retries: 3 }), /: write retry$/],
  [
    "openModel: retry",
    () => (openModel as Loose)(modelFolder, { retry: 3 }),
    /^retry must be an object, not number$/,
  ],
  [
    "openModel: retry's attempt",
    () => (openModel as Loose)(modelFolder, { retry: { attempt: 3 } }),
    /: write attempts$/,
  ],
  [
    "openModel: a controller",
    () => (openModel as Loose)(modelFolder, { signal: new AbortController() }),
    /write controller\.signal$/,
  ],
  [
    "openModel: files",
    () => (openModel as Loose)(modelFolder, { files: ["x"] }),
    /: each file is loaded when it is needed$/,
  ],
  [
    "openDataset: fetch",
    () => (openDataset as Loose)(modelFolder, { fetch: "x" }),
    /^fetch must be a function/,
  ],
  ["onnx: a list", () => (onnx as Loose)([]), /^options must be an object, not an array$/],
  ["onnx: files", async () => (onnx as Loose)(await openModel(modelFolder)), /not the files of a model$/],
  ["onnx: file", () => (onnx as Loose)({ file: 5 }), /^file must be a string/],
  ["onnx: gpu", () => (onnx as Loose)({ gpu: true }), /: write executionProviders$/],
  [
    "onnx: a provider",
    () => (onnx as Loose)({ executionProviders: "cpu" }),
    /must be an array: write \["cpu"\]$/,
  ],
  [
    "onnx: Python's provider",
    () => (onnx as Loose)({ executionProviders: ["CPUExecutionProvider"] }),
    /: write "cpu"$/,
  ],
  [
    "onnx: CUDA",
    () => (onnx as Loose)({ executionProviders: [{ name: "CUDA" }] }),
    /\[0\] is "CUDA": write "cuda"$/,
  ],
  [
    "onnx: no provider",
    () => (onnx as Loose)({ executionProviders: [null] }),
    /^executionProviders\[0\] must be/,
  ],
  [
    "onnx: a session's option",
    () => (onnx as Loose)({ graphOptimizationLevel: "all" }),
    /: write sessionOptions: \{ graphOptimizationLevel: … \}$/,
  ],
  [
    "onnx: a session's option misspelt",
    () => (onnx as Loose)({ sessionOptions: { graphOptimisationLevel: "all" } }),
    /^sessionOptions\.graphOptimisationLevel .*: write graphOptimizationLevel$/,
  ],
  [
    "onnx: a session's flag",
    () => (onnx as Loose)({ sessionOptions: { enableMemPattern: "no" } }),
    /^sessionOptions\.enableMemPattern must be true or false/,
  ],
  ["onnx: deadlines", () => (onnx as Loose)({ deadlines: 5 }), /^deadlines must be an object, not number$/],
  [
    "onnx: a count as text",
    () => (onnx as Loose)({ threads: "2" }),
    /^threads must be a whole number .*, not "2"$/,
  ],
  ["mnn: gpu", () => (mnn as Loose)({ gpu: true }), /: there are /],
  ["mnn: file", () => (mnn as Loose)({ file: 5 }), /^file must be a string/],
  ["llamacpp: batch", () => (llamacpp as Loose)({ batch: 8 }), /: there are /],
  [
    "llamacpp: a flag",
    () => (llamacpp as Loose)({ flashAttention: "yes" }),
    /^flashAttention must be true or false/,
  ],
  ["coreml: threads", () => (coreml as Loose)({ threads: 2 }), /: there are /],
  ["coreml: file", () => (coreml as Loose)({ file: 5 }), /^file must be a string/],
  ["coreml: compute_units", () => (coreml as Loose)({ compute_units: "all" }), /: write computeUnits$/],
];

it.each(mistakes)("%s", async (_, attempt, message) => {
  expect(await refusal(attempt)).toMatch(message);
});

it("correct options of every type are taken", async () => {
  class Options {
    readonly threads = 1;
    readonly probe = false;
  }
  const given = {
    ...{ offline: true, convert: false, dtype: "int8", signal: new AbortController().signal },
    ...{ onNotice: () => undefined, onProgress: () => undefined, profile: {} },
    timeBudget: { milliseconds: 60_000, whenExceeded: "partial" },
  };
  const reranker = await openReranker("nano", Object.assign(new Options(), given as object));
  expect((await reranker.rerank({ query: "a", documents: ["b"] })).results).toHaveLength(1);
  await reranker.dispose();
  await openModel(modelFolder, { offline: true, retry: { attempts: 2, longestDelay: 5 }, token: "" });
  onnx({
    ...{ executionProviders: ["cpu", { name: "cuda", deviceId: 1 }], batch: { rows: 2 }, file: "a.onnx" },
    sessionOptions: { graphOptimizationLevel: "basic", enableMemPattern: false, extra: { a: "b" } },
  });
});

it("what is undefined is no option", async () => {
  const reranker = await openReranker("nano", { topK: undefined, timeBudget: undefined } as object);
  expect((await reranker.rerank({ query: "a", documents: ["b"] })).results).toHaveLength(1);
  await reranker.dispose();
  (onnx as Loose)({ worker: undefined });
});

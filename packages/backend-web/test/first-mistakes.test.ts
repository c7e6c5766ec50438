import { createServer, type RequestListener } from "node:http";
import type { AddressInfo } from "node:net";
import { type FetchModelOptions, fetchModel, type WebOptions, web } from "@crossrank/backend-web";
import { afterAll, beforeEach, describe, expect, test } from "vitest";

let answer: RequestListener = (_, response) => void response.end();
const asked: string[] = [];
const server = createServer((request, response) => {
  asked.push(request.url ?? "");
  answer(request, response);
});
await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
const host = `127.0.0.1:${(server.address() as AddressInfo).port}`;
afterAll(() => {
  server.closeAllConnections();
  server.close();
});
beforeEach(() => {
  asked.length = 0;
  answer = (_, response) => void response.end("hello");
});

const files = [{ path: "a b.txt", size: 5 }];
const failure = (call: () => unknown): Promise<unknown> =>
  Promise.resolve()
    .then(call)
    .then(
      () => "nothing failed",
      (error: unknown) => error,
    );

describe("options of web()", () => {
  test.each<[unknown, string, RegExp]>([
    [null, "options", /object/],
    ["webgpu", "options", /object/],
    [{ device: "webgpu" }, "device", /not an option of web\(\)/],
    [{ executionProviders: ["webgpu"] }, "executionProviders", /executionProvider/],
    [{ executionProvider: "gpu" }, "executionProvider", /"webgpu"/],
    [{ thread: 2 }, "thread", /write threads/],
    [{ threads: 65 }, "threads", /64/],
    [{ threads: "2" }, "threads", /whole number/],
    [{ dtype: "int8" }, "dtype", /createReranker/],
    [{ topN: 1 }, "topN", /rerank/],
    [{ graphOptimisationLevel: "all" }, "graphOptimisationLevel", /graphOptimizationLevel/],
    [{ wasmPath: "/x" }, "wasmPath", /write wasmPaths/],
    [{ wasmPaths: { js: "x" } }, "wasmPaths.js", /wasm/],
    [{ wasmPaths: 5 }, "wasmPaths", /path/],
    [{ deadlines: { runs: 1 } }, "deadlines.runs", /write run/],
    [{ deadlines: 5 }, "deadlines", /object/],
    [{ deadlines: { run: 0 } }, "deadlines.run", /whole number/],
    [{ batch: { row: 2 } }, "batch.row", /write rows/],
    [{ batch: 4 }, "batch", /object/],
    [{ file: 5 }, "file", /\.onnx/],
    [{ file: "" }, "file", /\.onnx/],
    [{ worker: {} }, "worker", /function/],
  ])("%j", async (options, path, message) => {
    const error = await failure(() => web(options as WebOptions));
    expect(error).toMatchObject({ code: "invalid-input", path, message: expect.stringMatching(message) });
  });

  test("that are right are taken", () => {
    web();
    web({ threads: undefined, wasmPaths: undefined, deadlines: undefined });
    web({
      executionProvider: "webgpu",
      threads: 2,
      graphOptimizationLevel: "basic",
      wasmPaths: { wasm: "/a.wasm", mjs: "/a.mjs" },
      worker: () => new Worker("/worker.js"),
      file: "onnx/model.onnx",
      batch: { rows: 2, tokens: 100, padding: 0.5 },
      deadlines: { load: 1, run: 86_400_000, close: 5 },
    });
  });
});

describe("arguments of fetchModel()", () => {
  test.each<[unknown, string, RegExp]>([
    [null, "options", /object/],
    [{ maxbytes: 5 }, "maxbytes", /write maxBytes/],
    [{ maxBytes: "5" }, "maxBytes", /whole number/],
    [{ keeps: false }, "keeps", /write keep/],
    [{ keep: "no" }, "keep", /true or false/],
    [{ followRedirects: 1 }, "followRedirects", /true or false/],
    [{ revision: "x" }, "revision", /openModel/],
    [{ id: 5 }, "id", /text/],
    [{ signal: 5 }, "signal", /AbortSignal/],
    [{ signal: new AbortController() }, "signal", /AbortSignal/],
    [{ idleTimeout: 0 }, "idleTimeout", /whole number/],
    [{ files: files[0] }, "files", /array/],
  ])("%j", async (options, path, message) => {
    const given = options === null ? null : { files, ...(options as object) };
    const error = await failure(() => fetchModel(`http://${host}/m`, given as FetchModelOptions));
    expect(error).toMatchObject({ code: "invalid-input", path, message: expect.stringMatching(message) });
    expect(asked).toEqual([]);
  });

  test.each([undefined, null, 5, Promise.resolve("/m"), "ftp://host/m", "http://host:bad/"])(
    "address %s",
    async (address) => {
      const error = await failure(() => fetchModel(address as string, { files }));
      expect(error).toMatchObject({ code: "invalid-input", path: "address" });
    },
  );

  test("that are right are taken", async () => {
    const options = {
      files,
      id: "nano",
      keep: false,
      maxBytes: 5,
      followRedirects: true,
      idleTimeout: 60_000,
    };
    const signal = new AbortController().signal;
    const model = await fetchModel(new URL(`http://${host}/m`), { ...options, signal });
    expect(await model.readText("a b.txt")).toBe("hello");
    expect(model.id).toBe("nano");
  });
});

describe("what is secret in an address", () => {
  test("its query goes with every request, and into no message", async () => {
    answer = ({ url }, response) => {
      response.end(url?.includes("crossrank-files.json") ? JSON.stringify(files) : "hello, too long");
    };
    const model = await fetchModel(`http://${host}/m?sig=a%2Bb&x=1#part`);
    expect(model.id).toBe(`http://${host}/m/`);
    const error = (await failure(() => model.readText("a b.txt"))) as Error & { url: string };
    expect(asked).toEqual(["/m/crossrank-files.json?sig=a%2Bb&x=1", "/m/a%20b.txt?sig=a%2Bb&x=1"]);
    expect(error).toMatchObject({ code: "model-fetch", url: `http://${host}/m/a%20b.txt` });
    expect(error.message).not.toContain("sig");
  });

  test.each([
    `http://user:pass1@${host}/m`,
    `https://pass1@${host}/m`,
    "http://user:pass1@host:bad/m?sig=pass1",
    "http:///user:pass1@host:bad",
    "http:\\\\user:pass1@host:bad",
  ])("a password is refused and not repeated: %s", async (address) => {
    const error = (await failure(() => fetchModel(address, { files }))) as Error;
    expect(error).toMatchObject({ code: "invalid-input", path: "address" });
    expect(`${error.message} ${error.stack} ${JSON.stringify(error)}`).not.toContain("pass1");
    expect(error.cause).toBeUndefined();
    expect(asked).toEqual([]);
  });
});

describe("a server that stops", () => {
  const part: RequestListener = (_, response) => {
    response.writeHead(200, { "Content-Length": "5" });
    response.write("he");
  };

  test.each<[string, RequestListener]>([
    ["before it answers", () => undefined],
    ["after a part", part],
  ])("%s fails the call, for list and file", async (_, stalled) => {
    answer = stalled;
    const wanted = {
      code: "model-fetch",
      message: expect.stringMatching(/no byte came for 200 ms.*idleTimeout/),
    };
    expect(await failure(() => fetchModel(`http://${host}/m`, { idleTimeout: 200 }))).toMatchObject(wanted);
    const model = await fetchModel(`http://${host}/m`, { files, idleTimeout: 200 });
    expect(await failure(() => model.readText("a b.txt"))).toMatchObject(wanted);
    answer = (__, response) => void response.end("hello");
    expect(await model.readText("a b.txt")).toBe("hello");
  });

  test("and one that is only slow does not", async () => {
    answer = async (_, response) => {
      response.writeHead(200, { "Content-Length": "5" });
      for (const letter of "hello") {
        response.write(letter);
        await new Promise((resolve) => setTimeout(resolve, 700));
      }
      response.end();
    };
    const model = await fetchModel(`http://${host}/m`, { files, idleTimeout: 3000 });
    expect(await model.readText("a b.txt")).toBe("hello");
  });

  test("an abort is an abort", async () => {
    answer = part;
    const abort = new AbortController();
    const model = await fetchModel(`http://${host}/m`, { files });
    const reading = failure(() => model.readText("a b.txt", { signal: abort.signal }));
    setTimeout(() => abort.abort("enough"), 100);
    expect(await reading).toBe("enough");
  });
});

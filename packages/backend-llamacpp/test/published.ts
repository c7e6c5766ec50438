import { cp, mkdir, readdir, readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { brotliDecompressSync } from "node:zlib";
import { openFixtures } from "@crossrank/conformance";
import { temporaryFolder } from "./fixtures.js";

const folder = fileURLToPath(new URL("./fixtures/quantised/", import.meta.url));

/** Models as llama.cpp's own converter and quantiser made them, by lab/gguf/build_quantised.py. */
export interface PublishedModel {
  readonly config: Record<string, unknown>;
  /** Whose logits are in `scored`; none for a classifier. */
  readonly tokens: readonly number[];
  /** What transformers computes with the weights in float32. */
  readonly scored: readonly { readonly ids: readonly number[]; readonly logits: readonly number[] }[];
  readonly files: ReadonlyMap<string, Buffer>;
}

const sources: Readonly<Record<string, string>> = {
  "xlm-roberta": "xlm-roberta-logit",
  qwen3: "qwen3-yes-no",
  gemma3: "gemma-yes",
};

const opened = new Map<string, Promise<PublishedModel>>();

export function publishedModel(name: string): Promise<PublishedModel> {
  const model = opened.get(name) ?? unpack(name);
  opened.set(name, model);
  return model;
}

async function unpack(name: string): Promise<PublishedModel> {
  const packed = await readFile(join(folder, `${name}.br`));
  const bytes = brotliDecompressSync(packed, { maxOutputLength: 64 << 20 });
  const end = 4 + bytes.readUInt32LE();
  const index = JSON.parse(bytes.toString("utf8", 4, end)) as Omit<PublishedModel, "files"> & {
    readonly files: readonly { readonly dtype: string; readonly bytes: number }[];
  };
  const files = new Map<string, Buffer>();
  let at = end;
  for (const { dtype, bytes: length } of index.files) {
    files.set(dtype, bytes.subarray(at, at + length));
    at += length;
  }
  return { ...index, files };
}

/** A folder with the model's configuration, its fixture's tokenizer, and these files. */
export async function publishedFolder(
  name: string,
  { config }: PublishedModel,
  files: ReadonlyMap<string, Buffer>,
): Promise<string> {
  const place = await temporaryFolder();
  const [fixture] = openFixtures([sources[name] as string]);
  if (fixture === undefined) throw new Error(`no fixture for ${name}`);
  for (const { path } of await fixture.files.list()) {
    if (!/\.(json|jinja)$/.test(path) || /^(?:config|golden)\.json$/.test(path)) continue;
    await mkdir(join(place, path, ".."), { recursive: true });
    await cp(await fixture.files.localPath(path), join(place, path));
  }
  await writeFile(join(place, "config.json"), JSON.stringify(config));
  for (const [path, bytes] of files) await writeFile(join(place, path), bytes);
  if ((await readdir(place)).length < 3) throw new Error("the fixture has no tokenizer");
  return place;
}

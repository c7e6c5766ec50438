import { createHash } from "node:crypto";
import { createReadStream } from "node:fs";
import { readdir, stat } from "node:fs/promises";
import { join, relative, sep } from "node:path";
import { InvalidInputError, type ModelFile } from "@crossrank/core";
import { writeInWhole, writeWholeFile } from "@crossrank/disk";
import { listName, readFileList } from "./file-list.js";

/** What a page never reads: pictures and cards, and the model's weights for other runtimes; a head's own it does read. */
const neverRead =
  /(^|\/)\.|\.(md|gguf|mnn|mnn\.weight|png|jpg|pdf)$|^(pytorch_)?model[^/]*\.(safetensors|bin|h5|msgpack)$|^golden\.json$/i;

/**
 * Puts the files of a model where a web server gives them out, with the list that `fetchModel` reads. Files that are
 * there already and the same are left as they are.
 *
 * @param source folder of the model on this machine.
 * @param target folder to write, e.g. `"public/models/nano"`; made where it is not there.
 * @returns the list.
 * @throws {InvalidInputError} when the source has no config.json.
 */
export async function publishModel(source: string, target: string): Promise<readonly ModelFile[]> {
  if (!(await stat(join(source, "config.json")).catch(() => undefined))?.isFile()) {
    throw new InvalidInputError("source", `has no config.json: ${source} is no folder of a model`);
  }
  const paths = (await readdir(source, { recursive: true, withFileTypes: true }))
    .filter((entry) => entry.isFile() || entry.isSymbolicLink())
    .map((entry) => relative(source, join(entry.parentPath, entry.name)).split(sep).join("/"))
    .filter((path) => path !== listName && !neverRead.test(path))
    .sort();
  const files: ModelFile[] = [];
  for (const path of paths) {
    const from = join(source, path);
    const to = join(target, path);
    const { size } = await stat(from);
    const file = { path, size, sha256: await hashOf(from) };
    if (!(await isSame(to, file))) await writeInWhole(to, createReadStream(from));
    files.push(file);
  }
  readFileList(files, listName);
  await writeWholeFile(join(target, listName), `${JSON.stringify(files, null, 1)}\n`);
  return files;
}

async function isSame(path: string, { size, sha256 }: ModelFile): Promise<boolean> {
  const there = await stat(path).catch(() => undefined);
  return there?.size === size && (await hashOf(path)) === sha256;
}

async function hashOf(path: string): Promise<string> {
  const hash = createHash("sha256");
  for await (const chunk of createReadStream(path)) hash.update(chunk as Buffer);
  return hash.digest("hex");
}

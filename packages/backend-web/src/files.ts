import { createHash } from "node:crypto";
import { createReadStream } from "node:fs";
import { mkdir, readFile, realpath, stat } from "node:fs/promises";
import { join, posix, relative, sep } from "node:path";
import {
  CrossrankError,
  InvalidInputError,
  type ModelFile,
  type ModelFiles,
  type ProfileReading,
  readProfile,
} from "@crossrank/core";
import { hashFile, writeInWhole, writeWholeFile } from "@crossrank/disk";
import { readGraph, withLocalFile } from "@crossrank/formats/onnx";
import { openFolder } from "@crossrank/hub";
import { listName, readFileList } from "./file-list.js";

/** What a page never reads, but where the model itself names it: pictures and cards, and weights for other runtimes. */
const neverRead =
  /(^|\/)\.|\.(md|gguf|mnn|mnn\.weight|png|jpg|pdf)$|^(pytorch_)?model[^/]*\.(safetensors|bin|h5|msgpack)$|^golden\.json$/i;

const ownFacts = "crossrank.json";

/**
 * Puts the files of a model where a web server gives them out, with the list that `fetchModel` reads. Files that are
 * there already and the same are left as they are. What is known of the model by its card, or by what lies beside its
 * weights, is written into the `crossrank.json` there, so that the page reads the same of it as Node.js does here.
 *
 * @param source folder of the model on this machine.
 * @param target folder to write, e.g. `"public/models/nano"`; made where it is not there. Within the source it is no part
 *   of the model.
 * @returns the list.
 * @throws {InvalidInputError} when the source has no config.json.
 * @throws {UnsafePathError} when a link in the source leads out of it.
 * @throws {FileWriteError} when the system refuses to write.
 */
export async function publishModel(source: string, target: string): Promise<readonly ModelFile[]> {
  if (!(await stat(join(source, "config.json")).catch(() => undefined))?.isFile()) {
    throw new InvalidInputError("source", `has no config.json: ${source} is no folder of a model`);
  }
  const model = await openFolder(source);
  const listed = (await model.list()).map(({ path }) => path).filter((path) => path !== listName);
  const { profile, catalogue } = (await profileOf(model)) ?? {};
  await mkdir(target, { recursive: true });
  const inside = relative(await realpath(source), await realpath(target))
    .split(sep)
    .join("/");
  const isOfTarget = (path: string): boolean => inside !== "" && path.startsWith(`${inside}/`);
  const own = listed.filter((path) => !isOfTarget(path));
  const modules = profile !== undefined && "modules" in profile.head ? (profile.head.modules ?? []) : [];
  const named = new Set(modules.flatMap((module) => ("file" in module ? [module.file] : [])));
  for (const path of own.filter((one) => /\.onnx$/i.test(one))) {
    for (const file of await weightsOf(model, path)) named.add(file);
  }
  const facts =
    catalogue === undefined
      ? undefined
      : `${JSON.stringify({ ...catalogue.facts, ...(await statedFacts(model, own)) }, undefined, 2)}\n`;
  const files: ModelFile[] = [];
  for (const path of own) {
    if ((neverRead.test(path) && !named.has(path)) || (path === ownFacts && facts !== undefined)) continue;
    const from = await model.localPath(path);
    const to = join(target, path);
    const file = { path, size: (await stat(from)).size, sha256: await hashFile(from) };
    if (!(await isSame(to, file))) await writeInWhole(to, createReadStream(from));
    files.push(file);
  }
  if (facts !== undefined) {
    await writeWholeFile(join(target, ownFacts), facts);
    const sha256 = createHash("sha256").update(facts).digest("hex");
    files.push({ path: ownFacts, size: Buffer.byteLength(facts), sha256 });
    files.sort((left, right) => (left.path < right.path ? -1 : 1));
  }
  readFileList(files, listName);
  await writeWholeFile(join(target, listName), `${JSON.stringify(files, null, 1)}\n`);
  return files;
}

/**
 * Undefined where the files do not say what the model is. The page, which finds no more evidence in them, says so too, or
 * is told by its own call.
 */
async function profileOf(model: ModelFiles): Promise<ProfileReading | undefined> {
  try {
    return await readProfile(model);
  } catch (error) {
    if (CrossrankError.isInstance(error)) return undefined;
    throw error;
  }
}

/** What the model's own crossrank.json says. */
async function statedFacts(model: ModelFiles, listed: readonly string[]): Promise<object> {
  return listed.includes(ownFacts)
    ? (JSON.parse(await readFile(await model.localPath(ownFacts), "utf8")) as object)
    : {};
}

/** Where a graph says that its weights lie; of what is no graph nothing. */
async function weightsOf(model: ModelFiles, path: string): Promise<readonly string[]> {
  const graph = await withLocalFile(await model.localPath(path), readGraph).catch(() => undefined);
  return (graph?.external ?? []).map(({ location }) => posix.join(posix.dirname(path), location));
}

async function isSame(path: string, { size, sha256 }: ModelFile): Promise<boolean> {
  const there = await stat(path).catch(() => undefined);
  return there?.size === size && (await hashFile(path)) === sha256;
}

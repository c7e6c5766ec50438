import type { Backend } from "../contract/backend.js";
import { InvalidInputError } from "../contract/errors.js";
import type { ModelFiles } from "../contract/model-files.js";
import type { ScoreCache } from "../score-cache/score-cache.js";
import { nameOf } from "./option-types.js";

/** @throws {InvalidInputError} */
export function requireScoreCache(cache: ScoreCache | undefined, path: string): void {
  if (cache === undefined) return;
  const isCache =
    typeof cache === "object" &&
    cache !== null &&
    typeof cache.getMany === "function" &&
    typeof cache.setMany === "function";
  if (!isCache) throw new InvalidInputError(path, "must be a score cache: write createMemoryScoreCache()");
}

/** @throws {InvalidInputError} that says how files are had, by what was given in their place. */
export function requireModelFiles(model: ModelFiles, path = "model"): void {
  const given: unknown = model;
  const open = `await openModel("owner/name") of @crossrank/hub`;
  if (typeof given === "string") {
    const name = JSON.stringify(given.slice(0, 80));
    throw new InvalidInputError(
      path,
      `must be the files of a model, not its name: call openReranker(${name}) of crossrank, or write ` +
        (given === "nano"
          ? `${path}: await openModel(modelFolder), with modelFolder of @crossrank/model-nano`
          : `${path}: await openModel(${name}) of @crossrank/hub`),
    );
  }
  if (isPromise(given)) {
    throw new InvalidInputError(path, `is a promise: write ${path}: await openModel(…)`);
  }
  if (typeof given === "function") {
    throw new InvalidInputError(
      path,
      `is a function: call it, and await what it gives, as in ${path}: ${open}`,
    );
  }
  if (typeof given !== "object" || given === null) {
    const found = given === undefined ? "is missing" : `must be the files of a model, not ${nameOf(given)}`;
    throw new InvalidInputError(path, `${found}: write ${path}: ${open}`);
  }
  const { list, readText } = model;
  if (typeof list !== "function" || typeof readText !== "function") {
    throw new InvalidInputError(
      path,
      `must be the files of a model, with \`list\`, \`readText\` and \`readBytes\`: write ${path}: ${open}`,
    );
  }
}

/** Functions that make backends, each of a package of its name. */
const makers = ["onnx", "llamacpp", "mnn", "coreml"] as const;

/** @throws {InvalidInputError} that says how a backend is had, by what was given in its place. */
export function requireBackend(backend: Backend, path = "backend"): void {
  const given: unknown = backend;
  if (typeof given === "string") {
    // What is none of these packages may be one that openReranker imports.
    const maker = makers.find((one) => given.startsWith(one));
    const name = JSON.stringify(maker === undefined && !/[./]/.test(given) ? "onnx" : given.slice(0, 80));
    throw new InvalidInputError(
      path,
      `must be a backend, not its name: write ${path}: ${maker ?? "onnx"}(), with ${maker ?? "onnx"} of ` +
        `@crossrank/backend-${maker ?? "onnx"}, or openReranker(model, { backend: ${name} }) of crossrank`,
    );
  }
  if (isPromise(given)) throw new InvalidInputError(path, `is a promise: await it`);
  if (typeof given === "function") {
    const name = /^\w{1,40}$/.test(given.name) ? given.name : "onnx";
    throw new InvalidInputError(path, `is a function that makes one: call it, as in ${path}: ${name}()`);
  }
  if (typeof given !== "object" || given === null) {
    const found = given === undefined ? "is missing" : `must be a backend, not ${nameOf(given)}`;
    throw new InvalidInputError(
      path,
      `${found}: write ${path}: onnx(), with onnx of @crossrank/backend-onnx`,
    );
  }
  const { load, families } = backend;
  if (typeof load !== "function" || !Array.isArray(families)) {
    throw new InvalidInputError(
      path,
      `must be a backend, with \`families\` and \`load\`: write ${path}: onnx(), with onnx of @crossrank/backend-onnx`,
    );
  }
}

function isPromise(value: unknown): boolean {
  return typeof value === "object" && value !== null && typeof Reflect.get(value, "then") === "function";
}

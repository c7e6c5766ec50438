// Preloaded by a test: writes the address of every module that is loaded into the file CROSSRANK_TEST_LOG.
import { appendFileSync } from "node:fs";
import { register } from "node:module";
import { isMainThread } from "node:worker_threads";

if (isMainThread) register(import.meta.url, { data: process.env.CROSSRANK_TEST_LOG });

let file = "";

export function initialize(path) {
  file = path;
}

export async function load(url, context, next) {
  if (file !== "") appendFileSync(file, `${url}\n`);
  return next(url, context);
}

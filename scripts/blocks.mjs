// Documents whose tables a command writes: each block between its two markers.
import { readFileSync, renameSync, writeFileSync } from "node:fs";
import { fileURLToPath } from "node:url";

/**
 * The document with the block between `<!-- name:start -->` and `<!-- name:end -->`.
 *
 * @param {string} text
 * @param {string} name
 * @param {string} block Markdown
 * @returns {string}
 * @throws {Error} for a document that has no such markers
 */
export function fillBlock(text, name, block) {
  const [start, end] = [`<!-- ${name}:start -->`, `<!-- ${name}:end -->`];
  const [from, to] = [text.indexOf(start), text.indexOf(end)];
  if (from === -1 || to < from) throw new Error(`the document has no ${start} … ${end}`);
  return `${text.slice(0, from + start.length)}\n\n${block.trim()}\n\n${text.slice(to)}`;
}

/**
 * The same in a file.
 *
 * @param {string | URL} file
 * @param {string} name
 * @param {string} block
 */
export function replaceBlock(file, name, block) {
  const path = file instanceof URL ? fileURLToPath(file) : file;
  let filled;
  try {
    filled = fillBlock(readFileSync(path, "utf8"), name, block);
  } catch (error) {
    throw new Error(`${path} cannot be written to`, { cause: error });
  }
  writeFileSync(`${path}.${process.pid}`, filled);
  renameSync(`${path}.${process.pid}`, path);
}

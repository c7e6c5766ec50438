// docs/bench.md: a block a part, each between its markers.
import { readFile, writeFile } from "node:fs/promises";
import { fileURLToPath } from "node:url";
import { fillBlock } from "../scripts/blocks.mjs";

export const pagePath = fileURLToPath(new URL("../docs/bench.md", import.meta.url));

/**
 * Puts blocks between their markers. A page that is not there yet is made of docs/bench.md.
 *
 * @param {string} path
 * @param {Readonly<Record<string, string>>} blocks Markdown by name
 */
export async function writePage(path, blocks) {
  const template = await readFile(pagePath, "utf8");
  const page = await readFile(path, "utf8").catch(() => template);
  await writeFile(path, fillPage(page, blocks));
}

/**
 * @param {string} page
 * @param {Readonly<Record<string, string>>} blocks
 * @returns {string}
 * @throws {Error} for a block that the page has no markers for
 */
export function fillPage(page, blocks) {
  return Object.entries(blocks).reduce((text, [name, block]) => fillBlock(text, name, block), page);
}

import type { ModelFiles } from "@crossrank/core";
import { hashFile } from "@crossrank/disk";

/**
 * Files that say what a model is, beside its artifact: configuration, tokenizer, heads, goldens, licence. What is not
 * known to belong to a model is not published: a folder may hold notes and keys.
 */
const known: readonly RegExp[] = [
  /^(?:config|crossrank|golden|generation_config|preprocessor_config)\.json$/,
  /^(?:tokenizer|tokenizer_config|special_tokens_map|added_tokens|vocab)\.json$/,
  /^(?:vocab|merges|bpe\.codes|dict)\.txt$/,
  /^(?:[\w.-]+\.)?(?:sentencepiece(?:\.bpe)?|spiece|spm|tokenizer)\.model$/,
  /^sentencepiece\.bpe\.model$/,
  /^chat_template\.(?:jinja|json)$/,
  /^(?:modules|config_sentence_transformers|sentence_bert_config|sentence_xlnet_config)\.json$/,
  /^\d+_[A-Za-z]+\/(?:config\.json|model\.safetensors|pytorch_model\.bin)$/,
  /^(?:LICEN[CS]E|NOTICE|COPYING)(?:[.-][\w.-]+)?$/i,
];

export function isSideFile(path: string): boolean {
  return known.some((pattern) => pattern.test(path));
}

/**
 * Whether a file of the hub that is not published stays beside what is: documents, pictures, examples and a licence's text
 * are made by hand, and decide no score. All else could be another variant's, and would be read as a part of this one.
 */
export function staysOnHub(path: string): boolean {
  const name = path.split("/").at(-1) as string;
  if (/\.(?:mlpackage|mlmodelc|ctranslate2)\//i.test(path)) return false;
  if (/^(?:LICEN[CS]E|NOTICE|COPYING|CITATION)(?:[.-][\w.-]+)?$/i.test(name)) return true;
  if (name === ".gitignore") return true;
  return handMade.test(name) && !isSideFile(name);
}

const handMade =
  /\.(?:md|markdown|rst|txt|pdf|png|jpe?g|gif|svg|webp|avif|mp4|webm|html|css|bib|cff|py|ipynb|swift|js|ts|sh)$/i;

/** Where a side file lies in what is published: a tokenizer in its own folder is read at the root. */
export function sideFilesAmong(paths: readonly string[]): ReadonlyMap<string, string> {
  const found = new Map<string, string>();
  for (const path of paths) if (isSideFile(path)) found.set(path, path);
  for (const path of paths) {
    const name = /^tokenizer\/([^/]+)$/.exec(path)?.[1];
    if (name !== undefined && isSideFile(name) && !found.has(name)) found.set(name, path);
  }
  return found;
}

/** Lower-case hex sha256 of a file's content. */
export async function hashModelFile(files: ModelFiles, path: string, signal: AbortSignal): Promise<string> {
  return hashFile(await files.localPath(path, { signal }), { signal });
}

/**
 * What describes a model of a folder, by its content, in the order of the paths. A commit of the hub says by itself what it
 * holds, and files that nothing else needs are not fetched for it.
 */
export async function hashSideFiles(
  files: ModelFiles,
  signal: AbortSignal,
): Promise<readonly { readonly path: string; readonly sha256: string }[]> {
  if (files.revision !== undefined) return [];
  const paths = (await files.list({ signal })).map(({ path }) => path);
  const hashed: { path: string; sha256: string }[] = [];
  for (const path of [...new Set(sideFilesAmong(paths).values())].sort())
    hashed.push({ path, sha256: await hashModelFile(files, path, signal) });
  return hashed;
}

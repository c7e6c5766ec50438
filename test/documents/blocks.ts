import { existsSync, readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";

export const root: string = fileURLToPath(new URL("../..", import.meta.url));

/** A fenced block of a document. */
export interface Block {
  /** Relative to the repository. */
  readonly document: string;
  /** Of the opening fence, from 1. */
  readonly line: number;
  /** Empty for one that says none. */
  readonly language: string;
  readonly text: string;
  /** What the document says that the block prints: the block without a language behind "prints:" or right after it. */
  readonly output: string | undefined;
}

const namesIn = (folder: string): string[] =>
  readdirSync(join(root, folder))
    .filter((name) => name.endsWith(".md"))
    .map((name) => `${folder}/${name}`);

/** Documents that tell a reader what to type. */
export const documents: readonly string[] = [
  "README.md",
  "CONTRIBUTING.md",
  "RELEASING.md",
  "bench/README.md",
  "lab/README.md",
  "examples/README.md",
  "examples/task/README.md",
  ...["docs", "docs/guides", "docs/decisions"].flatMap(namesIn),
  ...readdirSync(join(root, "packages"))
    .flatMap((name) => [`packages/${name}/README.md`, `packages/${name}/model/README.md`])
    .filter((path) => existsSync(join(root, path))),
];

/** The fenced blocks of a document, in order. */
export function blocksOf(document: string): readonly Block[] {
  const lines = readFileSync(join(root, document), "utf8").split("\n");
  const blocks: (Block & { end: number })[] = [];
  for (let index = 0; index < lines.length; index += 1) {
    const fence = /^(\s*)(`{3,})([\w-]*)/.exec(lines[index] ?? "");
    if (fence === null) continue;
    const [, indent = "", ticks = "", language = ""] = fence;
    const start = index + 1;
    index = lines.findIndex((line, at) => at >= start && line.trim() === ticks);
    if (index === -1) throw new Error(`${document}:${start}: the block is not closed`);
    const text = lines.slice(start, index).map((line) => line.slice(indent.length));
    blocks.push({
      document,
      line: start,
      language,
      text: text.join("\n"),
      output: undefined,
      end: index + 1,
    });
  }
  return blocks.map(({ end, ...block }, position) => {
    const next = blocks[position + 1];
    if (next === undefined || next.language !== "" || block.language === "") return block;
    const between = lines
      .slice(end, next.line - 1)
      .join("\n")
      .trim();
    return between === "" || /\bprints[^\n]*:$/.test(between) ? { ...block, output: next.text } : block;
  });
}

export const allBlocks: readonly Block[] = documents.flatMap((document) => [...blocksOf(document)]);

/** Where a block is, to be found in a failure. */
export function placeOf({ document, line }: Block): string {
  return `${document}:${line}`;
}

import { isUtf8 } from "node:buffer";
import { readFile, stat } from "node:fs/promises";
import { join } from "node:path";
import { type OptionNames, requireKnownOptions } from "@crossrank/core";
import { writeWholeFile } from "@crossrank/disk";
import { type Evidence, type EvidencePaths, readEvidence } from "./evidence.js";
import { splitFrontMatter, valuesOf, withKeys, yamlText } from "./front-matter.js";
import { CardError, type MarkedPart, markedPart, readMarkedParts } from "./markers.js";
import { type ModelFacts, readModelFacts } from "./model-facts.js";
import { baseModelOf, type CardSection, cardSections, missingWord } from "./sections.js";

/** Name of the card beside a model; it is published as README.md. */
export const cardFile = "MODEL_CARD.md";

export interface WriteCardOptions extends EvidencePaths {
  /** Where the card is, or is to be. Default: MODEL_CARD.md in the folder. */
  readonly output?: string | undefined;
  readonly signal?: AbortSignal | undefined;
}

/** What came of it. */
export interface WrittenCard {
  readonly path: string;
  /** False where it said all this already. */
  readonly changed: boolean;
  /** Measurements that are not there, by their section's title. */
  readonly missing: readonly string[];
}

const names: OptionNames<WriteCardOptions> = {
  output: "name",
  verify: true,
  eval: true,
  bench: true,
  signal: "AbortSignal",
};

/**
 * Writes a model's card: what its files say, and what was measured of exactly these files. Sections of a card that is there
 * stay as their author wrote them; what stands between marks is replaced. A second call changes no byte.
 *
 * @throws {CardError} when the folder has no artifact, a report is none, or the card's marks are damaged (with the line).
 * @throws what reading the model throws.
 */
export async function writeCard(folder: string, options: WriteCardOptions = {}): Promise<WrittenCard> {
  requireKnownOptions(options, names, "writeCard");
  const signal = options.signal ?? new AbortController().signal;
  const path = options.output ?? join(folder, cardFile);
  // What is wrong with the card is told before the model's files are hashed.
  const before = await readCard(path);
  readMarkedParts(before, path);
  const facts = await readModelFacts(folder, signal);
  const evidence = await readEvidence(folder, options);
  const after = renderCard(before, path, { facts, evidence, fallbackYaml: await readmeYaml(folder) });
  const missing = readMarkedParts(after, path)
    .filter(({ content }) => content.startsWith(missingWord))
    .map(({ name }) => name);
  if (after !== before) await writeWholeFile(path, after);
  return { path, changed: after !== before, missing };
}

/** Bytes of a card. */
const largestCard = 16 << 20;

/** The card's text; empty where there is none. @throws {CardError} where it cannot be changed in place. */
export async function readCard(path: string): Promise<string> {
  const status = await stat(path).catch((error: NodeJS.ErrnoException) => {
    if (error.code === "ENOENT") return undefined;
    throw new CardError({
      card: path,
      problem: `it cannot be read (${error.message})`,
      fix: "Fix its permissions",
    });
  });
  if (status === undefined) return "";
  if (!status.isFile())
    throw new CardError({ card: path, problem: "this is no file", fix: "Name a Markdown file" });
  if (status.size > largestCard)
    throw new CardError({
      card: path,
      problem: `it has more than ${largestCard} bytes`,
      fix: "Name a Markdown file",
    });
  const bytes = await readFile(path);
  if (!isUtf8(bytes))
    throw new CardError({ card: path, problem: "it is no UTF-8 text", fix: "Save it as UTF-8" });
  return new TextDecoder("utf-8", { ignoreBOM: true }).decode(bytes);
}

/** What the card of the source model says of itself, where it lies beside the model. */
export async function readmeYaml(folder: string): Promise<string | undefined> {
  const path = join(folder, "README.md");
  try {
    return splitFrontMatter(await readCard(path), path).yaml;
  } catch {
    return undefined;
  }
}

export interface RenderInput {
  readonly facts: ModelFacts;
  readonly evidence: Evidence;
  /** Front matter of the source model's own card. */
  readonly fallbackYaml: string | undefined;
}

/** The card with everything that is known now. @throws {CardError} for damaged marks and front matter. */
export function renderCard(
  before: string,
  card: string,
  { facts, evidence, fallbackYaml }: RenderInput,
): string {
  const lineEnd = /\r\n/.test(before) ? "\r\n" : "\n";
  const { yaml, rest } = splitFrontMatter(before, card);
  const inherited = (key: string): string | undefined => {
    const values = valuesOf(fallbackYaml, key);
    if (values.length === 0) return undefined;
    return values.length === 1 ? yamlText(values[0] as string) : `[${values.map(yamlText).join(", ")}]`;
  };
  const base = baseModelOf(facts, yaml ?? fallbackYaml);
  const front = withKeys(
    yaml,
    [
      ["license", inherited("license")],
      ["base_model", base === undefined ? undefined : yamlText(base)],
      ["library_name", "crossrank"],
      ["pipeline_tag", facts.reading.profile.family === "bi-encoder" ? "feature-extraction" : "text-ranking"],
      ["language", inherited("language")],
    ],
    lineEnd,
  );
  const named = splitFrontMatter(front, card).yaml;
  const bom = before.startsWith("\ufeff") ? "\ufeff" : "";
  let body = rest;
  if (body.trim() === "") body = `${lineEnd}# ${titleOf(facts, named)}${lineEnd}`;
  for (const section of cardSections({ facts, evidence, yaml: named }))
    body = withSection(body, card, section, { facts, lineEnd });
  // Offsets and lines of an error are of the body; the front matter has no marks.
  return `${bom}${front}${body}`;
}

function titleOf({ folder, artifacts }: ModelFacts, yaml: string | undefined): string {
  const base = valuesOf(yaml, "base_model")[0]?.split("/").at(-1);
  const own = folder
    .replace(/[\\/]+$/, "")
    .split(/[\\/]/)
    .at(-1);
  const name = base ?? (own === "." || own === undefined || own === "" ? "Model" : own);
  const formats = [...new Set(artifacts.map(({ format }) => format))].join(", ");
  return `${name} — ${formats}`.replace(/[\r\n<>]/g, " ");
}

function withSection(
  body: string,
  card: string,
  section: CardSection,
  { facts, lineEnd }: { readonly facts: ModelFacts; readonly lineEnd: string },
): string {
  const parts = readMarkedParts(body, card);
  const part = parts.find(({ name }) => name === section.name);
  if (part !== undefined) {
    if (section.isMeasured === true && staysAsItIs(part, section, facts)) return body;
    return (
      body.slice(0, part.start) + markedPart(section.name, section.content, lineEnd) + body.slice(part.end)
    );
  }
  const headings = headingsOf(body);
  const at = headings.findIndex(({ title }) => section.titles.test(title));
  if (at >= 0 && section.isProse) return body;
  const marked = markedPart(section.name, section.content, lineEnd);
  const heading = headings[at];
  if (heading !== undefined) {
    const next = headings.slice(at + 1).find(({ level }) => level <= heading.level);
    return insert(body, next?.offset ?? body.length, marked, lineEnd);
  }
  return insert(
    body,
    endOfPrevious(body, card, section.name) ?? body.length,
    `## ${section.title}${lineEnd}${lineEnd}${marked}`,
    lineEnd,
  );
}

/** A measurement that is not given again, and does not name another file than the folder has. */
function staysAsItIs({ content }: MarkedPart, section: CardSection, facts: ModelFacts): boolean {
  if (!section.content.startsWith(missingWord) || content.startsWith(missingWord) || content === "")
    return false;
  const own = facts.artifacts.flatMap(({ files }) => files.map(({ sha256 }) => sha256));
  const told = content.match(/`[0-9a-f]{12}(?:[0-9a-f]{52})?`/g) ?? [];
  return told.every((hash) => own.some((sha256) => sha256.startsWith(hash.slice(1, -1))));
}

interface Heading {
  readonly offset: number;
  readonly level: number;
  readonly title: string;
}

/** Headings with number signs, those in code blocks left out. */
function headingsOf(body: string): Heading[] {
  const headings: Heading[] = [];
  let fence: string | undefined;
  let offset = 0;
  for (const line of body.split("\n")) {
    const run = /^ {0,3}(`{3,}|~{3,})/.exec(line)?.[1];
    if (fence === undefined) {
      if (run !== undefined) fence = run;
      else {
        const [, signs, title] = /^ {0,3}(#{1,6})[ \t]+(.*?)[ \t#\r]*$/.exec(line) ?? [];
        if (signs !== undefined && title !== undefined) headings.push({ offset, level: signs.length, title });
      }
    } else if (run?.[0] === fence[0] && (run?.length ?? 0) >= fence.length && /^\s*[`~]+\s*$/.test(line))
      fence = undefined;
    offset += line.length + 1;
  }
  return headings;
}

const order = [
  "usage",
  "identity",
  "variants",
  "architecture",
  "tokenizer",
  "template",
  "truncation",
  "inputs",
  "outputs",
  "bench",
  "quality",
  "verification",
  "failures",
  "limits",
  "licence",
  "reproduce",
];

/** Where the section ends that has the last part before this one; undefined where there is none. */
function endOfPrevious(body: string, card: string, name: string): number | undefined {
  const parts = readMarkedParts(body, card);
  const earlier = order.slice(0, order.indexOf(name)).toReversed();
  const previous = earlier
    .map((one) => parts.find((part) => part.name === one))
    .find((part) => part !== undefined);
  if (previous === undefined) return undefined;
  return (
    headingsOf(body).find(({ offset, level }) => offset >= previous.end && level <= 2)?.offset ?? body.length
  );
}

function insert(body: string, at: number, text: string, lineEnd: string): string {
  const before = body.slice(0, at).trimEnd();
  const after = body.slice(at).replace(/^(?:[ \t]*\r?\n)+/, "");
  return `${before}${before === "" ? "" : lineEnd + lineEnd}${text}${lineEnd}${after === "" ? "" : lineEnd + after}`;
}

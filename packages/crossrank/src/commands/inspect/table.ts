import type { ArtifactDescription, ArtifactPort } from "@crossrank/backend-kit";
import {
  type CrossrankError,
  type ModelFile,
  type ModelFiles,
  type ModelProfile,
  type ProfileReading,
  scaleOf,
} from "@crossrank/core";
import type { Recognised } from "@crossrank/core/files";
import { describeProfile, describeTemplates } from "../../describe.js";
import { alignColumns, fitToWidth, formatBytes, formatCount, toSingleLine } from "../../text.js";
import type { InspectedArtifact } from "./artifacts.js";
import { type Cut, example, type ShownSequence, spellingsOf, type Texts } from "./encode.js";

/** A file, and for one that is not where the model is, of what its content is. */
export type ShownFile = ModelFile & { readonly from?: string | undefined };

export interface Inspection {
  readonly model: ModelFiles;
  readonly reading: ProfileReading;
  readonly files: readonly ShownFile[];
  readonly artifacts: readonly InspectedArtifact[];
  /** What the weights are where no backend reads them. */
  readonly unread: Recognised | undefined;
  /** Undefined where the example is shown. */
  readonly texts: Texts | undefined;
  readonly sequences: readonly ShownSequence[];
}

export function inspectionJson(inspection: Inspection): string {
  const { model, reading, files, artifacts, unread, texts, sequences } = inspection;
  const { profile, sources } = reading;
  const value = {
    model: { id: model.id, revision: model.revision ?? null },
    profile,
    sources,
    scale: scaleOf(profile),
    precisions: artifacts.map(({ backend, dtype, path }) => ({ backend, dtype, path })),
    defaultDtype: profile.defaultDtype ?? artifacts.find(({ taken }) => taken === "default")?.dtype ?? null,
    artifacts: artifacts.map(artifactJson),
    unread: unread ?? null,
    ...(texts === undefined
      ? { example: { ...example, sequences } }
      : {
          encoding: {
            ...texts,
            maxLength: profile.maxLength,
            truncation: profile.truncation,
            sequences: sequences.map(sequenceJson),
          },
        }),
    files,
  };
  return `${JSON.stringify(value, undefined, 2)}\n`;
}

/** A model whose profile cannot be read, and what it has. */
export interface Refusal extends Pick<Inspection, "model" | "files" | "artifacts"> {
  readonly error: CrossrankError;
}

export function refusalJson({ model, files, artifacts, error }: Refusal): string {
  const value = {
    model: { id: model.id, revision: model.revision ?? null },
    refused: { code: error.code, message: error.message },
    artifacts: artifacts.map(artifactJson),
    files,
  };
  return `${JSON.stringify(value, undefined, 2)}\n`;
}

export function refusalTable({ model, files, artifacts, error }: Refusal): string {
  return sectionsText([
    [model.id, [`refused: ${toSingleLine(error.message)}`]],
    ...artifactSections(artifacts, undefined),
    filesSection(files),
  ]);
}

function artifactJson(artifact: InspectedArtifact): object {
  return {
    ...artifact,
    reason: artifact.reason ?? null,
    description: artifact.description ?? null,
    undescribed: artifact.undescribed ?? null,
  };
}

function filesSection(files: readonly ShownFile[]): [string, string[]] {
  const rows = files.map(({ path, size, sha256, from }) => [
    path,
    formatBytes(size),
    from ?? (sha256 === undefined ? "" : `sha256 ${sha256}`),
  ]);
  return ["files", table(rows, ["left", "right", "left"])];
}

function sectionsText(sections: readonly [string, string[]][]): string {
  return `${sections
    .map(([title, lines]) => [toSingleLine(title), ...lines.map((line) => `  ${line}`)].join("\n"))
    .join("\n\n")}\n`;
}

/** As transformers gives a sequence, and where its parts lie. */
function sequenceJson({ tokens, prompt, note, ...sequence }: ShownSequence): object {
  return {
    ...sequence,
    length: tokens.length,
    ids: tokens.map(({ id }) => id),
    tokens: tokens.map(({ token }) => token),
    segmentIds: tokens.map(({ segment }) => segment),
    attentionMask: tokens.map(({ isAttended = true }) => (isAttended ? 1 : 0)),
    parts: partsOf(tokens),
    prompt: prompt ?? null,
    note: note ?? null,
  };
}

/** Neighbouring tokens of one piece; `end` is the place behind the last. */
function partsOf(
  tokens: ShownSequence["tokens"],
): { kind: string; piece: string; start: number; end: number }[] {
  const parts: { kind: string; piece: string; start: number; end: number }[] = [];
  for (const [at, { kind, piece, position }] of tokens.entries()) {
    const last = parts.at(-1);
    if (last !== undefined && tokens[at - 1]?.position === position) last.end = at + 1;
    else parts.push({ kind, piece, start: at, end: at + 1 });
  }
  return parts;
}

export function inspectionTable(inspection: Inspection): string {
  const { model, reading, files, artifacts, unread, texts, sequences } = inspection;
  const { profile, sources, tokenizerJson } = reading;
  const spellings = spellingsOf(tokenizerJson);
  const facts = describeProfile(profile, sources, (id) => spellings.get(id) ?? "");
  const revision = model.revision === undefined ? "" : ` at ${model.revision}`;
  const sections: [string, string[]][] = [
    [`${model.id}${revision}`, table(facts, ["left", "left", "left"])],
    ...describeTemplates(profile, sources).map(({ title, rows }): [string, string[]] => [
      title,
      table(rows, ["left", "left"]),
    ]),
    ...sequences.map((sequence): [string, string[]] =>
      texts === undefined
        ? [exampleTitle(sequence, profile), exampleLines(sequence, profile)]
        : [sequenceTitle(sequence, texts, profile), sequenceLines(sequence, texts)],
    ),
    ...artifactSections(artifacts, unread),
    filesSection(files),
  ];
  return sectionsText(sections);
}

/** What each backend can run, what it takes when nothing is said, and what its content is. */
function artifactSections(
  artifacts: readonly InspectedArtifact[],
  unread: Recognised | undefined,
): [string, string[]][] {
  if (artifacts.length === 0) {
    const reason =
      unread === undefined
        ? "no backend finds a file that it runs. rerank makes one of safetensors, once, as crossrank convert does"
        : `${unread.files.slice(0, 3).join(", ")}: ${unread.what}. ${unread.fix}`;
    return [["precisions", [`none: ${toSingleLine(reason)}`]]];
  }
  return [...new Set(artifacts.map(({ backend }) => backend))].map((backend): [string, string[]] => {
    const own = artifacts.filter((one) => one.backend === backend);
    const rows = table(
      own.map(({ dtype, path, size, taken, reason, description }) => [
        dtype === "?" ? (description?.dtype ?? "?") : dtype,
        path,
        formatBytes(size),
        taken === "default" || taken === "asked" ? taken : (reason ?? ""),
      ]),
      ["left", "left", "right", "left"],
    );
    const lines = own.flatMap((artifact, index) => [
      rows[index] as string,
      ...contentLines(artifact).map((line) => `  ${toSingleLine(line)}`),
    ]);
    return [`${backend} precisions`, lines];
  });
}

function contentLines({ description, undescribed }: InspectedArtifact): readonly string[] {
  if (undescribed !== undefined) return [`its content: ${fitToWidth(undescribed, 200)}`];
  if (description === undefined) return [];
  const { dtype, quantisation, processor, facts, inputs, outputs, files, notes } = description;
  const words = [
    dtype ?? "cannot be followed",
    ...(quantisation === undefined ? [] : [quantisation]),
    ...(processor === undefined ? [] : [`for ${processor}`]),
    ...Object.entries(facts).map(([name, value]) => `${name} ${value}`),
  ];
  return [
    `its content: ${words.join(", ")}`,
    ...ports("takes", inputs),
    ...ports("gives", outputs),
    ...(files.length === 0 ? [] : [`with ${files.join(", ")}`]),
    ...notes,
  ];
}

function ports(word: string, list: ArtifactDescription["inputs"]): readonly string[] {
  const shown = ({ name, type, shape }: ArtifactPort): string =>
    `${name}${type === undefined ? "" : ` ${type}`}${
      shape === undefined ? "" : ` (${shape.map((size) => (size === "" ? "?" : size)).join(", ")})`
    }`;
  return list.length === 0 ? [] : [`${word} ${list.slice(0, 8).map(shown).join(" · ")}`];
}

function exampleTitle({ encodes, tokens }: ShownSequence, profile: ModelProfile): string {
  const named = (name: string, text: string): string => `${name} ${JSON.stringify(text)}`;
  const pair = [named("query", example.query), named("document", example.document)];
  const texts = {
    pair,
    "instructed pair": [named("instruction", profile.instruction || example.instruction), ...pair],
    query: [named("query", example.query)],
    document: [named("document", example.document)],
    list: [
      named("query", example.query),
      `documents ${JSON.stringify([example.document, example.otherDocument])}`,
    ],
  }[encodes];
  return `example, ${tokens.length} tokens: ${texts.join(", ")}`;
}

function exampleLines(sequence: ShownSequence, { maxLength }: ModelProfile): string[] {
  const { tokens, cuts, note } = sequence;
  return [
    ...table(pieceRows(tokens, shownTokens), ["left", "left", "left"]),
    ...(cuts.length === 0 || tokens.length === 0 ? [] : [`cut to ${maxLength} tokens`]),
    ...(note === undefined ? [] : [note]),
  ];
}

function sequenceTitle(
  { encodes, documents, tokens }: ShownSequence,
  { documents: all }: Texts,
  { maxLength }: ModelProfile,
): string {
  const numbers = documents.map((at) => at + 1);
  const of =
    numbers.length === 0
      ? ""
      : ` ${numbers.length > 3 ? `${numbers[0]} to ${numbers.at(-1)}` : numbers.join(", ")} of ${all.length}`;
  const names = {
    pair: "query and document",
    "instructed pair": "query and document, instructed",
    query: "query",
    document: "document",
    list: `list of document${numbers.length === 1 ? "" : "s"}`,
  };
  return `${names[encodes]}${of}: ${formatCount(tokens.length)} tokens of at most ${formatCount(maxLength)}`;
}

/** Characters of a prompt or of what was cut that a line shows. JSON has all. */
const shownCharacters = 2000;

function sequenceLines(sequence: ShownSequence, { documents }: Texts): string[] {
  const { tokens, cuts, prompt, note } = sequence;
  const facts = [
    ...(prompt === undefined ? [] : [["prompt", quoted(prompt)]]),
    ...(tokens.length === 0
      ? []
      : [
          ["ids", tokens.map(({ id }) => id).join(" ")],
          ["segments", runs(tokens.map(({ segment }) => segment))],
          ["attention", runs(tokens.map(({ isAttended = true }) => (isAttended ? 1 : 0)))],
        ]),
    ...(cuts.length === 0
      ? [["cut", "nothing"]]
      : cuts.map((cut) => ["cut", cutLine(cut, documents.length)])),
    ...(note === undefined ? [] : [["note", note]]),
  ];
  return [
    ...table(pieceRows(tokens, Number.POSITIVE_INFINITY), ["left", "left", "left"]),
    ...table(facts, ["left", "left"]),
  ];
}

function cutLine({ from, document, tokens, isMinimum, text }: Cut, documents: number): string {
  const which = document === undefined || documents < 2 ? `the ${from}` : `${from} ${document + 1}`;
  const count = `${isMinimum ? "at least " : ""}${formatCount(tokens)}`;
  return `${count} token${tokens === 1 ? "" : "s"} of ${which}: ${quoted(text)}`;
}

function quoted(text: string): string {
  return text.length > shownCharacters
    ? `${JSON.stringify(text.slice(0, shownCharacters))} and ${formatCount(text.length - shownCharacters)} characters more`
    : JSON.stringify(text);
}

/** `0 × 9, 1 × 8`: numbers that repeat. */
function runs(numbers: readonly number[]): string {
  const found: { value: number; count: number }[] = [];
  for (const value of numbers) {
    const last = found.at(-1);
    if (last?.value === value) last.count += 1;
    else found.push({ value, count: 1 });
  }
  return found.map(({ value, count }) => `${value} × ${count}`).join(", ");
}

/** Tokens of wording that are shown of a piece of the example, from its beginning. */
const shownTokens = 8;

/** Columns of a piece's name. */
const nameWidth = 36;

/** One row a piece of the template: its name, its segment, its tokens each followed by its id. */
function pieceRows(tokens: ShownSequence["tokens"], most: number): string[][] {
  const rows: { piece: string; position: number; segment: number; cells: string[] }[] = [];
  for (const { piece, position, segment, token, id } of tokens) {
    const row = rows.at(-1);
    if (row?.position === position) row.cells.push(`${token} ${id}`);
    else rows.push({ piece, position, segment, cells: [token === piece ? String(id) : `${token} ${id}`] });
  }
  return rows.map(({ piece, segment, cells }) => {
    const more = piece.startsWith('"') ? cells.length - most : 0;
    const shown = more > 1 ? [...cells.slice(0, most), `… ${more} more`] : cells;
    return [fitToWidth(piece, nameWidth), `segment ${segment}`, shown.join(" · ")];
  });
}

function table(rows: readonly (readonly string[])[], alignment: readonly ("left" | "right")[]): string[] {
  return alignColumns(
    rows.map((row) => row.map(toSingleLine)),
    alignment,
  );
}

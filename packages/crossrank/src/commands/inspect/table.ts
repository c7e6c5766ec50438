import {
  type ModelFile,
  type ModelFiles,
  type ModelProfile,
  type ProfileReading,
  scaleOf,
} from "@crossrank/core";
import { backendNames } from "../../backend-names.js";
import type { Precision } from "../../backends.js";
import { describeProfile, describeTemplates } from "../../describe.js";
import { type ExampleSequence, example, spellingsOf } from "../../example.js";
import { alignColumns, fitToWidth, formatBytes, toSingleLine } from "../../text.js";

export interface Inspection {
  readonly model: ModelFiles;
  readonly reading: ProfileReading;
  readonly files: readonly ModelFile[];
  readonly precisions: readonly Precision[];
  readonly sequences: readonly ExampleSequence[];
}

export function inspectionJson({ model, reading, files, precisions, sequences }: Inspection): string {
  const { profile, sources } = reading;
  const value = {
    model: { id: model.id, revision: model.revision ?? null },
    profile,
    sources,
    scale: scaleOf(profile),
    precisions,
    defaultDtype: defaultDtype(profile, precisions) ?? null,
    example: { ...example, sequences },
    files,
  };
  return `${JSON.stringify(value, undefined, 2)}\n`;
}

export function inspectionTable({ model, reading, files, precisions, sequences }: Inspection): string {
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
    ...sequences.map((sequence): [string, string[]] => [
      exampleTitle(sequence, profile),
      [
        ...table(pieceRows(sequence.tokens), ["left", "left", "left"]),
        ...(sequence.note === undefined ? [] : [sequence.note]),
      ],
    ]),
    ...precisionSections(precisions, (path) => sizeWithin(files, path), profile),
    [
      "files",
      table(
        files.map(({ path, size, sha256 }) => [
          path,
          formatBytes(size),
          sha256 === undefined ? "" : `sha256 ${sha256}`,
        ]),
        ["left", "right", "left"],
      ),
    ],
  ];
  return `${sections
    .map(([title, lines]) => [toSingleLine(title), ...lines.map((line) => `  ${line}`)].join("\n"))
    .join("\n\n")}\n`;
}

/** Bytes of a file, or of all in a folder. */
function sizeWithin(files: readonly ModelFile[], of: string): number {
  return files
    .filter(({ path }) => path === of || path.startsWith(`${of}/`))
    .reduce((sum, { size }) => sum + size, 0);
}

/** What each backend can run, and what it takes when it is asked for no precision. */
function precisionSections(
  precisions: readonly Precision[],
  sizeOf: (path: string) => number,
  profile: ModelProfile,
): [string, string[]][] {
  if (precisions.length === 0) {
    return [
      [
        "precisions",
        ["none: no backend finds a file that it runs. crossrank convert makes one from safetensors"],
      ],
    ];
  }
  return backendNames.flatMap((backend): [string, string[]][] => {
    const own = precisions.filter((one) => one.backend === backend);
    if (own.length === 0) return [];
    const wanted = profile.defaultDtype?.toLowerCase();
    const isWanted = ({ dtype }: Precision): boolean => dtype.toLowerCase() === wanted;
    // What is another format's precision says nothing about this one.
    const free = wanted === undefined || (!own.some(isWanted) && precisions.some(isWanted));
    const chosen = (free ? own[0] : own.find(isWanted))?.dtype;
    const rows = own.map(({ dtype, path }) => [
      dtype,
      path,
      formatBytes(sizeOf(path)),
      dtype === chosen ? "default" : "",
    ]);
    return [[`${backend} precisions`, table(rows, ["left", "left", "right", "left"])]];
  });
}

function exampleTitle({ encodes, tokens }: ExampleSequence, profile: ModelProfile): string {
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

/** Tokens of wording that are shown of a piece, from its beginning. */
const shownTokens = 8;

/** Columns of a piece's name. */
const nameWidth = 36;

/** One row a piece of the template: its name, its segment, its tokens each followed by its id. */
function pieceRows(tokens: ExampleSequence["tokens"]): string[][] {
  const rows: { piece: string; position: number; segment: number; cells: string[] }[] = [];
  for (const { piece, position, segment, token, id } of tokens) {
    const row = rows.at(-1);
    if (row?.position === position) row.cells.push(`${token} ${id}`);
    else rows.push({ piece, position, segment, cells: [token === piece ? String(id) : `${token} ${id}`] });
  }
  return rows.map(({ piece, segment, cells }) => {
    const more = piece.startsWith('"') ? cells.length - shownTokens : 0;
    const shown = more > 1 ? [...cells.slice(0, shownTokens), `… ${more} more`] : cells;
    return [fitToWidth(piece, nameWidth), `segment ${segment}`, shown.join(" · ")];
  });
}

/** Of the backend that a model without a choice gets. */
function defaultDtype(profile: ModelProfile, precisions: readonly Precision[]): string | undefined {
  return profile.defaultDtype ?? precisions[0]?.dtype;
}

function table(rows: readonly (readonly string[])[], alignment: readonly ("left" | "right")[]): string[] {
  return alignColumns(
    rows.map((row) => row.map(toSingleLine)),
    alignment,
  );
}

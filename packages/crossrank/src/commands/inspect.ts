import {
  type ModelFile,
  type ModelFiles,
  type ModelProfile,
  type ProfileReading,
  readProfile,
  scaleOf,
} from "@crossrank/core";
import type { Command } from "commander";
import { backendNames, type Precision, precisionsAmong } from "../backends.js";
import { type Context, print } from "../context.js";
import { describeProfile, describeTemplates } from "../describe.js";
import { type ExampleSequence, encodeExample, example, spellingsOf } from "../example.js";
import { translateInputError, UsageError } from "../failure.js";
import { defaultModel, openModelFiles, readProfileFile } from "../model.js";
import { inspectModelPackage, isModelPackage, type PackageInspectionOptions } from "../model-package.js";
import { modelOptions, type ProfiledModelOptions, tableOrJson } from "../options.js";
import { alignColumns, fitToWidth, formatBytes, toSingleLine } from "../text.js";

interface InspectCommandOptions extends ProfiledModelOptions, PackageInspectionOptions {}

const help = `
Reads the model's small files only: no weights are downloaded and no runtime is loaded.

Of a Core ML package (a path that ends in .mlpackage or .mlmodel) it shows inputs and
outputs with their shapes, the specification version, how often each operation occurs,
weights, metadata and files, on any system. --contract compares these with what an
application relies on, and fails with every deviation: "seed" is the contract of
tcashel/bge-reranker-base-coreml (20 pairs of 128, 256 or 512 tokens), "seed:128" that of
one package a length, and a JSON file your own, e.g.

  {"inputs": [{"name": "input_ids", "element": "int32", "shapes": [[20, 1, 1, 128]]}],
   "specificationVersion": {"maximum": 9}, "weights": ["fp16"]}

Examples:
  $ crossrank inspect
  $ crossrank inspect BAAI/bge-reranker-base --revision main
  $ crossrank inspect ./my-model --format json
  $ crossrank inspect ./my-model/mlpackage/model.mlpackage --contract seed

Exit code: 0 done, 1 failed or a deviation from the contract, 2 wrong usage.`;

export function addInspectCommand(program: Command, context: Context): void {
  const command = program
    .command("inspect")
    .summary("show what a model is, and where each fact comes from")
    .description("Shows a model's profile, template, limits, files and precisions.")
    .argument("[model]", "folder, repository id, Core ML package, or nano, the embedded model", defaultModel);
  for (const option of modelOptions()) command.addOption(option);
  command
    .option("--contract <rules>", "of a Core ML package: seed, seed:LENGTH or a JSON file")
    .addOption(tableOrJson())
    .addHelpText("after", help)
    .action(async (source: string, options: InspectCommandOptions) => {
      if (!isModelPackage(source)) {
        if (options.contract !== undefined) {
          throw new UsageError(
            `--contract is of a Core ML package, and ${source} does not end in .mlpackage`,
          );
        }
        await inspect(source, options, context);
        return;
      }
      const unfit = (["revision", "offline", "lock", "profile"] as const).find(
        (name) => options[name] !== undefined,
      );
      if (unfit !== undefined) {
        throw new UsageError(`--${unfit} is of a model, and ${source} is a Core ML package alone`);
      }
      await inspectModelPackage(source, options, context);
    });
}

async function inspect(source: string, options: InspectCommandOptions, { signal }: Context): Promise<void> {
  const overrides = await readProfileFile(options.profile);
  const model = await openModelFiles(source, options, signal);
  const reading = await readProfile(model, overrides, signal).catch((error: unknown) => {
    throw translateInputError(error, { profile: options.profile && `--profile ${options.profile}` });
  });
  const files = [...(await model.list({ signal }))].sort((a, b) => (a.path < b.path ? -1 : 1));
  const precisions = await precisionsAmong(files.map(({ path }) => path));
  const sequences = encodeExample(reading, model.id);
  const view = { model, reading, files, precisions, sequences };
  await print(options.format === "json" ? inspectionJson(view) : inspectionTable(view));
}

interface Inspection {
  readonly model: ModelFiles;
  readonly reading: ProfileReading;
  readonly files: readonly ModelFile[];
  readonly precisions: readonly Precision[];
  readonly sequences: readonly ExampleSequence[];
}

function inspectionJson({ model, reading, files, precisions, sequences }: Inspection): string {
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

function inspectionTable({ model, reading, files, precisions, sequences }: Inspection): string {
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

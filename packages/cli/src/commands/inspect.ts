import {
  createPairEncoder,
  createTextTokenizer,
  type EncodedSequence,
  type ModelFile,
  type ModelFiles,
  type ModelProfile,
  type ProfileReading,
  readProfile,
  scaleOf,
  type TemplatePiece,
} from "@crossrank/core";
import { type Command, Option } from "commander";
import { onnxPrecisions, type Precision } from "../backends.js";
import { type Context, print } from "../context.js";
import { translateInputError } from "../failure.js";
import { defaultModel, type ModelOptions, openModelFiles, readProfileFile } from "../model.js";
import { alignColumns, formatBytes, formatCount, toSingleLine } from "../text.js";

interface InspectCommandOptions extends ModelOptions {
  readonly profile?: string;
  readonly format: "table" | "json";
}

interface ExampleSequence {
  /** What it encodes: the pair of a cross-encoder, or one text of a bi-encoder. */
  readonly encodes: "pair" | "query" | "document";
  readonly tokens: readonly {
    readonly token: string;
    readonly id: number;
    readonly segment: number;
    /** The template's piece that the token belongs to. */
    readonly piece: string;
  }[];
}

const example = { query: "What is the capital of France?", document: "Paris is the capital of France." };

const help = `
Reads the model's small files only: no weights are downloaded and no runtime is loaded.

Examples:
  $ crossrank inspect
  $ crossrank inspect BAAI/bge-reranker-base --revision main
  $ crossrank inspect ./my-model --format json`;

export function addInspectCommand(program: Command, context: Context): void {
  program
    .command("inspect")
    .summary("show what a model is, and where each fact comes from")
    .description("Shows a model's profile, template, limits, files and precisions.")
    .argument("[model]", "folder, repository id, or nano, the embedded model", defaultModel)
    .option("--revision <name>", "branch, tag or commit of the repository")
    .option("--offline", "use what is in the cache, download nothing")
    .option("--lock <file>", "lock file that pins the model's revision and hashes")
    .option("--profile <file>", "crossrank.json whose facts override the model's own")
    .addOption(
      new Option("-f, --format <format>", "table for people, json for programs")
        .choices(["table", "json"])
        .default("table"),
    )
    .addHelpText("after", help)
    .action(async (source: string, options: InspectCommandOptions) => {
      await inspect(source, options, context);
    });
}

async function inspect(source: string, options: InspectCommandOptions, { signal }: Context): Promise<void> {
  const overrides = await readProfileFile(options.profile);
  const model = await openModelFiles(source, options, signal);
  const reading = await readProfile(model, overrides, signal).catch((error: unknown) => {
    throw translateInputError(error, { profile: options.profile && `--profile ${options.profile}` });
  });
  const files = [...(await model.list({ signal }))].sort((a, b) => (a.path < b.path ? -1 : 1));
  const precisions = await onnxPrecisions(files.map(({ path }) => path));
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
  const { profile, sources } = reading;
  const isPair = profile.family !== "bi-encoder";
  const template = isPair ? profile.pairTemplate : profile.singleTemplate;
  const special = template.filter((piece) => "id" in piece).length;
  const fact = (name: string, value: string, source: string | undefined): string[] => [
    name,
    value,
    source ?? "",
  ];
  const facts = [
    fact("family", profile.family, sources.family),
    fact("architecture", profile.architecture, sources.architecture),
    fact("head", describeHead(profile), sources.head),
    fact(
      "activation",
      `${profile.activation}, so scores are on scale ${scaleOf(profile)}`,
      sources.activation,
    ),
    fact(
      "max length",
      `${formatCount(profile.maxLength)} tokens, ${special} of them special`,
      sources.maxLength,
    ),
    fact("truncation", profile.truncation, sources.truncation),
    fact("padding id", String(profile.paddingId), sources.paddingId),
    fact(
      "template",
      describeTemplate(template, isPair),
      isPair ? sources.pairTemplate : sources.singleTemplate,
    ),
    ...(isPair
      ? []
      : [
          fact("query prefix", JSON.stringify(profile.queryPrefix), sources.queryPrefix),
          fact("document prefix", JSON.stringify(profile.documentPrefix), sources.documentPrefix),
        ]),
    ...(profile.expectations === undefined
      ? []
      : [
          fact(
            "expectations",
            `${profile.expectations.pairs.length} pairs, checked at load to ± ${profile.expectations.tolerance}`,
            sources.expectations,
          ),
        ]),
  ];
  const chosen = defaultDtype(profile, precisions);
  const sizes = new Map(files.map(({ path, size }) => [path, size]));
  const revision = model.revision === undefined ? "" : ` at ${model.revision}`;
  const sections: [string, string[]][] = [
    [`${model.id}${revision}`, table(facts, ["left", "left", "left"])],
    ...sequences.map(({ encodes, tokens }): [string, string[]] => [
      encodes === "pair"
        ? `example: query ${JSON.stringify(example.query)}, document ${JSON.stringify(example.document)}`
        : `example: ${encodes} ${JSON.stringify(example[encodes])}`,
      table(pieceRows(tokens), ["left", "left", "left"]),
    ]),
    [
      "onnx precisions",
      precisions.length === 0
        ? ["none: there is no onnx/model*.onnx"]
        : table(
            precisions.map(({ dtype, path }) => [
              dtype,
              path,
              formatBytes(sizes.get(path) ?? 0),
              dtype === chosen ? "default" : "",
            ]),
            ["left", "left", "right", "left"],
          ),
    ],
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

function encodeExample({ profile, tokenizerJson }: ProfileReading, model: string): ExampleSequence[] {
  const tokenizer = createTextTokenizer(tokenizerJson, model);
  const encoder = createPairEncoder(tokenizer, profile);
  const spellings = spellingsOf(tokenizerJson);
  const spell = (
    encodes: ExampleSequence["encodes"],
    sequence: EncodedSequence,
    template: readonly TemplatePiece[],
    queryLength: number,
  ): ExampleSequence => {
    const rest = sequence.ids.length - template.filter((piece) => "id" in piece).length - queryLength;
    const pieces = template.flatMap((piece) => {
      if ("id" in piece) return [piece.token];
      const length = piece.text === "query" ? queryLength : rest;
      return new Array<string>(length).fill(encodes === "document" ? "document" : piece.text);
    });
    const tokens = Array.from(sequence.ids, (id, position) => ({
      token: spellings.get(id) ?? "",
      id,
      segment: sequence.segmentIds[position] ?? 0,
      piece: pieces[position] ?? "",
    }));
    return { encodes, tokens };
  };
  if (profile.family !== "bi-encoder") {
    const query = encoder.encodeQuery(example.query);
    const sequence = encoder.encodePair(query, example.document);
    const cut = sequence.truncatedQueryTokens;
    return [spell("pair", sequence, profile.pairTemplate, query.ids.length + query.truncatedTokens - cut)];
  }
  const prefixes = { query: profile.queryPrefix, document: profile.documentPrefix };
  return (["query", "document"] as const).map((encodes) => {
    const sequence = encoder.encodeSingle(prefixes[encodes] + example[encodes]);
    const special = profile.singleTemplate.filter((piece) => "id" in piece).length;
    return spell(encodes, sequence, profile.singleTemplate, sequence.ids.length - special);
  });
}

/** One row a piece of the template: its name, its segment, its tokens each followed by its id. */
function pieceRows(tokens: ExampleSequence["tokens"]): string[][] {
  const rows: { piece: string; segment: number; cells: string[] }[] = [];
  for (const { piece, segment, token, id } of tokens) {
    const row = rows.at(-1);
    const continues = row?.piece === piece && (piece === "query" || piece === "document");
    if (row !== undefined && continues) row.cells.push(`${token} ${id}`);
    else rows.push({ piece, segment, cells: [token === piece ? String(id) : `${token} ${id}`] });
  }
  return rows.map(({ piece, segment, cells }) => [piece, `segment ${segment}`, cells.join(" · ")]);
}

/** tokenizer.json's vocabulary, as id → spelling. */
function spellingsOf(tokenizerJson: unknown): Map<number, string> {
  const { model, added_tokens } = tokenizerJson as {
    model: { vocab?: Record<string, number> | (readonly [string, number])[] };
    added_tokens?: readonly { id: number; content: string }[];
  };
  const vocabulary = model.vocab ?? {};
  const spellings = new Map<number, string>();
  if (Array.isArray(vocabulary)) for (const [id, [token]] of vocabulary.entries()) spellings.set(id, token);
  else for (const [token, id] of Object.entries(vocabulary)) spellings.set(id, token);
  for (const { id, content } of added_tokens ?? []) spellings.set(id, content);
  return spellings;
}

function describeHead({ head }: ModelProfile): string {
  switch (head.kind) {
    case "logit":
      return "logit: the classifier's only output";
    case "two-class":
      return `two-class: logit ${head.positive} − logit ${1 - head.positive}`;
    case "cosine":
      return `cosine: of ${head.pooling}-pooled vectors`;
  }
}

function describeTemplate(template: readonly TemplatePiece[], isPair: boolean): string {
  return template.map((piece) => ("id" in piece ? piece.token : isPair ? piece.text : "text")).join(" ");
}

function defaultDtype(profile: ModelProfile, precisions: readonly Precision[]): string | undefined {
  return profile.defaultDtype ?? precisions[0]?.dtype;
}

function table(rows: readonly (readonly string[])[], alignment: readonly ("left" | "right")[]): string[] {
  return alignColumns(
    rows.map((row) => row.map(toSingleLine)),
    alignment,
  );
}

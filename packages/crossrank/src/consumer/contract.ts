import { basename } from "node:path";
import type { ModelFiles, ModelProfile, TemplatePiece } from "@crossrank/core";
import {
  type CoreMlModel,
  describeModelPackage,
  openModelPackage,
  type PackageReport,
} from "@crossrank/formats/mlpackage";
import { CommandError } from "../failure.js";

/** A string that is tokenised as one: wording, and the places of texts. */
export interface TextRun {
  readonly parts: readonly (
    | { readonly literal: string }
    | { readonly text: "query" | "document" | "instruction"; readonly trim: boolean }
  )[];
  readonly segment: 0 | 1;
}

/** A template as a program follows it: ids that never change, and runs that hold texts. */
export type TemplateSection = { readonly ids: readonly number[]; readonly segment: 0 | 1 } | TextRun;

/** How the output of a row becomes a logit. */
export type Reading =
  | { readonly kind: "logit" }
  | { readonly kind: "class"; readonly positive: number; readonly classes: number }
  | { readonly kind: "cosine" };

/** Everything that a program in another language needs to score with an artifact. Plain JSON. */
export interface ConsumerContract {
  /** Id of the model. */
  readonly model: string;
  readonly family: "cross-encoder" | "bi-encoder" | "causal-lm";
  readonly template: readonly TemplateSection[];
  /** Where there is an instruction; null for a model that takes none. */
  readonly instructedTemplate: readonly TemplateSection[] | null;
  /** `""` for none. */
  readonly instruction: string;
  readonly queryPrefix: string;
  readonly documentPrefix: string;
  /** Tokens of a sequence, special tokens included. */
  readonly maxLength: number;
  readonly paddingId: number;
  readonly activation: "identity" | "sigmoid" | "tanh";
  /** Null where there is no Core ML package: a program can then make the ids, and compare them. */
  readonly artifact: ConsumerArtifact | null;
}

export interface ConsumerArtifact {
  /** Of the package, relative to the model. */
  readonly path: string;
  readonly inputs: readonly {
    readonly name: string;
    readonly source: "ids" | "mask" | "segments";
    readonly rank: 2 | 4;
  }[];
  /** Of every prediction; what is not used is filled up with padding. */
  readonly rows: number;
  /** Tokens of a row that it takes, ascending. */
  readonly lengths: readonly number[];
  readonly output: { readonly name: string; readonly columns: number };
  readonly reading: Reading;
}

/** What an input is, by its name: those of Hugging Face's models, which backend-coreml feeds too. */
const sources: Readonly<Record<string, "ids" | "mask" | "segments">> = {
  input_ids: "ids",
  attention_mask: "mask",
  token_type_ids: "segments",
};

/**
 * @param path of a package among the files; undefined where there is none.
 * @throws {CommandError} for a model or a package that these programs do not score with.
 */
export async function consumerContract(
  files: ModelFiles,
  profile: ModelProfile,
  path: string | undefined,
  signal: AbortSignal,
): Promise<ConsumerContract> {
  const { family, head } = profile;
  if (family !== "cross-encoder" && family !== "bi-encoder" && family !== "causal-lm")
    throw new CommandError(
      `${files.id} is a ${family}, for which there is no program. Take a cross-encoder, a bi-encoder or a yes/no model`,
    );
  if (profile.truncation !== "document-only")
    throw new CommandError(
      `${files.id} cuts by ${profile.truncation}; the programs cut the document alone. Set truncation to document-only in a --profile`,
    );
  const template = family === "bi-encoder" ? profile.singleTemplate : profile.pairTemplate;
  const sections = sectionsOf(template);
  return {
    // A folder's own name: where it lies here means nothing elsewhere.
    model: files.revision === undefined ? basename(files.id) : files.id,
    family,
    template: sections,
    instructedTemplate:
      profile.instructedTemplate === undefined ? null : sectionsOf(profile.instructedTemplate),
    instruction: profile.instruction ?? "",
    queryPrefix: profile.queryPrefix,
    documentPrefix: profile.documentPrefix,
    maxLength: profile.maxLength,
    paddingId: profile.paddingId,
    activation: profile.activation,
    artifact: path === undefined ? null : await artifactOf(files, path, head, signal),
  };
}

/** Adjacent wording and texts are tokenised as one string, as the model's own reference does. */
export function sectionsOf(template: readonly TemplatePiece[]): TemplateSection[] {
  const sections: TemplateSection[] = [];
  let parts: TextRun["parts"][number][] = [];
  let segment: 0 | 1 = 0;
  const close = (): void => {
    if (parts.length > 0) sections.push({ parts, segment });
    parts = [];
  };
  for (const piece of template) {
    if ("split" in piece || "token" in piece) close();
    if ("token" in piece) {
      const last = sections.at(-1);
      if (last !== undefined && "ids" in last && last.segment === piece.segment)
        sections[sections.length - 1] = { ids: [...last.ids, piece.id], segment: piece.segment };
      else sections.push({ ids: [piece.id], segment: piece.segment });
    } else if (!("split" in piece)) {
      if (parts.length === 0) segment = piece.segment;
      parts.push(
        "literal" in piece ? { literal: piece.literal } : { text: piece.text, trim: piece.trim ?? false },
      );
    }
  }
  close();
  return sections;
}

async function artifactOf(
  files: ModelFiles,
  path: string,
  head: ModelProfile["head"],
  signal: AbortSignal,
): Promise<ConsumerArtifact> {
  const report = await describeModelPackage(
    await openModelPackage(await localFolder(files, path, signal), { signal }),
  );
  const refuse = (problem: string): CommandError =>
    new CommandError(`${path}: ${problem}. Convert the model with crossrank convert --to mlpackage`);
  if (report.narrowedIds !== undefined) {
    const { input, element } = report.narrowedIds;
    throw refuse(`its program cuts the ids of ${input} to ${element}, which cannot hold them`);
  }
  const inputs = report.inputs.map((input) => inputOf(input, refuse));
  const [first] = inputs;
  if (
    first === undefined ||
    !inputs.some(({ source }) => source === "ids") ||
    !inputs.some(({ source }) => source === "mask")
  )
    throw refuse("it has no input_ids and attention_mask");
  if (inputs.some(({ shapes }) => shapes.join(";") !== first.shapes.join(";")))
    throw refuse("its inputs differ in shape");
  const rows = [...new Set(first.shapes.map(([count]) => count))];
  if (rows.length !== 1) throw refuse(`it has batches of ${rows.join(" and ")} rows`);
  const kind = head.kind === "cosine" ? "cosine" : "logit";
  const name = kind === "cosine" ? "pooled_output" : "logit";
  const output = report.outputs.find((one) => one.name === name);
  if (output === undefined || output.type.kind !== "multi-array" || output.type.element !== "float32")
    throw refuse(`it has no float32 output ${name}`);
  const columns = columnsOf(report, name);
  return {
    path,
    inputs: inputs.map(({ shapes: _shapes, ...input }) => input),
    rows: rows[0] ?? 1,
    lengths: [...new Set(first.shapes.map(([, length]) => length))].sort((a, b) => a - b),
    output: { name, columns },
    reading: readingOf(head, columns, refuse),
  };
}

type Input = PackageReport["inputs"][number];

function inputOf({ name, type }: Input, refuse: (problem: string) => Error) {
  const source = Object.hasOwn(sources, name) ? sources[name] : undefined;
  if (source === undefined) throw refuse(`it has an input ${name}, which nothing fills`);
  if (type.kind !== "multi-array" || type.element !== "int32")
    throw refuse(`its input ${name} is no int32 array`);
  const declared = shapesOf(type);
  const rank = declared?.[0]?.length;
  const fits = declared?.every(
    (shape) => shape.length === rank && (rank === 2 || (rank === 4 && shape[1] === 1 && shape[2] === 1)),
  );
  if (declared === undefined || fits !== true)
    throw refuse(`its input ${name} has shapes other than fixed (rows, length) or (rows, 1, 1, length)`);
  const shapes = [
    ...new Map(declared.map((shape) => [shape.join(), [shape[0] ?? 0, shape.at(-1) ?? 0] as const])).values(),
  ].sort((a, b) => a[1] - b[1]);
  return { name, source, rank: rank === 4 ? (4 as const) : (2 as const), shapes };
}

function shapesOf(
  type: Extract<CoreMlModel["inputs"][number]["type"], { kind: "multi-array" }>,
): readonly (readonly number[])[] | undefined {
  if (type.flexibility === undefined) return [type.shape];
  return type.flexibility.kind === "enumerated" ? [type.shape, ...type.flexibility.shapes] : undefined;
}

/** coremltools leaves the shape of an output out where it depends on the input's; the program may still say it. */
function columnsOf({ outputs }: PackageReport, name: string): number {
  const output = outputs.find((one) => one.name === name);
  const declared = output?.type.kind === "multi-array" ? output.type.shape.at(-1) : undefined;
  return declared ?? output?.inProgram?.dimensions.at(-1) ?? 1;
}

function readingOf(head: ModelProfile["head"], columns: number, refuse: (problem: string) => Error): Reading {
  const kind = head.kind;
  if (kind === "logit" && columns === 1) return { kind };
  if (kind === "two-class" && columns === 2) return { kind: "class", positive: head.positive, classes: 2 };
  if (kind === "class" && columns === head.classes)
    return { kind, positive: head.positive, classes: columns };
  if (kind === "cosine" && (head.modules ?? []).every((module) => module.kind === "normalize"))
    return { kind };
  throw refuse(`its output of ${columns} numbers is not read by the programs for a head of kind ${kind}`);
}

/** A package is a folder: all of its files are fetched. */
async function localFolder(files: ModelFiles, path: string, signal: AbortSignal): Promise<string> {
  const inside = (await files.list({ signal })).filter((file) => file.path.startsWith(`${path}/`));
  let folder = "";
  for (const file of inside) {
    const local = await files.localPath(file.path, { signal });
    folder = local.slice(0, local.length - (file.path.length - path.length));
  }
  return folder;
}

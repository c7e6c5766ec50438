import {
  type HeadModule,
  type LateTemplate,
  type ModelProfile,
  type ProfileSources,
  scaleOf,
  type TemplatePiece,
} from "@crossrank/core";
import { formatCount } from "./text.js";

/** Name, value, source. */
export type Fact = readonly [name: string, value: string, source: string];

/** What a model is, a fact a row, with the file that each comes from. */
export function describeProfile(
  profile: ModelProfile,
  sources: ProfileSources,
  spell: (id: number) => string,
): Fact[] {
  const { family, head, activation, expectations, listTemplate, lateTemplate } = profile;
  const fact = (name: string, value: string, field: keyof ModelProfile): Fact => [
    name,
    value,
    sources[field] ?? "",
  ];
  const isPair = family === "cross-encoder" || family === "causal-lm";
  return [
    fact("family", family, "family"),
    fact("architecture", profile.architecture, "architecture"),
    fact("head", describeHead(profile, spell), "head"),
    ...("modules" in head ? (head.modules ?? []) : []).map((module, index) =>
      fact(`module ${index + 1}`, describeModule(module), "head"),
    ),
    fact("activation", `${activation}, so scores are on scale ${scaleOf(profile)}`, "activation"),
    fact("max length", `${formatCount(profile.maxLength)} tokens${ownTokens(profile)}`, "maxLength"),
    ...(listTemplate === undefined
      ? []
      : [
          fact(
            "list",
            `at most ${formatCount(listTemplate.maxDocuments)} documents a sequence, ` +
              `${formatCount(listTemplate.maxDocumentTokens)} tokens a document, ` +
              `${formatCount(listTemplate.maxQueryTokens)} a query`,
            "listTemplate",
          ),
        ]),
    ...(lateTemplate === undefined ? [] : describeLate(lateTemplate, sources.lateTemplate ?? "", spell)),
    fact("truncation", profile.truncation, "truncation"),
    fact("padding id", String(profile.paddingId), "paddingId"),
    fact("segments", profile.readsSegments ? "read" : "not read", "readsSegments"),
    ...(family === "bi-encoder"
      ? [fact("template", inline(profile.singleTemplate, true), "singleTemplate")]
      : []),
    ...(isPair ? [fact("template", inline(profile.pairTemplate), "pairTemplate")] : []),
    ...(listTemplate === undefined ? [] : [fact("template", "of a list, below", "listTemplate")]),
    ...(isPair
      ? [
          fact(
            "instruction",
            profile.instructedTemplate === undefined
              ? "not taken"
              : profile.instruction
                ? `${JSON.stringify(profile.instruction)} unless another is given`
                : "taken, none by default",
            profile.instruction === undefined ? "instructedTemplate" : "instruction",
          ),
        ]
      : []),
    ...(["queryPrefix", "documentPrefix"] as const)
      .filter((field) => family === "bi-encoder" || profile[field] !== "")
      .map((field) =>
        fact(
          field === "queryPrefix" ? "query prefix" : "document prefix",
          JSON.stringify(profile[field]),
          field,
        ),
      ),
    ...(expectations === undefined
      ? []
      : [
          fact(
            "expectations",
            `${expectations.pairs.length} pairs, checked at load to ± ${expectations.tolerance}`,
            "expectations",
          ),
        ]),
  ];
}

/** How texts are read apart, and which of their tokens are compared. */
function describeLate(
  { query, document, maxQueryTokens, maxDocumentTokens, expansion, skipped }: LateTemplate,
  source: string,
  spell: (id: number) => string,
): Fact[] {
  const filled =
    expansion === undefined
      ? "none"
      : `with ${spell(expansion.token)} ${expansion.token} to ${formatCount(maxQueryTokens)} tokens, ` +
        `${expansion.attended ? "which the query attends to" : "which the query does not attend to"}`;
  const shown = skipped.slice(0, 40).map((id) => JSON.stringify(spell(id)));
  const more = skipped.length > shown.length ? ` and ${skipped.length - shown.length} more` : "";
  const rows: readonly (readonly [string, string])[] = [
    ["query template", `${inline(query)}, at most ${formatCount(maxQueryTokens)} tokens`],
    ["query expansion", filled],
    ["document template", `${inline(document)}, at most ${formatCount(maxDocumentTokens)} tokens`],
    ["not compared", skipped.length === 0 ? "nothing" : `of a document: ${shown.join(" ")}${more}`],
  ];
  return rows.map(([name, value]): Fact => [name, value, source]);
}

/** The templates that are too long for a row, a piece a row. */
export function describeTemplates(
  profile: ModelProfile,
  sources: ProfileSources,
): { readonly title: string; readonly rows: string[][] }[] {
  const { pairTemplate, instructedTemplate, listTemplate } = profile;
  const from = (source: string | undefined): string => (source === undefined ? "" : `, from ${source}`);
  const sections: { title: string; rows: string[][] }[] = [];
  const add = (title: string, pieces: readonly TemplatePiece[]): void => {
    if (pieces.length > 0) sections.push({ title, rows: pieces.map(pieceRow) });
  };
  if (isPrompt(pairTemplate)) add(`template of a pair${from(sources.pairTemplate)}`, pairTemplate);
  if (instructedTemplate !== undefined) {
    add(`template with an instruction${from(sources.instructedTemplate)}`, instructedTemplate);
  }
  if (listTemplate !== undefined) {
    const parts = { before: "before", item: "each document", separator: "between documents", after: "after" };
    for (const [part, words] of Object.entries(parts)) {
      add(
        `template of a list, ${words}${from(sources.listTemplate)}`,
        listTemplate[part as keyof typeof parts],
      );
    }
  }
  return sections;
}

function pieceRow(piece: TemplatePiece): string[] {
  if ("split" in piece) return ["split", "what comes before and after is tokenised apart"];
  if ("id" in piece) return ["token", `${piece.token} ${piece.id}`];
  if ("literal" in piece) return ["wording", JSON.stringify(piece.literal)];
  return ["text", `${piece.text}${piece.trim ? ", without white space at its ends" : ""}`];
}

/** `[CLS] 101 · query · [SEP] 102`, or what it is where that would be too long. */
function inline(template: readonly TemplatePiece[], single = false): string {
  if (isPrompt(template)) return "a prompt, below";
  return template
    .map((piece) => {
      if ("id" in piece) return `${piece.token} ${piece.id}`;
      return single ? "text" : nameOfPiece(piece);
    })
    .join(" · ");
}

/** A special token's spelling, a text's name, or wording in quotation marks. */
export function nameOfPiece(piece: TemplatePiece): string {
  if ("split" in piece) return "split";
  if ("id" in piece) return piece.token;
  return "literal" in piece ? JSON.stringify(piece.literal) : piece.text;
}

function isPrompt(template: readonly TemplatePiece[]): boolean {
  return template.some((piece) => "literal" in piece);
}

function ownTokens({ pairTemplate, singleTemplate, family }: ModelProfile): string {
  if (family === "late-interaction") return "";
  const template = family === "bi-encoder" ? singleTemplate : pairTemplate;
  if (template.length === 0 || isPrompt(template)) return "";
  return `, ${template.filter((piece) => "id" in piece).length} of them special`;
}

function describeHead({ head }: ModelProfile, spell: (id: number) => string): string {
  switch (head.kind) {
    case "logit":
      return "logit: the classifier's only output";
    case "class":
      return `class: logit ${head.positive} − log Σ exp of the other ${head.classes - 1}`;
    case "two-class":
      return `two-class: logit ${head.positive} − logit ${1 - head.positive}`;
    case "pooled-chain":
      return `pooled-chain: ${head.pooling}-pooled vector, through the modules`;
    case "answer-tokens": {
      const token = (id: number): string => `${JSON.stringify(spell(id))} ${id}`;
      const difference = `logit of ${token(head.positive)}${head.negative === undefined ? "" : ` − logit of ${token(head.negative)}`}`;
      return `answer-tokens: ${head.temperature === undefined ? difference : `(${difference}) / ${head.temperature}`}`;
    }
    case "cosine":
      return `cosine: of ${head.pooling}-pooled vectors`;
    case "max-sim":
      return "max-sim: for each vector of the query the largest cosine with one of the document, summed; the score is their mean";
    case "marker-cosine":
      return (
        `marker-cosine: of the vectors at ${spell(head.query)} ${head.query} (query) and ` +
        `${spell(head.document)} ${head.document} (document)`
      );
  }
}

function describeModule(module: HeadModule): string {
  switch (module.kind) {
    case "normalize":
      return "normalize (L2)";
    case "layer-norm":
      return `layer-norm, epsilon ${module.epsilon}; ${weights(module)}`;
    case "dense":
      return `dense, ${module.activation}${module.residual ? (module.residualWeight === undefined ? ", plus its input" : `, plus its input times ${module.residualWeight}`) : ""}; ${weights(module)}`;
  }
}

function weights({ file, weight, bias }: Exclude<HeadModule, { kind: "normalize" }>): string {
  return `${file} ${weight}${bias === undefined ? "" : ` and ${bias}`}`;
}

import * as z from "zod/mini";
import type { TemplatePiece, TextSlot } from "../contract/model-profile.js";
import { mostPieces, segment, tokenId } from "../profile/ranges.js";
import type { TextTokenizer } from "../tokenizer/tokenizer.js";
import { finish, type Turns } from "../tokenizer/turns.js";

const namedId = z.tuple([z.string(), tokenId]);
const item = z.union([
  z.object({ SpecialToken: z.object({ id: z.string(), type_id: segment }) }),
  z.object({ Sequence: z.object({ id: z.enum(["A", "B"]), type_id: segment }) }),
]);
const processorSchema = z.discriminatedUnion("type", [
  z.object({
    type: z.literal("TemplateProcessing"),
    single: z.array(item).check(z.maxLength(mostPieces)),
    pair: z.array(item).check(z.maxLength(mostPieces)),
    special_tokens: z.record(
      z.string(),
      z.object({ ids: z.array(tokenId).check(z.maxLength(mostPieces)), tokens: z.array(z.string()) }),
    ),
  }),
  z.object({ type: z.literal("BertProcessing"), cls: namedId, sep: namedId }),
  z.object({ type: z.literal("RobertaProcessing"), cls: namedId, sep: namedId }),
]);

export interface Templates {
  readonly pair: readonly TemplatePiece[];
  readonly single: readonly TemplatePiece[];
}

/**
 * The templates that tokenizer.json's `post_processor` describes; undefined when it puts no special tokens.
 * The three kinds as in Rust's tokenizers, `src/processors/{template,bert,roberta}.rs`.
 *
 * @throws {z.core.$ZodError} when a known processor is malformed.
 */
export function readTemplates(postProcessor: unknown): Templates | undefined {
  const type = typeOf(postProcessor);
  if (type === "Sequence") {
    const { processors } = z.object({ processors: z.array(z.unknown()) }).parse(postProcessor);
    return processors.map(readTemplates).find((templates) => templates !== undefined);
  }
  if (type === undefined || !["TemplateProcessing", "BertProcessing", "RobertaProcessing"].includes(type)) {
    return undefined;
  }
  const processor = processorSchema.parse(postProcessor);
  if (processor.type === "TemplateProcessing") {
    const pieces = (items: z.infer<typeof item>[]): TemplatePiece[] =>
      items.flatMap((entry): TemplatePiece[] => {
        if ("Sequence" in entry) {
          return [
            {
              text: entry.Sequence.id === "A" ? "query" : "document",
              segment: entry.Sequence.type_id,
            },
          ];
        }
        const { id: name, type_id } = entry.SpecialToken;
        const special = Object.hasOwn(processor.special_tokens, name)
          ? processor.special_tokens[name]
          : undefined;
        if (special === undefined) throw new Error(`special_tokens has no entry for ${name}`);
        return special.ids.map((id, position) => ({
          token: special.tokens[position] ?? name,
          id,
          segment: type_id,
        }));
      });
    return { pair: pieces(processor.pair), single: pieces(processor.single) };
  }
  const special = ([token, id]: [string, number], segment: 0 | 1): TemplatePiece => ({ token, id, segment });
  const { cls, sep } = processor;
  const single: TemplatePiece[] = [special(cls, 0), { text: "query", segment: 0 }, special(sep, 0)];
  return processor.type === "BertProcessing"
    ? { single, pair: [...single, { text: "document", segment: 1 }, special(sep, 1)] }
    : { single, pair: [...single, special(sep, 0), { text: "document", segment: 0 }, special(sep, 0)] };
}

/** A string of a template that is tokenised as one: wording, and the places of texts. */
export interface Run {
  readonly parts: readonly (string | { readonly text: TextSlot; readonly trim: boolean })[];
  readonly segment: 0 | 1;
}

/** A template with its wording tokenised: ids that never change, and runs that hold texts. */
export interface CompiledTemplate {
  readonly sections: readonly ({ readonly ids: readonly number[]; readonly segment: 0 | 1 } | Run)[];
  /** Tokens of the sections that never change. */
  readonly fixed: number;
  /** Wording and no split: its reference tokenises one long text, and not texts of their own. */
  readonly isPrompt: boolean;
}

export function compileTemplate(
  template: readonly TemplatePiece[],
  tokenizer: Pick<TextTokenizer, "encodeInTurns">,
): CompiledTemplate {
  return finish(compileTemplateInTurns(template, tokenizer));
}

/** The same in turns, for wording that may be long. */
export function* compileTemplateInTurns(
  template: readonly TemplatePiece[],
  tokenizer: Pick<TextTokenizer, "encodeInTurns">,
): Turns<CompiledTemplate> {
  const sections: CompiledTemplate["sections"][number][] = [];
  let parts: Run["parts"][number][] = [];
  let segment: 0 | 1 = 0;
  let fixed = 0;
  const add = (ids: readonly number[], of: 0 | 1): void => {
    sections.push({ ids, segment: of });
    fixed += ids.length;
  };
  const close = function* (): Turns<void> {
    if (parts.every((part) => typeof part === "string")) {
      const wording = parts.join("");
      if (wording !== "")
        add((yield* tokenizer.encodeInTurns(wording, Number.MAX_SAFE_INTEGER)).ids, segment);
    } else sections.push({ parts, segment });
    parts = [];
  };
  for (const piece of template) {
    if ("split" in piece || "id" in piece || piece.segment !== segment) yield* close();
    if ("split" in piece) continue;
    segment = piece.segment;
    if ("id" in piece) add([piece.id], segment);
    else parts.push("literal" in piece ? piece.literal : { text: piece.text, trim: piece.trim === true });
  }
  yield* close();
  const isPrompt =
    template.some((piece) => "literal" in piece) && !template.some((piece) => "split" in piece);
  return { sections, fixed, isPrompt };
}

/** The texts that a template has places for. */
export function textsOf(template: readonly TemplatePiece[]): ReadonlySet<TextSlot> {
  return new Set(template.flatMap((piece) => ("text" in piece ? [piece.text] : [])));
}

function typeOf(value: unknown): string | undefined {
  return z.object({ type: z.string() }).safeParse(value).data?.type;
}

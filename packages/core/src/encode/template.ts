import * as z from "zod/mini";
import type { TemplatePiece } from "../contract/model-profile.js";

const namedId = z.tuple([z.string(), z.int()]);
const item = z.union([
  z.object({ SpecialToken: z.object({ id: z.string(), type_id: z.int() }) }),
  z.object({ Sequence: z.object({ id: z.enum(["A", "B"]), type_id: z.int() }) }),
]);
const processorSchema = z.discriminatedUnion("type", [
  z.object({
    type: z.literal("TemplateProcessing"),
    single: z.array(item),
    pair: z.array(item),
    special_tokens: z.record(z.string(), z.object({ ids: z.array(z.int()), tokens: z.array(z.string()) })),
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
              segment: entry.Sequence.type_id === 1 ? 1 : 0,
            },
          ];
        }
        const { id: name, type_id } = entry.SpecialToken;
        const special = processor.special_tokens[name];
        if (special === undefined) throw new Error(`special_tokens has no entry for ${name}`);
        return special.ids.map((id, position) => ({
          token: special.tokens[position] ?? name,
          id,
          segment: type_id === 1 ? 1 : 0,
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

/** Special tokens that a template adds to its texts. */
export function countSpecialTokens(template: readonly TemplatePiece[]): number {
  return template.filter((piece) => "id" in piece).length;
}

function typeOf(value: unknown): string | undefined {
  return z.object({ type: z.string() }).safeParse(value).data?.type;
}

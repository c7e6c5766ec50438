import type { TemplatePiece } from "../contract/model-profile.js";
import { compileTemplate } from "./bounded-template.js";
import { type AddedToken, piecesOfPrompt, standInFor } from "./prompt-template.js";

/** What sentence-transformers passes to a chat template besides the messages. */
export interface ChatTemplateSettings {
  /** `"flat"`: a message's content is its text. `"structured"`: a list of typed parts. */
  readonly format: "flat" | "structured";
  /** `add_generation_prompt` and other arguments of the template. */
  readonly arguments: Readonly<Record<string, unknown>>;
}

export interface ChatTemplates {
  /** Without an instruction. */
  readonly pair: readonly TemplatePiece[];
  /** With one; undefined when the template leaves it out. */
  readonly instructed: readonly TemplatePiece[] | undefined;
}

/**
 * The template of a pair that a chat template describes, found by rendering it with stand-ins: sentence-transformers
 * gives a pair as messages of the roles `query` and `document` and an instruction as a `system` message before them
 * (`base/modality.py`, `pair_to_messages` and `prepend_prompt_to_messages`).
 *
 * @throws {Error} when the template fails, does not stay within bounds, changes its texts, or leaves one of them out.
 */
export async function readChatTemplate(
  template: string,
  settings: ChatTemplateSettings,
  addedTokens: readonly AddedToken[],
): Promise<ChatTemplates> {
  const renderTemplate = await compileTemplate(template);
  const render = (instructed: boolean, pad: string): string => {
    const message = (role: string, text: string): object => ({
      role,
      content: settings.format === "flat" ? text : [{ type: "text", text }],
    });
    const padded = (text: "query" | "document" | "instruction"): string => pad + standInFor(text) + pad;
    return renderTemplate({
      ...settings.arguments,
      messages: [
        ...(instructed ? [message("system", padded("instruction"))] : []),
        message("query", padded("query")),
        message("document", padded("document")),
      ],
    });
  };
  const read = (instructed: boolean): TemplatePiece[] => {
    const bare = render(instructed, "");
    const spaced = render(instructed, "  ");
    const kept = bare.replaceAll(/\ue000\w+\ue001/gu, "  $&  ");
    if (spaced !== kept && spaced !== bare) throw new Error("it changes the texts that it is given");
    const pieces = piecesOfPrompt(bare, addedTokens, spaced !== kept);
    for (const text of ["query", "document"] as const) {
      const places = pieces.filter((piece) => "text" in piece && piece.text === text).length;
      if (places === 0 || (text === "document" && places > 1))
        throw new Error(`it has ${places} places for the ${text}`);
    }
    return pieces;
  };
  const pair = read(false);
  const instructed = read(true);
  const takesInstruction = instructed.some((piece) => "text" in piece && piece.text === "instruction");
  return { pair, instructed: takesInstruction ? instructed : undefined };
}

import type { TemplatePiece, TextSlot } from "../contract/model-profile.js";

/** An entry of tokenizer.json's `added_tokens`. */
export interface AddedToken {
  readonly id: number;
  readonly content: string;
  readonly special: boolean;
}

/** Stand-ins for texts: private-use characters around a word, which no prompt has. */
const standIns: Readonly<Record<TextSlot, string>> = {
  query: "\ue000query\ue001",
  document: "\ue000document\ue001",
  instruction: "\ue000instruction\ue001",
};

export function standInFor(text: TextSlot): string {
  return standIns[text];
}

/**
 * A prompt in which texts are stand-ins → pieces. Special tokens that are spelled in the prompt's own wording stand
 * by their id, the longest spelling first, as tokenizers match added tokens.
 */
export function piecesOfPrompt(
  prompt: string,
  addedTokens: readonly AddedToken[],
  trim: boolean,
): TemplatePiece[] {
  const special = new Map(
    addedTokens
      .filter((token) => token.special && token.content !== "" && prompt.includes(token.content))
      .map((token) => [token.content, token.id]),
  );
  const slots = new Map(Object.entries(standIns).map(([text, standIn]) => [standIn, text as TextSlot]));
  const spellings = [...slots.keys(), ...special.keys()].sort((a, b) => b.length - a.length);
  const pattern = new RegExp(`(${spellings.map(escapeForRegExp).join("|")})`, "u");
  return prompt
    .split(pattern)
    .filter((part) => part !== "")
    .map((part): TemplatePiece => {
      const text = slots.get(part);
      if (text !== undefined) return { text, segment: 0, ...(trim ? { trim } : {}) };
      const id = special.get(part);
      return id === undefined ? { literal: part, segment: 0 } : { token: part, id, segment: 0 };
    });
}

function escapeForRegExp(text: string): string {
  return text.replace(/[\\^$.*+?()[\]{}|/-]/gu, "\\$&");
}

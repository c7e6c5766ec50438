import type { ModelProfile, TemplatePiece } from "@crossrank/core";

/**
 * The sequence that a model reads, as one text: special tokens as they are spelled, wording as it is, the caller's
 * texts as `{query}`, `{document}` and `{instruction}`. For people and for telling two templates apart; ids are not in
 * it.
 */
export function templateText(profile: ModelProfile): string {
  const { family, instruction, instructedTemplate, listTemplate, lateTemplate } = profile;
  if (lateTemplate !== undefined) {
    const { query, document, expansion } = lateTemplate;
    return `${textOf(query)}${expansion === undefined ? "" : "…"} | ${textOf(document)}`;
  }
  if (family === "bi-encoder") return textOf(profile.singleTemplate).replace("{query}", "{text}");
  if (family === "listwise" && listTemplate !== undefined) {
    const { before, item, separator, after } = listTemplate;
    const repeated = `(${textOf(item)})`;
    return `${textOf(before)}${repeated}${textOf(separator)}${repeated}…${textOf(after)}`;
  }
  const instructed = instruction !== undefined && instruction !== "" ? instructedTemplate : undefined;
  return textOf(instructed ?? profile.pairTemplate);
}

function textOf(pieces: readonly TemplatePiece[]): string {
  return pieces
    .map((piece) => {
      if ("token" in piece) return piece.token;
      if ("text" in piece) return `{${piece.text}}`;
      return "literal" in piece ? piece.literal : "";
    })
    .join("");
}

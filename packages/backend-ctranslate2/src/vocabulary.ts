import type { Problem } from "@crossrank/backend-kit";
import type { LoadRequest } from "@crossrank/core";
import {
  CTranslate2FormatError,
  largestVocabulary,
  readVocabulary,
  type SpelledTokenizer,
  vocabularyProblem,
} from "@crossrank/formats/ctranslate2";
import type { ArtifactChoice } from "./artifact.js";
import type { EncoderFacts } from "./encoder.js";

const tokenizerFile = "tokenizer.json";

/**
 * Holds the artifact's vocabulary against the tokenizer that the model's texts get their ids by. CTranslate2 itself
 * reads it where texts are given to it, which is not done here.
 *
 * @returns what is wrong; undefined where nothing is, or where the model has no tokenizer, without which nothing is
 * ranked.
 */
export async function judgeVocabulary(
  { files, signal }: Pick<LoadRequest, "files" | "signal">,
  { vocabulary: { path } }: ArtifactChoice,
  { vocabulary: rows }: EncoderFacts,
): Promise<Problem | undefined> {
  const listed = await files.list({ signal });
  if (!listed.some((file) => file.path === tokenizerFile)) return undefined;
  const refuse = (problem: string): Problem => ({
    problem: `${path} is not this model's: ${problem}`,
    fix: "Take the artifact that belongs to this model, or write it anew with `crossrank convert --to ctranslate2`",
  });
  // A byte more than is read: whatever the list says of its size.
  const bytes = await files.readBytes(path, { start: 0, end: largestVocabulary + 1 }, { signal });
  const tokenizer = await files.readText(tokenizerFile, { signal });
  try {
    const problem = vocabularyProblem(readVocabulary(bytes), rows, parsed(tokenizer));
    return problem === undefined ? undefined : refuse(problem);
  } catch (error) {
    if (!(error instanceof CTranslate2FormatError || error instanceof SyntaxError)) throw error;
    return refuse(error.message);
  }
}

/** Core has read it before, and refuses what is none. */
function parsed(text: string): SpelledTokenizer {
  const value: unknown = JSON.parse(text.replace(/^\ufeff/, ""));
  return typeof value === "object" && value !== null ? value : {};
}

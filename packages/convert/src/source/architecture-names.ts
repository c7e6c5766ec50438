/**
 * The architectures that can be described: `model_type` of config.json, and what people call it. Encoders first. A plain
 * table, so that a command's help costs no more.
 */
export const architectureNames = {
  bert: "BERT",
  roberta: "RoBERTa",
  "xlm-roberta": "XLM-RoBERTa",
  camembert: "CamemBERT",
  electra: "ELECTRA",
  distilbert: "DistilBERT",
  mpnet: "MPNet",
  modernbert: "ModernBERT",
  "deberta-v2": "DeBERTa-v2",
  qwen3: "Qwen3",
  qwen2: "Qwen2",
  gemma: "Gemma",
  gemma2: "Gemma 2",
  gemma3_text: "Gemma 3",
  llama: "Llama",
  llama_bidirec: "Llama without a causal mask",
  mistral: "Mistral",
} as const;

/** What to do with a late interaction model where a format has no place for it, as an imperative clause. */
export const lateInteractionFix = "Take onnx or mnn, or run its own weights with mlx";

export type ArchitectureName = keyof typeof architectureNames;

/** What a format's writer takes, whatever it refuses of their settings. */
export const writtenArchitectures: Readonly<Record<"onnx" | "mlpackage", readonly ArchitectureName[]>> = {
  onnx: [
    "bert",
    "roberta",
    "xlm-roberta",
    "camembert",
    "electra",
    "distilbert",
    "mpnet",
    "modernbert",
    "deberta-v2",
  ],
  mlpackage: ["bert", "roberta", "xlm-roberta", "camembert", "electra", "distilbert"],
};

/** `"BERT, RoBERTa and XLM-RoBERTa"`. */
export function named(architectures: readonly ArchitectureName[]): string {
  const names = architectures.map((architecture) => architectureNames[architecture]);
  return names.length < 2 ? names.join("") : `${names.slice(0, -1).join(", ")} and ${names.at(-1)}`;
}

/** Lines of at most so many characters as fit a terminal of 100 beside the format's name. */
export function wrapped(text: string): readonly string[] {
  const lines: string[] = [];
  for (const word of text.split(" ")) {
    const last = lines.at(-1);
    if (last === undefined || last.length + 1 + word.length > 86) lines.push(word);
    else lines[lines.length - 1] = `${last} ${word}`;
  }
  return lines;
}

export const inputFormats = ["text", "jsonl", "csv", "tsv"] as const;
export type InputFormat = (typeof inputFormats)[number];

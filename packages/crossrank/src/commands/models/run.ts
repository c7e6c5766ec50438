import { formatOf } from "../../backend-names.js";
import { type Context, print } from "../../context.js";
import { alignColumns } from "../../text.js";

export interface ModelsCommandOptions {
  readonly language?: string;
  /** Millions of parameters. */
  readonly maxSize?: number;
  readonly licence?: string;
  readonly backend?: string;
  readonly json?: true;
}

/** What is held of a model; null is what is not held. lab/published/known_models.py writes known-models.json. */
interface KnownModel {
  readonly id: string;
  /** ISO 639-1, or `multilingual`. */
  readonly languages: readonly string[] | null;
  /** Millions. */
  readonly parameters: number | null;
  readonly licence: { readonly value: string; readonly source: string } | null;
  /** Tokens. */
  readonly maxLength: { readonly value: number; readonly source: string } | null;
  readonly formats: readonly string[] | null;
  readonly evidence: readonly { readonly what: string; readonly source: string }[];
}

/** As its model card has it. */
const nano: KnownModel = {
  id: "nano",
  languages: ["en"],
  parameters: 14,
  licence: { value: "apache-2.0", source: "@crossrank/model-nano" },
  maxLength: null,
  formats: ["onnx"],
  evidence: [{ what: "embedded", source: "@crossrank/model-nano" }],
};

/** Weights of which every format is made. */
const weights = "safetensors";

export async function runModelsCommand(options: ModelsCommandOptions, _context: Context): Promise<void> {
  const { default: published } = await import("./known-models.json", { with: { type: "json" } });
  const all: readonly KnownModel[] = [nano, ...published];
  const found = all.filter((model) => isAskedFor(model, options) === true);
  const unknown = all.filter((model) => isAskedFor(model, options) === undefined).length;
  if (options.json === true) return print(`${JSON.stringify({ models: found, unknown }, undefined, 2)}\n`);
  return print(table(found, unknown));
}

/** Undefined where the fact is not held that decides. */
function isAskedFor(
  { languages, parameters, licence, formats }: KnownModel,
  { language, maxSize, licence: licences, backend }: ModelsCommandOptions,
): boolean | undefined {
  const wanted = licences
    ?.toLowerCase()
    .split(",")
    .map((one) => one.trim());
  const format = backend === undefined ? undefined : (formatOf(backend) ?? backend);
  const answers: readonly (boolean | undefined)[] = [
    language === undefined ||
      languages?.some((one) => one === language.toLowerCase() || one === "multilingual"),
    maxSize === undefined || (parameters === null ? undefined : parameters <= maxSize),
    wanted === undefined || (licence === null ? undefined : wanted.includes(licence.value)),
    format === undefined || formats?.some((one) => one === format || one === weights),
  ];
  if (answers.includes(false)) return false;
  return answers.includes(undefined) ? undefined : true;
}

function table(models: readonly KnownModel[], unknown: number): string {
  const rows = models.map(({ id, languages, parameters, licence, maxLength, formats, evidence }) => [
    id,
    languages?.join(", ") ?? "–",
    parameters === null ? "–" : parameters >= 1000 ? `${parameters / 1000}B` : `${parameters}M`,
    licence?.value ?? "–",
    maxLength === null ? "–" : String(maxLength.value),
    formats?.join(", ") ?? "–",
    evidence.map(({ what }) => what).join(", "),
  ]);
  const heading = ["model", "languages", "size", "licence", "tokens", "files", "held"];
  const left = "left" as const;
  const lines = alignColumns([heading, ...rows], [left, left, "right", left, "right", left, left]);
  const count = `${models.length} model${models.length === 1 ? "" : "s"}`;
  const more = unknown === 0 ? "" : `; of ${unknown} more it is not held what the options ask for`;
  return `${lines.join("\n")}\n\n${count}${more}\n`;
}

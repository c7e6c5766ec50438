import { CrossrankError } from "../contract/errors.js";
import type { ModelReader } from "../files/model-reader.js";

/** The settings of tokenizer_config.json that tokenizer.json says as well. */
interface Stated {
  readonly add_prefix_space?: unknown;
  readonly do_lower_case?: unknown;
  readonly strip_accents?: unknown;
  readonly tokenize_chinese_chars?: unknown;
  readonly cls_token?: unknown;
  readonly sep_token?: unknown;
  readonly [other: string]: unknown;
}

interface Step {
  readonly type?: unknown;
  readonly [setting: string]: unknown;
}

const stepNames = { normalizer: "normalizers", pre_tokenizer: "pretokenizers" } as const;

/** Deeper than anyone nests them. */
const mostLevels = 10;

/**
 * Where files of a tokenizer contradict each other and tokenizer.json is followed, as sentences without their periods. In
 * these cases transformers' versions differ, so that there is no reading to agree with; where they agree, the settings
 * have been worked into the tokenizer already and contradict it no more.
 *
 * @param tokenizerJson as the model's tokenizer is made of it.
 * @param specials tokens that its post_processor puts around texts, by name.
 */
export async function tokenizerDisagreements(
  reader: ModelReader,
  tokenizerJson: Readonly<Record<string, unknown>>,
  settings: Stated | undefined,
  specials: ReadonlySet<string>,
): Promise<string[]> {
  const notes: string[] = [];
  const differs = (file: string, said: string, step: string): void => {
    notes.push(`${file} says ${said}, and tokenizer.json's ${step}, which was followed`);
  };
  for (const [name, stated, used] of [
    ["add_prefix_space", settings?.add_prefix_space, prefixesSpace(tokenizerJson)],
    ...normalisations(tokenizerJson, settings),
  ] as const) {
    if (typeof stated !== "boolean" || used === undefined || stated === used) continue;
    const step = name === "add_prefix_space" ? "pre_tokenizer" : "normalizer";
    differs("tokenizer_config.json", `${name} ${stated}`, `${step} does ${used ? "it" : "not"}`);
  }
  if (specials.size === 0) return notes;
  const map = await specialTokensMap(reader);
  for (const [file, tokens] of [
    ["tokenizer_config.json", settings],
    ["special_tokens_map.json", map],
  ] as const) {
    for (const name of ["cls_token", "sep_token"] as const) {
      const token = contentOf(tokens?.[name]);
      if (token === undefined || specials.has(token)) continue;
      const shown = (some: string): string => JSON.stringify(some.slice(0, 40));
      const others = [...specials].slice(0, 4).map(shown).join(", ");
      differs(file, `${name} ${shown(token)}`, `post_processor puts ${others} around texts`);
    }
  }
  return notes;
}

/** All steps of one kind, those of sequences in their order. */
function stepsOf(tokenizerJson: Readonly<Record<string, unknown>>, kind: keyof typeof stepNames): Step[] {
  const within = (step: unknown, level: number): Step[] => {
    if (typeof step !== "object" || step === null || level > mostLevels) return [];
    const several = (step as Step)[stepNames[kind]];
    return Array.isArray(several) ? several.flatMap((one) => within(one, level + 1)) : [step as Step];
  };
  return within(tokenizerJson[kind], 0);
}

/** Whether a space goes before a text that has none; undefined where no step could put it there. */
function prefixesSpace(tokenizerJson: Readonly<Record<string, unknown>>): boolean | undefined {
  const answers = stepsOf(tokenizerJson, "pre_tokenizer").flatMap((step): boolean[] => {
    if (step.type === "ByteLevel") return [step["add_prefix_space"] === true];
    if (step.type !== "Metaspace") return [];
    const scheme = step["prepend_scheme"];
    return [typeof scheme === "string" ? scheme !== "never" : step["add_prefix_space"] !== false];
  });
  return answers.length === 0 ? undefined : answers.includes(true);
}

/** What each setting says, and what the normalizer does. */
function normalisations(
  tokenizerJson: Readonly<Record<string, unknown>>,
  settings: Stated | undefined,
): [name: string, stated: unknown, used: boolean | undefined][] {
  const steps = stepsOf(tokenizerJson, "normalizer");
  const lowers = steps.some(
    ({ type, lowercase }) => type === "Lowercase" || (type === "BertNormalizer" && lowercase === true),
  );
  const bert = steps.find(({ type }) => type === "BertNormalizer");
  return [
    ["do_lower_case", settings?.do_lower_case, lowers],
    // Of a BertNormalizer that says nothing, accents go with the capitals.
    [
      "strip_accents",
      settings?.strip_accents,
      bert && ((bert["strip_accents"] ?? bert["lowercase"]) === true || stripsAccents(steps)),
    ],
    [
      "tokenize_chinese_chars",
      settings?.tokenize_chinese_chars,
      bert && bert["handle_chinese_chars"] === true,
    ],
  ];
}

function stripsAccents(steps: readonly Step[]): boolean {
  return steps.some(({ type }) => type === "StripAccents");
}

/** A file that only repeats what others say: where it cannot be read, it says nothing. */
async function specialTokensMap(reader: ModelReader): Promise<Stated | undefined> {
  const text = await reader.text("special_tokens_map.json").catch((error: unknown) => {
    // An end that was asked for is none of the file's.
    if (!CrossrankError.isInstance(error)) throw error;
    return undefined;
  });
  try {
    const map: unknown = JSON.parse(text ?? "{}");
    return typeof map === "object" && map !== null ? (map as Stated) : undefined;
  } catch {
    return undefined;
  }
}

/** A token as transformers writes it: a string, or an object that holds it. */
function contentOf(token: unknown): string | undefined {
  const content =
    typeof token === "object" && token !== null ? (token as { content?: unknown }).content : token;
  return typeof content === "string" && content !== "" ? content : undefined;
}

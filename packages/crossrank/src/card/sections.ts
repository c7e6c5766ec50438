import type { ArtifactPort } from "@crossrank/backend-kit";
import { type ModelProfile, scaleOf } from "@crossrank/core";
import { describeProfile, describeTemplates } from "../describe.js";
import { formatBytes, formatCount, toSingleLine } from "../text.js";
import {
  type BenchFile,
  differenceOf,
  type EvaluatedSystem,
  type Evidence,
  evidenceFolder,
  staleSystem,
  staleVerification,
} from "./evidence.js";
import { licenceOf, valuesOf } from "./front-matter.js";
import type { CardArtifact, ModelFacts } from "./model-facts.js";

/** A part of a card. */
export interface CardSection {
  /** In its marks. */
  readonly name: string;
  /** Of a section that is not there yet. */
  readonly title: string;
  /** Other titles under which authors write it. */
  readonly titles: RegExp;
  /** A section of the author under one of these titles says it already, and nothing is added to it. */
  readonly isProse: boolean;
  /** A measurement that is there and not given again stays, where it is not of other files. */
  readonly isMeasured?: boolean;
  readonly content: string;
}

export interface CardInput {
  readonly facts: ModelFacts;
  readonly evidence: Evidence;
  /** Of the card as it is. */
  readonly yaml: string | undefined;
}

/** First words of a measurement that is not there. */
export const missingWord = "Not measured.";

/** All parts, in their order. */
export function cardSections(input: CardInput): CardSection[] {
  const { facts, yaml } = input;
  const prose = { isProse: true };
  const kept = { isProse: false };
  return [
    {
      name: "usage",
      title: "Usage",
      titles: /^(?:usage|how to use|python usage|quick ?start)\b/i,
      ...prose,
      content: usage(facts),
    },
    {
      name: "identity",
      title: "Identity",
      titles: /^(?:identity|model details|provenance|conversion pipeline)\b/i,
      ...kept,
      content: identity(facts, yaml),
    },
    { name: "variants", title: "Variants", titles: /^variants\b/i, ...kept, content: variants(facts) },
    {
      name: "architecture",
      title: "Architecture",
      titles: /^(?:architecture|model details)\b/i,
      ...prose,
      content: architecture(facts),
    },
    { name: "tokenizer", title: "Tokenizer", titles: /^tokenizer\b/i, ...kept, content: tokenizer(facts) },
    {
      name: "template",
      title: "Template",
      titles: /^(?:paired-input |input )?template\b/i,
      ...kept,
      content: template(facts),
    },
    {
      name: "truncation",
      title: "Truncation",
      titles: /^truncation\b/i,
      ...kept,
      content: truncation(facts),
    },
    {
      name: "inputs",
      title: "Input tensors",
      titles: /^(?:input tensors?|inputs)\b/i,
      ...kept,
      content: ports(facts, "inputs"),
    },
    {
      name: "outputs",
      title: "Output",
      titles: /^outputs?(?: tensors?)?\b/i,
      ...kept,
      content: `${ports(facts, "outputs")}\n\n${reading(facts.reading.profile)}`,
    },
    {
      name: "bench",
      title: "Performance",
      titles: /^performance\b/i,
      ...kept,
      isMeasured: true,
      content: performance(input),
    },
    {
      name: "quality",
      title: "Quality regression",
      titles: /^(?:quality|a\/b quality|evaluation)\b/i,
      ...kept,
      isMeasured: true,
      content: quality(input),
    },
    {
      name: "verification",
      title: "Verification",
      titles: /^verification\b/i,
      ...kept,
      isMeasured: true,
      content: verification(input),
    },
    {
      name: "failures",
      title: "Failure modes",
      titles: /^failure modes?\b/i,
      ...prose,
      content: failures(facts),
    },
    {
      name: "limits",
      title: "Known limitations",
      titles: /^(?:known )?limit(?:ation)?s\b/i,
      ...prose,
      content: limits(facts),
    },
    {
      name: "licence",
      title: "License",
      titles: /^(?:licen[cs]e|attribution)\b/i,
      ...prose,
      content: licence(facts, yaml),
    },
    {
      name: "reproduce",
      title: "How to reproduce",
      titles: /^(?:how to )?reproduc/i,
      ...prose,
      content: reproduce(facts),
    },
  ];
}

/** Text on one line of Markdown, in a table's cell too. */
function cell(text: string): string {
  return toSingleLine(text)
    .replace(/[&<>]/g, (one) => ({ "&": "&amp;", "<": "&lt;", ">": "&gt;" })[one] as string)
    .replace(/[\\`*_[\]~$]/g, "\\$&")
    .replaceAll("|", "&#124;");
}

/** A code span, in a table's cell too. */
function code(text: string): string {
  const line = toSingleLine(text);
  if (line.includes("|") || line.includes("`"))
    return `<code>${line.replace(/[&<>|`]/g, (one) => `&#${one.charCodeAt(0)};`)}</code>`;
  return `\`${line === "" ? " " : line}\``;
}

function table(header: readonly string[], rows: readonly (readonly string[])[]): string {
  return [
    `| ${header.join(" | ")} |`,
    `|${header.map(() => "---").join("|")}|`,
    ...rows.map((row) => `| ${row.join(" | ")} |`),
  ].join("\n");
}

/** A report for each artifact. */
function verifyName(artifact: CardArtifact | undefined): string {
  return artifact === undefined ? "verify.json" : `verify-${artifact.format}-${artifact.dtype}.json`;
}

/** A fence that no line of the text ends. */
function block(text: string, language = ""): string {
  const longest = Math.max(2, ...(text.match(/^`{3,}/gm) ?? []).map((run) => run.length));
  const fence = "`".repeat(longest + 1);
  return `${fence}${language}\n${text}\n${fence}`;
}

function list(rows: readonly string[]): string {
  return rows.map((row) => `- ${row}`).join("\n");
}

/** The name that an artifact has in the card and where it is published. */
export function publishedName({ path }: CardArtifact): string {
  return path.split("/").at(-1) as string;
}

function backendOf({ backend, dtype }: CardArtifact): string {
  return backend === "coreml" ? "coreml:reference" : backend === "mlx" ? "mlx" : `${backend}:${dtype}`;
}

interface Provenance {
  readonly source: string;
  readonly weights: readonly string[];
  readonly tools: string;
  readonly date: string;
  readonly options: string;
}

/** As convert writes it; what is not so is passed over. */
interface ProvenanceEntry {
  readonly files: readonly { readonly path: string; readonly sha256: string }[];
  readonly source: {
    readonly id: string;
    readonly revision: string | null;
    readonly files: readonly { readonly path: string; readonly sha256: string }[];
  };
  readonly converter: {
    readonly packages: Readonly<Record<string, string>>;
    readonly tools?: Readonly<Record<string, string>>;
    readonly node: string;
    readonly date: string;
  };
  readonly options?: Readonly<Record<string, unknown>>;
}

/** What provenance.json says of an artifact, where it is of these files. */
function provenanceOf(facts: ModelFacts, artifact: CardArtifact): Provenance | undefined {
  const entries = facts.documents["provenance.json"]?.["artifacts"];
  if (!Array.isArray(entries)) return undefined;
  for (const entry of entries as readonly ProvenanceEntry[]) {
    try {
      const { files, source, converter } = entry;
      if (differenceOf({ files }, artifact) !== undefined || files.length === 0) continue;
      const versions = Object.entries({ ...converter.packages, ...converter.tools, Node: converter.node });
      return {
        source: `${code(String(source.id))}${source.revision === null ? "" : ` at ${code(String(source.revision))}`}`,
        weights: source.files.map(({ path, sha256 }) => `${code(path)}, sha256 ${code(sha256)}`),
        tools: versions.map(([name, version]) => `${cell(name)} ${cell(String(version))}`).join(", "),
        date: String(converter.date),
        options: Object.entries(entry.options ?? {})
          .map(
            ([name, value]) => `${name} ${typeof value === "object" ? JSON.stringify(value) : String(value)}`,
          )
          .join(", "),
      };
    } catch {
      // An entry of another version of crossrank says nothing here.
    }
  }
  return undefined;
}

/** The repository that the card names as the model's origin, else the one that the conversion read. */
export function baseModelOf(facts: ModelFacts, yaml: string | undefined): string | undefined {
  const [named] = valuesOf(yaml, "base_model");
  if (named !== undefined) return named;
  const entries = facts.documents["provenance.json"]?.["artifacts"];
  const [first] = Array.isArray(entries) ? (entries as readonly { source?: { id?: unknown } }[]) : [];
  const id = first?.source?.id;
  return typeof id === "string" && /^[\w.-]+\/[\w.-]+$/.test(id) ? id : undefined;
}

function identity(facts: ModelFacts, yaml: string | undefined): string {
  const base = baseModelOf(facts, yaml);
  const rows: string[] = [];
  rows.push(
    `Source model: ${base === undefined ? "not known; write `base_model` into the front matter" : code(base)}`,
  );
  for (const artifact of facts.artifacts) {
    const from = provenanceOf(facts, artifact);
    rows.push(
      from === undefined
        ? `${code(publishedName(artifact))} (${cell(artifact.format)}, ${cell(artifact.dtype)}): not known how it was made; \`crossrank convert\` writes it down in provenance.json`
        : `${code(publishedName(artifact))}: converted from ${from.source} to ${cell(artifact.format)}, ${cell(artifact.dtype)}, by ${from.tools}, on ${cell(from.date)}${from.options === "" ? "" : `; ${cell(from.options)}`}. ${changeOf(artifact.dtype)}`,
      ...(from?.weights ?? []).map((weights) => `weights that were read: ${weights}`),
    );
  }
  const files = [...facts.artifacts.flatMap(({ files: own }) => own), ...[...facts.side.values()]];
  const different = [...new Map(files.map((file) => [file.path, file])).values()].sort((a, b) =>
    a.path < b.path ? -1 : 1,
  );
  return `${list(rows)}\n\n${table(
    ["File", "Bytes", "sha256"],
    different.map(({ path, size, sha256 }) => [code(path), String(size), code(sha256)]),
  )}`;
}

function changeOf(dtype: string): string {
  if (/^f(?:p|loat)?32$/i.test(dtype)) return "The precision is the weights' own or higher.";
  if (/^(?:b?fp?|b?float)16$/i.test(dtype))
    return "This is a reduction of precision and a change of format, and no integer quantisation.";
  return "The weights are quantised.";
}

function variants({ artifacts, reading: { profile } }: ModelFacts): string {
  return `${table(
    ["Artifact", "Format", "Precision", "Size", "Runs on"],
    artifacts.map((artifact) => [
      code(publishedName(artifact)),
      cell(artifact.format),
      cell(artifact.dtype) + (artifact.quantisation === undefined ? "" : ` (${cell(artifact.quantisation)})`),
      formatBytes(artifact.files.reduce((sum, { size }) => sum + size, 0)),
      cell(artifact.backend),
    ]),
  )}\n\nEach tag \`v{X}-{variant}\` holds exactly one variant: its files lie at the root, with configuration and tokenizer. \`main\` is whichever was published last, so pin a tag. The model reads at most ${formatCount(profile.maxLength)} tokens.`;
}

const configFacts: readonly (readonly [key: string, name: string])[] = [
  ["model_type", "model type"],
  ["architectures", "classes"],
  ["num_hidden_layers", "layers"],
  ["n_layers", "layers"],
  ["hidden_size", "hidden size"],
  ["num_attention_heads", "attention heads"],
  ["num_key_value_heads", "key and value heads"],
  ["intermediate_size", "intermediate size"],
  ["hidden_act", "activation"],
  ["vocab_size", "vocabulary"],
  ["max_position_embeddings", "positions"],
  ["type_vocab_size", "segments"],
];

function architecture({ reading: { profile, sources, tokenizerJson }, documents }: ModelFacts): string {
  const config = documents["config.json"] ?? {};
  const spell = spellings(tokenizerJson);
  const own = describeProfile(profile, sources, (id) => spell.get(id) ?? "")
    .filter(([name]) => /^(?:family|architecture|head|module|activation)/.test(name))
    .map(([name, value]) => [cell(name), cell(value)]);
  const declared = configFacts.flatMap(([key, name]) => {
    const value = config[key];
    return value === undefined || value === null
      ? []
      : [[cell(name), cell(Array.isArray(value) ? value.join(", ") : String(value))]];
  });
  return table(["Fact", "Value"], [...own, ...declared]);
}

interface AddedToken {
  readonly id: number;
  readonly content: string;
  readonly special?: boolean;
}

function addedTokens(tokenizerJson: unknown): AddedToken[] {
  const added: unknown =
    typeof tokenizerJson === "object" && tokenizerJson !== null
      ? Reflect.get(tokenizerJson, "added_tokens")
      : undefined;
  if (!Array.isArray(added)) return [];
  return (added as readonly Partial<AddedToken>[]).filter(
    (one): one is AddedToken => typeof one?.id === "number" && typeof one.content === "string",
  );
}

function spellings(tokenizerJson: unknown): ReadonlyMap<number, string> {
  return new Map(addedTokens(tokenizerJson).map(({ id, content }) => [id, content]));
}

const mostTokens = 40;

function tokenizer({ reading: { profile, tokenizerJson }, documents, side }: ModelFacts): string {
  const settings = documents["tokenizer_config.json"] ?? {};
  const roles = { ...(documents["special_tokens_map.json"] ?? {}), ...settings };
  const text = (value: unknown): unknown =>
    typeof value === "object" && value !== null ? Reflect.get(value, "content") : value;
  const roleOf = (content: string): string =>
    ["bos", "cls", "eos", "sep", "pad", "unk", "mask"]
      .filter((role) => text(roles[`${role}_token`]) === content)
      .map((role) => role.toUpperCase())
      .join(", ");
  const used = usedIds(profile);
  const tokens = addedTokens(tokenizerJson).filter(
    ({ id, content, special }) =>
      (special === true && (roleOf(content) !== "" || used.has(id))) || used.has(id),
  );
  const files = [...side.keys()].filter((path) => /token|vocab|merges|\.model$|chat_template/.test(path));
  const kind =
    typeof tokenizerJson === "object" && tokenizerJson !== null
      ? (Reflect.get(tokenizerJson, "model") as { type?: unknown } | undefined)?.type
      : undefined;
  const vocabulary = documents["config.json"]?.["vocab_size"];
  const rows = [
    ...(typeof settings["tokenizer_class"] === "string"
      ? [`Class: ${code(settings["tokenizer_class"])}${typeof kind === "string" ? ` (${cell(kind)})` : ""}`]
      : typeof kind === "string"
        ? [`Kind: ${cell(kind)}`]
        : []),
    files.length === 0
      ? "Files: none; it is part of the artifact"
      : `Files, at the root: ${files.map(code).join(", ")}`,
    `Padding: on the right, with id ${profile.paddingId}${spellingOf(tokenizerJson, profile.paddingId)}`,
    ...(typeof vocabulary === "number" ? [`Vocabulary: ${formatCount(vocabulary)}`] : []),
    "Text of users is tokenised as text: a special token's spelling in it is no special token.",
  ];
  const shown = tokens
    .slice(0, mostTokens)
    .map(({ id, content }) => [code(content), String(id), roleOf(content) || "in the template"]);
  return `${list(rows)}\n\n${shown.length === 0 ? "No special tokens are declared." : table(["Special token", "Id", "Role"], shown)}`;
}

function spellingOf(tokenizerJson: unknown, id: number): string {
  const spelling = spellings(tokenizerJson).get(id);
  return spelling === undefined ? "" : ` (${code(spelling)})`;
}

function usedIds(profile: ModelProfile): ReadonlySet<number> {
  const { pairTemplate, singleTemplate, instructedTemplate = [], listTemplate, lateTemplate } = profile;
  const pieces = [
    ...pairTemplate,
    ...singleTemplate,
    ...instructedTemplate,
    ...(listTemplate === undefined
      ? []
      : [...listTemplate.before, ...listTemplate.item, ...listTemplate.separator, ...listTemplate.after]),
    ...(lateTemplate === undefined ? [] : [...lateTemplate.query, ...lateTemplate.document]),
  ];
  return new Set(pieces.flatMap((piece) => ("id" in piece ? [piece.id] : [])));
}

function template({ reading: { profile, sources, tokenizerJson } }: ModelFacts): string {
  const spell = spellings(tokenizerJson);
  const parts = describeTemplates(profile, sources).map(
    ({ title, rows }) => `${cell(title)}:\n\n${block(rows.map((row) => row.join("  ")).join("\n"))}`,
  );
  const rows = describeProfile(profile, sources, (id) => spell.get(id) ?? "")
    .filter(
      ([name, value]) =>
        /template|prefix|instruction|expansion|^list$|not compared/.test(name) && !value.endsWith(", below"),
    )
    .map(([name, value]) => [cell(name), cell(value)]);
  const ids = sequenceLine(profile);
  return [
    ...(ids === undefined ? [] : [block(ids)]),
    ...(rows.length === 0 ? [] : [table(["Fact", "Value"], rows)]),
    ...parts,
  ].join("\n\n");
}

/** The sequence on one line, as the texts lie between the special tokens. */
function sequenceLine(profile: ModelProfile): string | undefined {
  const { family, pairTemplate, singleTemplate } = profile;
  const pieces = family === "bi-encoder" ? singleTemplate : family === "cross-encoder" ? pairTemplate : [];
  if (pieces.length === 0) return undefined;
  return pieces
    .map((piece) =>
      "id" in piece
        ? piece.token
        : "text" in piece
          ? `{${family === "bi-encoder" ? "text" : piece.text}}`
          : "literal" in piece
            ? piece.literal
            : "",
    )
    .join(" ");
}

function truncation({ reading: { profile } }: ModelFacts): string {
  const { family, maxLength, pairTemplate, listTemplate, lateTemplate } = profile;
  if (lateTemplate !== undefined) {
    return `A query is cut from the right to ${formatCount(lateTemplate.maxQueryTokens)} tokens, a document to ${formatCount(lateTemplate.maxDocumentTokens)}, special tokens included.`;
  }
  if (family === "bi-encoder")
    return `Each text is cut from the right to ${formatCount(maxLength)} tokens, special tokens included.`;
  if (listTemplate !== undefined) {
    return `A document is cut from the right to ${formatCount(listTemplate.maxDocumentTokens)} tokens, a query to ${formatCount(listTemplate.maxQueryTokens)}; a sequence holds at most ${formatCount(listTemplate.maxDocuments)} documents and ${formatCount(maxLength)} tokens.`;
  }
  if (profile.truncation !== "document-only") {
    return `Of query and document the longer one is cut first, from the right, until the sequence has ${formatCount(maxLength)} tokens (\`${profile.truncation}\`).`;
  }
  const isPrompt = pairTemplate.some((piece) => "literal" in piece);
  const own = pairTemplate.filter((piece) => "id" in piece).length;
  const sum = isPrompt ? "S - tokens of the prompt - len(query_tokens)" : `S - len(query_tokens) - ${own}`;
  return `The document is cut from the right, and the query never. Of a sequence of S tokens, at most ${formatCount(maxLength)}, there are left for the document:\n\n${block(`max_doc_tokens = ${sum}`)}\n\nWhere nothing is left, the result says \`queryOverflow\` and has no score: the pair ranks last.`;
}

const noPorts: Readonly<Record<string, string>> = {
  gguf: "A GGUF declares no tensors to its caller: the runtime takes token ids and gives",
  ctranslate2: "CTranslate2 declares no tensors to its caller: its encoder takes token ids and gives",
  safetensors:
    "Weights declare no tensors to their caller: the graph is made of config.json, takes token ids and gives",
  mnn: "The file declares no tensors that are read here; it takes what the ONNX graph of this model takes, and gives",
};

function ports({ artifacts, reading: { profile } }: ModelFacts, side: "inputs" | "outputs"): string {
  return artifacts
    .map((artifact) => {
      const own = artifact[side];
      const title = `**${cell(publishedName(artifact))}**`;
      if (own.length === 0) {
        const words = noPorts[artifact.format] ?? "The artifact does not say its tensors; it gives";
        return `${title}\n\n${words} ${rawOutput(profile)}.${factsOf(artifact)}`;
      }
      return `${title}\n\n${table(
        ["Name", "Type", "Shape", "Meaning"],
        own.map((port) => [
          code(port.name),
          cell(port.type ?? "?"),
          cell(shapeText(port)),
          meaningOf(port, side, profile),
        ]),
      )}${side === "inputs" ? factsOf(artifact) : ""}`;
    })
    .join("\n\n");
}

function factsOf({ facts }: CardArtifact): string {
  const rows = Object.entries(facts);
  return rows.length === 0
    ? ""
    : `\n\n${rows.map(([name, value]) => `${cell(name)}: ${cell(value)}`).join(" · ")}`;
}

function shapeText({ shape }: ArtifactPort): string {
  return shape === undefined ? "?" : `(${shape.map((size) => (size === "" ? "any" : size)).join(", ")})`;
}

function meaningOf({ name }: ArtifactPort, side: "inputs" | "outputs", profile: ModelProfile): string {
  if (side === "outputs") return cell(rawOutput(profile));
  if (/mask/.test(name)) return "1 for tokens, 0 for padding";
  if (/type/.test(name))
    return profile.readsSegments ? "segment of each token" : "zeros: the model reads no segments";
  if (/position/.test(name)) return "position of each token";
  return /ids?$/.test(name) ? `token ids, padded on the right with ${profile.paddingId}` : "";
}

function rawOutput({ head, family }: ModelProfile): string {
  switch (head.kind) {
    case "logit":
      return "one logit a pair";
    case "two-class":
      return "two logits a pair";
    case "class":
      return `${head.classes} logits a pair`;
    case "answer-tokens":
      return "the logits of the answer tokens at the last position";
    case "cosine":
      return "vectors of tokens, which are pooled and normalised";
    case "max-sim":
      return "a vector a token";
    case "marker-cosine":
      return "vectors, of which those at the markers are compared";
    case "pooled-chain":
      return `vectors of tokens for the ${family}'s head`;
  }
}

function reading(profile: ModelProfile): string {
  const scale = scaleOf(profile);
  const how = {
    identity: "The number that ranks is the score itself.",
    sigmoid: "A sigmoid of the logit is the score. Rank on the logit: rounded probabilities tie.",
    tanh: "A tanh of the logit is the score. Rank on the logit.",
  }[profile.activation];
  return `Scores are on the scale \`${scale}\`. ${how} Rows that fill a fixed batch up, and padding, are dropped.`;
}

function missing(what: string, command: string): string {
  return `${missingWord} ${what} This measures it:\n\n${block(command, "sh")}`;
}

function performance({ facts, evidence }: CardInput): string {
  const parts: string[] = [];
  for (const { content } of evidence.bench) {
    const own = content.systems.filter(({ description }) =>
      facts.artifacts.some((artifact) => differenceOf(description.system.artifact, artifact) === undefined),
    );
    if (own.length > 0) parts.push(benchPart(content, own));
  }
  if (parts.length > 0) return parts.join("\n\n");
  const backends = facts.artifacts.map((one) => `--backend ${backendOf(one)}`).join(" ");
  const { maxLength } = facts.reading.profile;
  const lengths = [128, 256, 512].filter((length) => length <= maxLength);
  const stale = evidence.bench.length > 0 ? " The bench that was given is of other files." : "";
  return missing(
    `No latency, throughput or memory is known of these files.${stale}`,
    `mkdir -p ${evidenceFolder}\ncrossrank bench . ${backends} --batch 1,4,10,20 --length ${lengths.length === 0 ? maxLength : lengths.join()} --format json > ${evidenceFolder}/bench.json\ncrossrank card .`,
  );
}

function benchPart(content: BenchFile, systems: BenchFile["systems"]): string {
  const parts = systems.map(({ name, description, cells, memory }) => {
    const { backend, artifact } = description.system;
    const peak =
      memory === undefined
        ? ""
        : `, ${formatBytes(memory.peakBytes)} of memory at most (${formatBytes(memory.beforeLoadBytes)} before the model)`;
    return `**${cell(name)}**: ${cell(backend.runtime.name)} ${cell(backend.runtime.version)}, ${cell(artifact.dtype)}${peak}. Artifact sha256 ${code(artifact.files[0]?.sha256 ?? "")}.\n\n${table(
      ["Batch", "Length", "p50 (ms)", "p95 (ms)", "p95 a pair (ms)", "Tokens/s"],
      cells.map((one) => [
        String(one.batch),
        String(one.length),
        one.p50.toFixed(2),
        one.p95.toFixed(2),
        one.p95PerPair.toFixed(2),
        formatCount(Math.round(one.tokensPerSecond)),
      ]),
    )}`;
  });
  const names = new Set(systems.map(({ name }) => name));
  const gates = content.gates.filter(({ backend }) => names.has(backend));
  const judged = gates.map(
    ({ gate, passed, backend, measured }) =>
      `Pass criterion ${code(gate)} (${cell(backend)}): ${passed ? "passed" : "**failed**"}${measured === undefined ? "" : `, measured ${measured.toPrecision(4)}`}`,
  );
  const { environment, load, warmUp, iterations } = content;
  const conditions = `${formatCount(warmUp)} calls of warm-up and ${formatCount(iterations)} counted calls a cell. ${cell(environment.cpu ?? "Unknown processor")}, ${environment.cores} threads, ${cell(environment.platform)}, Node ${cell(environment.node)}. Load average ${load.before.toFixed(1)} before, ${load.after.toFixed(1)} after.`;
  return [...parts, ...(judged.length === 0 ? [] : [list(judged)]), conditions].join("\n\n");
}

/** The systems of a report that are this folder's, each with its artifact. */
export function systemsOf(
  input: Pick<CardInput, "facts" | "evidence">,
  artifact: CardArtifact,
): {
  readonly system: EvaluatedSystem;
  readonly report: Evidence["eval"][number];
  readonly stale: string | undefined;
}[] {
  return input.evidence.eval.flatMap((report) =>
    report.content.systems
      .filter(({ model }) => model !== null && differenceOf(model.artifact, artifact) === undefined)
      .map((system) => ({
        system,
        report,
        stale: staleSystem(system, report.content, artifact, input.facts),
      })),
  );
}

function quality(input: CardInput): string {
  const { facts } = input;
  const rows: string[][] = [];
  const sentences: string[] = [];
  for (const artifact of facts.artifacts) {
    for (const { system, report, stale } of systemsOf(input, artifact)) {
      if (stale !== undefined) continue;
      const { task, settings, systems } = report.content;
      const at = system.metrics.findIndex(({ name }) => name === settings.primaryMetric);
      const metric = system.metrics[at];
      const reference = systems.find(({ role }) => role === "reference");
      if (metric === undefined) continue;
      const limited =
        task.counts.queries === task.counts.allQueries ? "" : ` of ${formatCount(task.counts.allQueries)}`;
      rows.push([
        cell(task.name),
        `${formatCount(task.counts.queries)}${limited}`,
        code(publishedName(artifact)),
        cell(metric.name),
        system.role === "reference" ? "–" : (reference?.metrics[at]?.expected.toFixed(4) ?? "–"),
        metric.expected.toFixed(4),
        metric.change === null ? "–" : signed(metric.change.mean),
        metric.change?.lowerBound == null ? "–" : signed(metric.change.lowerBound),
        system.passed === null ? "reference" : system.passed ? "passed" : "**failed**",
        code((artifact.files[0]?.sha256 ?? "").slice(0, 12)),
      ]);
      for (const { sentence } of system.gates) sentences.push(`${cell(system.name)}: ${cell(sentence)}`);
      const other = reference?.model;
      if (system.role !== "reference" && other != null)
        sentences.push(
          `The reference of ${cell(system.name)} on ${cell(task.name)} is ${cell(reference?.name ?? "")}: ${cell(other.backend.runtime.name)} ${cell(other.backend.runtime.version)}, ${cell(other.artifact.dtype)}.`,
        );
    }
  }
  if (rows.length === 0) {
    const own = facts.artifacts.map((one) => `--backend ${backendOf(one)}`).join(" ");
    const stale = input.evidence.eval.length > 0 ? " The report that was given is of other files." : "";
    return missing(
      `It is not known whether these files rank as the model that they were made from.${stale}`,
      `crossrank eval --task TASK --model . --backend REFERENCE ${own} --gate 0.005 --report ${evidenceFolder}/eval\ncrossrank card .`,
    );
  }
  return `${table(["Task", "Queries", "Artifact", "Metric", "Reference", "Here", "Δ", "Δ at least (95 %)", "Gate", "sha256"], rows)}\n\n${list([...new Set(sentences)])}`;
}

function signed(value: number): string {
  return `${value < 0 ? "−" : "+"}${Math.abs(value).toFixed(4)}`;
}

function verification({ facts, evidence }: CardInput): string {
  const rows: string[][] = [];
  for (const artifact of facts.artifacts) {
    for (const report of evidence.verify) {
      if (staleVerification(report, artifact, facts.side) !== undefined) continue;
      for (const { passed, goldens, summary, bound, backend } of report.content.verifications) {
        const { reference } = goldens;
        const versions = Object.entries(reference.versions ?? {}).map((one) => one.join(" "));
        rows.push([
          code(publishedName(artifact)),
          cell(backend.name),
          cell([reference.name, reference.dtype ?? "", ...versions].filter((one) => one !== "").join(", ")),
          summary.tokensCompared === 0
            ? "not compared"
            : `${summary.tokensCompared - summary.tokensDifferent} of ${summary.tokensCompared}`,
          `${summary.compared} of ${summary.cases}`,
          small(summary.maximum),
          small(summary.median),
          cell(
            bound.maximum === undefined
              ? `${bound.name}${bound.median === undefined ? "" : `, median ${bound.median}`}`
              : `max ${bound.maximum}`,
          ),
          passed ? "passed" : "**failed**",
          code((artifact.files[0]?.sha256 ?? "").slice(0, 12)),
        ]);
      }
    }
  }
  if (rows.length > 0) {
    return `${table(["Artifact", "Backend", "Reference", "Token sequences alike", "Cases compared", "Δ max", "Δ median", "Bound", "Result", "sha256"], rows)}\n\nThe cases are those of golden.json, with their token ids.`;
  }
  const [first] = facts.artifacts;
  const stale = evidence.verify.length > 0 ? " The verification that was given is of other files." : "";
  return missing(
    `It is not known whether these files give what the model's reference implementation gives.${stale}`,
    `mkdir -p ${evidenceFolder}\ncrossrank verify . --backend ${first === undefined ? "onnx" : backendOf(first)} --format json > ${evidenceFolder}/${verifyName(first)}\ncrossrank card .`,
  );
}

function small(value: number | null): string {
  return value === null ? "–" : value === 0 || value >= 1e-3 ? value.toFixed(4) : value.toExponential(1);
}

function usage({ artifacts, reading: { profile } }: ModelFacts): string {
  const instructed =
    profile.instructedTemplate === undefined
      ? ""
      : ', instruction: "Find the passage that answers the question."';
  const [first] = artifacts;
  const note =
    first?.backend === "coreml"
      ? '\n\nCore ML runs on macOS; elsewhere `backend: "coreml:reference"` computes the same package, to judge it.'
      : "";
  return `${block(
    `import { openReranker } from "crossrank";\n\n// Pin a tag: main is whichever variant was published last.\nconst reranker = await openReranker("OWNER/NAME", { revision: "TAG"${instructed} });\nconst { results } = await reranker.rerank({\n  query: "what is the capital of france?",\n  documents: ["Paris is the capital of France.", "Bread is baked in an oven."],\n});\nconsole.log(results[0]?.index, results[0]?.score);\nawait reranker.dispose();`,
    "js",
  )}\n\n\`golden.json\` holds fixed texts with their token ids and scores: \`crossrank verify OWNER/NAME --revision TAG\` ticks them off.${note}`;
}

function failures({ artifacts, reading: { profile } }: ModelFacts): string {
  const mac = artifacts.some(({ backend }) => backend === "coreml");
  return table(
    ["Failure", "Symptom", "Response"],
    [
      [
        "Download fails, or a hash does not fit",
        "`HubNetworkError`, `HashMismatchError`",
        "Keep the order of the first stage; run again, a download is resumed.",
      ],
      [
        "The artifact does not load",
        mac ? "a typed error of the backend; no Mac, or an older system" : "a typed error of the backend",
        "Fall back to another variant: `openReranker(id, { variants: […] })`.",
      ],
      [
        "The time budget is exceeded",
        "`status` is `partial` or `passthrough`",
        "Keep the order of the first stage for what was not scored; log the query.",
      ],
      [
        "The query alone fills the sequence",
        profile.truncation === "document-only" ? "`queryOverflow`, no score" : "the query is cut too",
        "Down-weight or skip the candidate.",
      ],
    ],
  );
}

function limits({ artifacts, reading: { profile } }: ModelFacts): string {
  const rows = [`At most ${formatCount(profile.maxLength)} tokens a sequence; longer documents are cut.`];
  for (const artifact of artifacts) {
    const name = code(publishedName(artifact));
    const fixed = artifact.inputs[0]?.shape?.[0];
    if (typeof fixed === "number" && fixed > 1)
      rows.push(
        `${name} has a fixed batch of ${fixed}: fewer pairs cost as much, and more are run in turns.`,
      );
    if (artifact.backend === "coreml") rows.push(`${name} runs on Apple's systems only.`);
    if (!/32$/.test(artifact.dtype))
      rows.push(
        `${name} is stored in ${cell(artifact.dtype)}: its scores differ from those of full precision, by what "Verification" says.`,
      );
  }
  rows.push("What languages it ranks is what the source model was trained for.");
  return list(rows);
}

function licence(facts: ModelFacts, yaml: string | undefined): string {
  const declared = licenceOf(yaml);
  const base = baseModelOf(facts, yaml);
  const files = [...facts.side.keys()].filter((path) => /^(?:LICEN|NOTICE|COPYING)/i.test(path));
  const own = files.length === 0 ? "" : ` Its text is in ${files.map(code).join(", ")}.`;
  if (declared === undefined)
    return `Not stated. Write \`license\` into the front matter, as the source model states it, and run \`crossrank card\` again.${own}`;
  return `${cell(declared)}${base === undefined ? "" : `, of the source model ${code(base)}`}. The conversion adds no weights of its own.${own}`;
}

function reproduce(facts: ModelFacts): string {
  const lines: string[] = [];
  for (const artifact of facts.artifacts) {
    const from = provenanceOf(facts, artifact);
    if (artifact.format !== "safetensors")
      lines.push(
        `crossrank convert SOURCE --to ${artifact.format} --dtype ${artifact.dtype} --output .${from === undefined ? "   # not known from provenance.json" : ""}`,
      );
  }
  for (const artifact of facts.artifacts)
    lines.push(
      `crossrank verify . --backend ${backendOf(artifact)} --format json > ${evidenceFolder}/${verifyName(artifact)}`,
    );
  const backends = facts.artifacts.map((one) => `--backend ${backendOf(one)}`).join(" ");
  lines.push(
    `crossrank eval --task TASK --model . --backend REFERENCE ${backends} --gate 0.005 --report ${evidenceFolder}/eval`,
    `crossrank bench . ${backends} --format json > ${evidenceFolder}/bench.json`,
    "crossrank card .",
    "crossrank publish . --repo OWNER/NAME --variant VARIANT --tag v0.1 --confirm",
  );
  return block(lines.join("\n"), "sh");
}

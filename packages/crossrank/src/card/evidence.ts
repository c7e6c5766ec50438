// What verify, eval and bench said, read back from their files, and whether it is of exactly this artifact.

import { readdir, readFile, stat } from "node:fs/promises";
import { join } from "node:path";
import { scaleOf } from "@crossrank/core";
import * as z from "zod/mini";
import { isLitter } from "./litter.js";
import { CardError } from "./markers.js";
import type { CardArtifact, HashedFile, ModelFacts } from "./model-facts.js";

/** Folder beside a model in which reports are looked for that are not named. It is not published. */
export const evidenceFolder = "evidence";

const hashed = z.object({ path: z.string(), sha256: z.string().check(z.regex(/^[0-9a-f]{64}$/)) });
const artifact = z.object({
  format: z.string(),
  dtype: z.string(),
  files: z.array(hashed).check(z.minLength(1)),
});
const backend = z.object({ name: z.string(), runtime: z.object({ name: z.string(), version: z.string() }) });
const number = z.nullable(z.number());

const verificationSchema: z.ZodMiniType<VerificationFile> = z.object({
  passed: z.boolean(),
  files: z.optional(z.array(hashed)),
  verifications: z
    .array(
      z.object({
        passed: z.boolean(),
        reason: z.string(),
        goldens: z.object({
          source: z.string(),
          reference: z.object({
            name: z.string(),
            dtype: z.optional(z.string()),
            versions: z.optional(z.record(z.string(), z.string())),
          }),
        }),
        model: z.object({ artifact }),
        backend,
        bound: z.looseObject({
          name: z.string(),
          maximum: z.optional(z.number()),
          median: z.optional(z.number()),
        }),
        summary: z.looseObject({
          cases: z.number(),
          compared: z.number(),
          tokensCompared: z.number(),
          tokensDifferent: z.number(),
          maximum: number,
          median: number,
        }),
      }),
    )
    .check(z.minLength(1)),
});

const system = z.looseObject({
  role: z.string(),
  name: z.string(),
  model: z.nullable(
    z.looseObject({
      backend,
      artifact,
      tokenizerSha256: z.nullable(z.string()),
      maxLength: z.number(),
      truncation: z.string(),
      instruction: z.nullable(z.string()),
      queryPrefix: z.string(),
      documentPrefix: z.string(),
      scale: z.string(),
      activation: z.string(),
      longDocuments: z.optional(z.unknown()),
      cascade: z.optional(z.unknown()),
    }),
  ),
  metrics: z.array(
    z.looseObject({
      name: z.string(),
      expected: z.number(),
      change: z.nullable(z.looseObject({ mean: z.number(), lowerBound: number })),
    }),
  ),
  gates: z.array(z.looseObject({ passed: z.nullable(z.boolean()), sentence: z.string() })),
  passed: z.nullable(z.boolean()),
});

const evaluationSchema: z.ZodMiniType<EvaluationFile> = z.looseObject({
  specificationVersion: z.literal("1"),
  task: z.looseObject({
    name: z.string(),
    source: z.string(),
    revision: z.nullable(z.string()),
    counts: z.looseObject({ queries: z.number(), allQueries: z.number(), pairs: z.number() }),
  }),
  settings: z.looseObject({
    primaryMetric: z.string(),
    margin: z.number(),
    maxLength: number,
    truncation: z.nullable(z.string()),
    instruction: z.nullable(z.string()),
  }),
  systems: z.array(system),
  passed: z.boolean(),
});

const benchSchema: z.ZodMiniType<BenchFile> = z.looseObject({
  warmUp: z.number(),
  iterations: z.number(),
  environment: z.looseObject({
    node: z.string(),
    platform: z.string(),
    cpu: z.nullish(z.string()),
    cores: z.number(),
  }),
  load: z.object({ before: z.number(), after: z.number() }),
  systems: z
    .array(
      z.looseObject({
        name: z.string(),
        description: z.looseObject({
          system: z.looseObject({
            backend,
            artifact,
            tokenizerSha256: z.nullable(z.string()),
            settings: z.record(z.string(), z.string()),
          }),
        }),
        cells: z.array(
          z.looseObject({
            batch: z.number(),
            length: z.number(),
            p50: z.number(),
            p95: z.number(),
            p95PerPair: z.number(),
            tokensPerSecond: z.number(),
            eventLoopDelay: z.number(),
          }),
        ),
        memory: z.optional(
          z.object({ peakBytes: z.number(), beforeLoadBytes: z.number(), method: z.string() }),
        ),
      }),
    )
    .check(z.minLength(1)),
  gates: z.array(
    z.looseObject({
      gate: z.string(),
      backend: z.string(),
      passed: z.boolean(),
      measured: z.optional(z.number()),
      limit: z.optional(z.number()),
    }),
  ),
});

interface ReportedArtifact {
  readonly format: string;
  readonly dtype: string;
  readonly files: readonly { readonly path: string; readonly sha256: string }[];
}

interface ReportedBackend {
  readonly name: string;
  readonly runtime: { readonly name: string; readonly version: string };
}

/** Of `crossrank verify --format json`, what is read here. */
export interface VerificationFile {
  readonly passed: boolean;
  readonly files?: readonly { readonly path: string; readonly sha256: string }[] | undefined;
  readonly verifications: readonly {
    readonly passed: boolean;
    readonly reason: string;
    readonly goldens: {
      readonly source: string;
      readonly reference: {
        readonly name: string;
        readonly dtype?: string | undefined;
        readonly versions?: Readonly<Record<string, string>> | undefined;
      };
    };
    readonly model: { readonly artifact: ReportedArtifact };
    readonly backend: ReportedBackend;
    readonly bound: {
      readonly name: string;
      readonly maximum?: number | undefined;
      readonly median?: number | undefined;
    };
    readonly summary: {
      readonly cases: number;
      readonly compared: number;
      readonly tokensCompared: number;
      readonly tokensDifferent: number;
      readonly maximum: number | null;
      readonly median: number | null;
    };
  }[];
}

export interface EvaluatedSystem {
  readonly role: string;
  readonly name: string;
  readonly model: {
    readonly backend: ReportedBackend;
    readonly artifact: ReportedArtifact;
    readonly tokenizerSha256: string | null;
    readonly maxLength: number;
    readonly truncation: string;
    readonly instruction: string | null;
    readonly queryPrefix: string;
    readonly documentPrefix: string;
    readonly scale: string;
    readonly activation: string;
    readonly longDocuments?: unknown;
    readonly cascade?: unknown;
  } | null;
  readonly metrics: readonly {
    readonly name: string;
    readonly expected: number;
    readonly change: { readonly mean: number; readonly lowerBound: number | null } | null;
  }[];
  readonly gates: readonly { readonly passed: boolean | null; readonly sentence: string }[];
  readonly passed: boolean | null;
}

/** Of a report.json of `crossrank eval`, what is read here. */
export interface EvaluationFile {
  readonly specificationVersion: "1";
  readonly task: {
    readonly name: string;
    readonly source: string;
    readonly revision: string | null;
    readonly counts: { readonly queries: number; readonly allQueries: number; readonly pairs: number };
  };
  readonly settings: {
    readonly primaryMetric: string;
    readonly margin: number;
    readonly maxLength: number | null;
    readonly truncation: string | null;
    readonly instruction: string | null;
  };
  readonly systems: readonly EvaluatedSystem[];
  readonly passed: boolean;
}

/** Of `crossrank bench --format json`, what is read here. */
export interface BenchFile {
  readonly warmUp: number;
  readonly iterations: number;
  readonly environment: {
    readonly node: string;
    readonly platform: string;
    readonly cpu?: string | null | undefined;
    readonly cores: number;
  };
  readonly load: { readonly before: number; readonly after: number };
  readonly systems: readonly {
    readonly name: string;
    readonly description: {
      readonly system: {
        readonly backend: ReportedBackend;
        readonly artifact: ReportedArtifact;
        readonly tokenizerSha256: string | null;
        readonly settings: Readonly<Record<string, string>>;
      };
    };
    readonly cells: readonly {
      readonly batch: number;
      readonly length: number;
      readonly p50: number;
      readonly p95: number;
      readonly p95PerPair: number;
      readonly tokensPerSecond: number;
      readonly eventLoopDelay: number;
    }[];
    readonly memory?:
      | { readonly peakBytes: number; readonly beforeLoadBytes: number; readonly method: string }
      | undefined;
  }[];
  readonly gates: readonly {
    readonly gate: string;
    readonly backend: string;
    readonly passed: boolean;
    readonly measured?: number | undefined;
    readonly limit?: number | undefined;
  }[];
}

/** A report and where it was read. */
export interface Read<Content> {
  readonly source: string;
  readonly content: Content;
}

export interface Evidence {
  readonly verify: readonly Read<VerificationFile>[];
  readonly eval: readonly Read<EvaluationFile>[];
  readonly bench: readonly Read<BenchFile>[];
}

export interface EvidencePaths {
  /** What `crossrank verify --format json` printed. Default: `evidence/verify*.json` of the folder. */
  readonly verify?: readonly string[] | undefined;
  /** Folders that `crossrank eval --report` wrote, or their report.json. Default: `evidence/eval*`. */
  readonly eval?: readonly string[] | undefined;
  /** What `crossrank bench --format json` printed. Default: `evidence/bench*.json`. */
  readonly bench?: readonly string[] | undefined;
}

/** Bytes of a report. */
const largestReport = 256 << 20;

/** @throws {CardError} for a file that is named and is not there, or is no report of its command. */
export async function readEvidence(folder: string, paths: EvidencePaths): Promise<Evidence> {
  const all = async <Content>(
    named: readonly string[] | undefined,
    usual: RegExp,
    schema: z.ZodMiniType<Content>,
    command: string,
  ): Promise<Read<Content>[]> => {
    const found: Read<Content>[] = [];
    const there =
      named ??
      (await evidenceAt(folder))
        .filter((name) => usual.test(name))
        .map((name) => join(folder, evidenceFolder, name));
    for (const path of there) {
      const content = await readReport(path, schema, command, named !== undefined);
      if (content !== undefined) found.push({ source: path, content });
    }
    return found;
  };
  return {
    verify: await all(paths.verify, /^verify.*\.json$/, verificationSchema, "crossrank verify --format json"),
    eval: await all(paths.eval, /^eval/, evaluationSchema, "crossrank eval --report"),
    bench: await all(paths.bench, /^bench.*\.json$/, benchSchema, "crossrank bench --format json"),
  };
}

async function evidenceAt(folder: string): Promise<string[]> {
  const names = await readdir(join(folder, evidenceFolder)).catch(() => []);
  return names.sort();
}

async function readReport<Content>(
  path: string,
  schema: z.ZodMiniType<Content>,
  command: string,
  isNamed: boolean,
): Promise<Content | undefined> {
  const refuse = (problem: string): never => {
    throw new CardError({ card: path, problem, fix: `Name a file that ${command} wrote` });
  };
  const outer = await stat(path).catch(() => undefined);
  const file = outer?.isDirectory() === true ? join(path, "report.json") : path;
  const status = await stat(file).catch(() => undefined);
  if (status === undefined || !status.isFile())
    return isNamed ? refuse("there is no such report") : undefined;
  if (status.size > largestReport)
    refuse(`it has ${status.size} bytes, and at most ${largestReport} are read`);
  let value: unknown;
  try {
    value = JSON.parse((await readFile(file, "utf8")).replace(/^\ufeff/, ""));
  } catch (error) {
    return refuse(
      error instanceof SyntaxError ? "it is not JSON" : `it cannot be read (${(error as Error).message})`,
    );
  }
  const read = z.safeParse(schema, value);
  if (read.success) return read.data;
  const [issue] = read.error.issues;
  return refuse(`it is no report of this kind (at ${issue?.path.join(".") || "its root"})`);
}

/** Why a report's artifact is another than the folder's; undefined where it is the same, file by file. */
export function differenceOf(
  { files }: { readonly files: readonly { readonly path: string; readonly sha256: string }[] },
  own: Pick<CardArtifact, "path" | "files">,
): string | undefined {
  const hashes = new Map(own.files.map(({ path, sha256 }) => [sha256, path]));
  // A runtime that hashes a whole folder has hashed that, too.
  const other = files.find(({ path, sha256 }) => !hashes.has(sha256) && !isLitter(path));
  if (other !== undefined)
    return `${other.path} was sha256 ${other.sha256.slice(0, 12)}…, which is no file of ${own.path} now`;
  const seen = new Set(files.map(({ sha256 }) => sha256));
  // An index of shards and the like decide no number, and runtimes do not hash them.
  const unseen = own.files.find(({ sha256, path }) => !seen.has(sha256) && !isDescription(path));
  return unseen === undefined ? undefined : `${unseen.path} was not part of what was measured`;
}

/** By name: any other file could be anything, and would be published unseen. */
function isDescription(path: string): boolean {
  return /(?:^|\/)(?:Manifest|Metadata|FeatureDescriptions|config|(?:shared_)?vocabulary|[^/]+\.index)\.json$/.test(
    path,
  );
}

/** Why a verification is of other files than the folder has now. */
export function staleVerification(
  { content }: Read<VerificationFile>,
  own: CardArtifact,
  side: ReadonlyMap<string, HashedFile>,
): string | undefined {
  const difference = content.verifications
    .map(({ model }) => differenceOf(model.artifact, own))
    .find((one) => one !== undefined);
  if (difference !== undefined) return difference;
  if (content.files === undefined)
    return "it says no hash of configuration and tokenizer, and is of an older crossrank";
  const then = new Map(content.files.map(({ path, sha256 }) => [path, sha256]));
  for (const [target, { sha256, path }] of side) {
    if (!decides(target)) continue;
    const before = then.get(path) ?? then.get(target);
    if (before === undefined) return `${path} was not there when it was verified`;
    if (before !== sha256)
      return `${path} was sha256 ${before.slice(0, 12)}… when it was verified, and is ${sha256.slice(0, 12)}… now`;
    then.delete(path);
    then.delete(target);
  }
  const gone = [...then.keys()].find((path) => decides(path));
  return gone === undefined ? undefined : `${gone} was there when it was verified, and is not now`;
}

/** Licences decide no score. */
function decides(path: string): boolean {
  return !/^(?:LICEN[CS]E|NOTICE|COPYING)/i.test(path);
}

/** Why an evaluated system is another than what the folder has now. */
export function staleSystem(
  system: EvaluatedSystem,
  { settings }: EvaluationFile,
  own: CardArtifact,
  facts: ModelFacts,
): string | undefined {
  const { model } = system;
  if (model === null) return "it is no model";
  if (model.cascade !== undefined) return "it is a cascade, whose ranking is also that of another model";
  const difference = differenceOf(model.artifact, own);
  if (difference !== undefined) return difference;
  const tokenizer = facts.side.get("tokenizer.json")?.sha256;
  if (model.tokenizerSha256 !== null && tokenizer !== undefined && model.tokenizerSha256 !== tokenizer)
    return `tokenizer.json was sha256 ${model.tokenizerSha256.slice(0, 12)}…, and is ${tokenizer.slice(0, 12)}… now`;
  const { profile } = facts.reading;
  const told = (["maxLength", "truncation", "instruction"] as const).find((name) => settings[name] !== null);
  if (told !== undefined) return `its ${told} was given, and is not the model's own`;
  if (model.maxLength > profile.maxLength)
    return `it read ${model.maxLength} tokens, and the model reads ${profile.maxLength}`;
  const now = {
    truncation: profile.truncation,
    instruction: profile.instruction ?? null,
    queryPrefix: profile.queryPrefix,
    documentPrefix: profile.documentPrefix,
    scale: scaleOf(profile),
    activation: profile.activation,
  };
  for (const [name, value] of Object.entries(now)) {
    const then = model[name as keyof typeof now];
    if (then !== value)
      return `its ${name} was ${JSON.stringify(then)}, and the folder's is ${JSON.stringify(value)}`;
  }
  return model.longDocuments === undefined
    ? undefined
    : "it scored long documents by passages, which the model does not by itself";
}

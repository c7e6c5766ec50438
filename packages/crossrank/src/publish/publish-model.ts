import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { InvalidInputError, type OptionNames, requireKnownOptions } from "@crossrank/core";
import {
  type Publication,
  type PublishedFile,
  type PublishFilesOptions,
  type PublishProgress,
  publishFiles,
  requireTag,
} from "@crossrank/hub";
import { type EvidencePaths, readEvidence } from "../card/evidence.js";
import { licenceOf, splitFrontMatter } from "../card/front-matter.js";
import { type CardArtifact, type ModelFacts, readModelFacts, requireInside } from "../card/model-facts.js";
import { cardFile, readCard, readmeYaml, renderCard } from "../card/write-card.js";
import { PublishRefusedError } from "./errors.js";
import { gatesOf } from "./gates.js";
import { artifactOfVariant, type PlannedFile, planFiles, requireReadable } from "./plan.js";
import { staysOnHub } from "./side-files.js";

/** What is to be published, and by what it is judged. */
export interface PlanPublicationOptions extends EvidencePaths {
  /** `owner/name` on the hub. */
  readonly repository: string;
  /** The variant's name, which ends the tag: `"ane"`, `"cpugpu"`, `"int8"`. */
  readonly variant: string;
  /** The version, which begins the tag: `"v0.1"`. */
  readonly tag: string;
  /** The artifact, relative to the folder. Default: the only one, or the one whose precision or format the variant says. */
  readonly file?: string | undefined;
  /** The artifact's precision, in place of `file`. */
  readonly dtype?: string | undefined;
  /** Default: MODEL_CARD.md in the folder. */
  readonly card?: string | undefined;
  readonly signal?: AbortSignal | undefined;
}

export interface PublishModelOptions
  extends PlanPublicationOptions,
    Pick<PublishFilesOptions, "endpoint" | "token" | "fetch" | "retry" | "check" | "onProgress"> {
  /** Must be true: a tag is for good. */
  readonly confirm: boolean;
}

/** The commit as it would be. */
export interface PublicationPlan {
  readonly repository: string;
  /** `v0.1-ane`. */
  readonly tag: string;
  /** The artifact, relative to the folder. */
  readonly artifact: string;
  readonly files: readonly {
    readonly path: string;
    readonly size: number;
    readonly sha256: string;
    /** Whether the hub is likely to keep it in LFS; it decides by itself. */
    readonly lfs: boolean;
  }[];
}

const planNames: OptionNames<PlanPublicationOptions> = {
  repository: "name",
  variant: "name",
  tag: "name",
  file: "name",
  dtype: "name",
  card: "name",
  verify: true,
  eval: true,
  bench: true,
  signal: "AbortSignal",
};

const publishNames: OptionNames<PublishModelOptions> = {
  ...planNames,
  endpoint: "string",
  token: "string",
  fetch: "function",
  retry: "object",
  check: true,
  onProgress: "function",
  confirm: "boolean",
};

/**
 * The commit that {@link publishModel} would make, without the network. Judges as it does.
 *
 * @throws {PublishRefusedError} with all that is in the way; otherwise as {@link publishModel}.
 */
export async function planPublication(
  folder: string,
  options: PlanPublicationOptions,
): Promise<PublicationPlan> {
  requireKnownOptions(options, planNames, "planPublication");
  return shown(await prepare(folder, options), options);
}

/**
 * Publishes one variant of a model: its files flat at the root of one commit, tagged `<tag>-<variant>` last, when what the
 * hub has is what was sent. Files of `main` that belong to another variant are removed in that commit; documents, pictures
 * and programs stay. A run that was stopped or killed can be run again.
 *
 * @throws {PublishRefusedError} without `confirm`, or without a passing verification, a passing evaluation and a card that
 * are of exactly these files. Nothing is sent.
 * @throws {CardError} when a report or the card cannot be read.
 * @throws {InvalidInputError} when an option is wrong; otherwise as `publishFiles` of @crossrank/hub.
 */
export async function publishModel(folder: string, options: PublishModelOptions): Promise<Publication> {
  requireKnownOptions(options, publishNames, "publishModel");
  if (options.confirm !== true) {
    throw new PublishRefusedError(folder, [
      "It was not confirmed. Look at the plan, and say confirm: a tag is for good.",
    ]);
  }
  const { facts, planned } = await prepare(folder, options);
  const { repository, signal, endpoint, token, fetch, retry, check } = options;
  // What is made here lies in a file too, so that all is read and sent alike.
  const staging = await mkdtemp(join(tmpdir(), "crossrank-publish-"));
  try {
    const files: PublishedFile[] = [];
    for (const [index, { path, from, sha256 }] of planned.entries()) {
      if ("file" in from)
        files.push({ path, from: await facts.files.localPath(from.file, { signal }), sha256 });
      else {
        const place = join(staging, String(index));
        await writeFile(place, from.content);
        files.push({ path, from: place, sha256 });
      }
    }
    const tag = tagOf(options);
    const publication = await publishFiles(repository, files, {
      tag,
      message: `Publish ${tag}`,
      keep: staysOnHub,
      ...(endpoint === undefined ? {} : { endpoint }),
      ...(token === undefined ? {} : { token }),
      ...(fetch === undefined ? {} : { fetch }),
      ...(retry === undefined ? {} : { retry }),
      ...(check === undefined ? {} : { check }),
      ...(signal === undefined ? {} : { signal }),
      ...(options.onProgress === undefined
        ? {}
        : { onProgress: (progress: PublishProgress) => options.onProgress?.(progress) }),
    });
    return publication;
  } finally {
    await rm(staging, { recursive: true, force: true });
  }
}

interface Prepared {
  readonly facts: ModelFacts;
  readonly artifact: CardArtifact;
  readonly planned: readonly PlannedFile[];
}

function tagOf({ tag, variant }: Pick<PlanPublicationOptions, "tag" | "variant">): string {
  requireTag("variant", variant);
  requireTag("tag", tag);
  const whole = `${tag}-${variant}`;
  requireTag("tag", whole);
  return whole;
}

async function prepare(folder: string, options: PlanPublicationOptions): Promise<Prepared> {
  const { repository, card: cardOption, variant, file, dtype } = options;
  const signal = options.signal ?? new AbortController().signal;
  if (typeof repository !== "string" || !/^[\w.-]+\/[\w.-]+$/.test(repository)) {
    throw new InvalidInputError("repository", `is ${JSON.stringify(repository)}, and must be owner/name`);
  }
  tagOf(options);
  const facts = await readModelFacts(folder, signal);
  const artifact = artifactOfVariant(facts, { variant, file, dtype });
  const evidence = await readEvidence(folder, options);
  const path = cardOption ?? join(folder, cardFile);
  const card = await readCard(path);
  const reasons = gatesOf(facts, artifact, evidence);
  const write = `Run crossrank card ${folder} with the same reports.`;
  if (card === "") reasons.push(`There is no card ${path}. ${write}`);
  else {
    const now = renderCard(card, path, { facts, evidence, fallbackYaml: await readmeYaml(folder) });
    if (now !== card) reasons.push(`${path} is not of these files and reports. ${write}`);
    const { yaml } = splitFrontMatter(card, path);
    if (licenceOf(yaml) === undefined)
      reasons.push(
        `${path} names no licence. Write license into its front matter, as the source model states it, and run crossrank card again.`,
      );
  }
  const planned = planFiles(facts, artifact, card);
  for (const { from } of planned) {
    if ("file" in from)
      await requireInside(folder, from.file, await facts.files.localPath(from.file, { signal }));
  }
  await requireReadable(facts, artifact, planned, signal);
  if (reasons.length > 0) throw new PublishRefusedError(folder, reasons);
  return { facts, artifact, planned };
}

/** What the hub keeps in LFS by itself: by the endings of its .gitattributes, and by size. */
const lfsEndings =
  /\.(?:7z|arrow|bin|bz2|ckpt|ftz|gguf|gz|h5|joblib|mlmodel|mnn|model|msgpack|npy|npz|onnx|onnx_data|ot|parquet|pb|pickle|pkl|pt|pth|rar|safetensors|tar|tflite|tgz|wasm|weight|xz|zip|zst)$/i;
/** Bytes. */
const largestPlain = 10 << 20;

function shown({ artifact, planned }: Prepared, options: PlanPublicationOptions): PublicationPlan {
  return {
    repository: options.repository,
    tag: tagOf(options),
    artifact: artifact.path,
    files: planned.map(({ path, size, sha256 }) => ({
      path,
      size,
      sha256,
      lfs: lfsEndings.test(path) || size > largestPlain,
    })),
  };
}

import { type ModelProfile, ModelProfileError } from "@crossrank/core";
import * as z from "zod/mini";
import { UnsupportedConversionError } from "../errors.js";
import type { Activation, OutputHead } from "./description.js";
import type { SourceWeights } from "./open-weights.js";
import { shortened } from "./shortened.js";

/** A model's config.json as it stands, entries of null left out. */
export type Config = Readonly<Record<string, unknown>>;

/** What an architecture's description is made from. */
export interface Source {
  readonly model: string;
  readonly config: Config;
  /** Names of the entries that config.json sets to null, where that is not the same as leaving them out. */
  readonly nulls: ReadonlySet<string>;
  readonly profile: ModelProfile;
  readonly weights: SourceWeights;
}

/** A setting of config.json that we do not compute. */
export function unsupported(
  { model }: Pick<Source, "model">,
  problem: string,
  fix = "Use the model with a backend that runs an export of its authors'.",
): UnsupportedConversionError {
  return new UnsupportedConversionError({ model, format: "description", problem, fix });
}

/**
 * The settings of config.json that a schema names. A value that the schema's literals and enumerations do not have is a
 * setting that is not supported; a number that is missing or is none makes the file a damaged one.
 *
 * @throws {UnsupportedConversionError} naming setting and value.
 * @throws {ModelProfileError} naming the setting.
 */
export function readSettings<T>(
  { model, config }: Pick<Source, "model" | "config">,
  schema: z.ZodMiniType<T>,
): T {
  const parsed = schema.safeParse(config);
  if (parsed.success) return parsed.data;
  const issue = parsed.error.issues.find(({ code }) => code === "invalid_value") ?? parsed.error.issues[0];
  const path = (issue?.path ?? []).join(".");
  const value = JSON.stringify((issue?.path ?? []).reduce<unknown>(at, config)) ?? "nothing";
  if (issue?.code === "invalid_value") {
    throw unsupported(
      { model },
      `config.json has ${path} ${shortened(value)}, and of ${String(config["model_type"])} only ${issue.values
        .map((known) => JSON.stringify(known))
        .join(", ")} is supported`,
    );
  }
  throw new ModelProfileError({
    model,
    file: "config.json",
    problem: `has ${path} ${shortened(value)}, which is no sound setting`,
    fix: "Download it again",
  });
}

function at(value: unknown, key: PropertyKey): unknown {
  return typeof value === "object" && value !== null ? Reflect.get(value, key) : undefined;
}

/** A whole number from 1 on, up to far beyond every published model's: rows and columns of weights, places, windows. */
export const size: z.ZodMiniNumber<number> = z.int().check(z.positive(), z.maximum(2 ** 24));

/** The same of layers and heads. */
export const count: z.ZodMiniNumber<number> = z.int().check(z.positive(), z.maximum(4096));

/** Of a token, counted from 0. That it is one of the vocabulary's is checked where the vocabulary is known. */
export const tokenId: z.ZodMiniNumber<number> = z.int().check(z.nonnegative(), z.maximum(2 ** 24));

/** What a norm adds to a variance. float32 has nothing below as a normal number. */
export const epsilon: z.ZodMiniNumber<number> = z.number().check(z.minimum(1e-30), z.maximum(1));

/** The base of rotary positions: below 1, late places would turn faster than early ones. */
export const rotaryBase: z.ZodMiniNumber<number> = z.number().check(z.minimum(1), z.maximum(1e12));

/** @throws {ModelProfileError} saying what is wrong with a number of config.json that is one. */
export function requireSetting(
  { model }: Pick<Source, "model">,
  isSound: boolean,
  problem: string,
): asserts isSound {
  if (isSound) return;
  throw new ModelProfileError({ model, file: "config.json", problem, fix: "Download it again" });
}

/** A setting that must have this value, or be absent. */
export function only<const T extends string | boolean | number>(
  value: T,
): z.ZodMiniDefault<z.ZodMiniLiteral<T>> {
  return z._default(z.literal(value), value as never);
}

export type ActivationName =
  | "gelu"
  | "gelu_python"
  | "gelu_new"
  | "gelu_pytorch_tanh"
  | "relu"
  | "silu"
  | "swish"
  | "tanh";

/** Names of transformers' activations (`activations.py`, ACT2FN) and what they are here. */
export const activationNames: Readonly<Record<ActivationName, Activation>> = {
  gelu: "gelu",
  gelu_python: "gelu",
  gelu_new: "gelu-tanh",
  gelu_pytorch_tanh: "gelu-tanh",
  relu: "relu",
  silu: "silu",
  swish: "silu",
  tanh: "tanh",
};

export const activationName: z.ZodMiniEnum<{ [Name in ActivationName]: Name }> = z.enum(
  Object.keys(activationNames) as ActivationName[],
) as never;

/**
 * Classes that the profile's head reads from the model's own classifier; undefined where core computes the head from
 * hidden states, or it is a vocabulary's.
 */
export function classesOf({ head }: ModelProfile): number | undefined {
  if (head.kind === "class") return head.classes;
  return head.kind === "logit" ? 1 : head.kind === "two-class" ? 2 : undefined;
}

/** What transformers calls the layers of a classifier. */
export const classifierTensor: RegExp = /^(?:pre_classifier|classifier|score)\./;

/**
 * The model's own classifier; undefined where the profile's head reads none.
 * @throws {ModelProfileError} where it reads one, and there is none.
 */
export function classifierHead(
  source: Source,
  classifier: (classes: number) => OutputHead,
): OutputHead | undefined {
  const classes = classesOf(source.profile);
  if (classes === undefined) return undefined;
  if (!source.weights.hasAny(classifierTensor))
    throw new ModelProfileError({
      model: source.model,
      file: source.weights.files.paths[0],
      problem: `holds no classifier, and the profile's head (${source.profile.head.kind}) reads one`,
      fix: "Correct the head of the profile (crossrank.json, or the option `profile`), or take a model that was trained with one",
    });
  return classifier(classes);
}

/** For models without a language-modelling head: hidden states where no classifier is wanted. */
export function encoderHead(source: Source, classifier: (classes: number) => OutputHead): OutputHead {
  const head = classifierHead(source, classifier);
  if (head !== undefined) return head;
  if (source.profile.head.kind === "answer-tokens")
    throw unsupported(
      source,
      `${String(source.config["model_type"])} is no language model, and its head is answer tokens`,
    );
  return { kind: "none" };
}

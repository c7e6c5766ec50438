import type { GgufValue } from "@crossrank/formats/gguf";
import { Refusal } from "./refusal.js";

/** A file's metadata, by the type that a key should have. A value of another type is a {@link Refusal}. */
export class Metadata {
  readonly #values: ReadonlyMap<string, GgufValue>;

  constructor(values: ReadonlyMap<string, GgufValue>) {
    this.#values = values;
  }

  /** A whole number from 0 to 2^32 - 1, as llama.cpp reads them; undefined when there is none. */
  count(key: string): number | undefined {
    const value = this.#values.get(key);
    if (value === undefined) return undefined;
    if (typeof value === "number" && Number.isInteger(value) && value >= 0 && value < 2 ** 32) return value;
    throw mistyped(key, "a whole number below 2^32");
  }

  requiredCount(key: string): number {
    return this.count(key) ?? missing(key);
  }

  number(key: string): number | undefined {
    const value = this.#values.get(key);
    if (value === undefined || typeof value === "number") return value;
    throw mistyped(key, "a number");
  }

  text(key: string): string | undefined {
    const value = this.#values.get(key);
    if (value === undefined || typeof value === "string") return value;
    throw mistyped(key, "a text");
  }

  requiredText(key: string): string {
    return this.text(key) ?? missing(key);
  }

  /** A list of yes and no; undefined where there is none, or where something else than a list stands there. */
  flags(key: string): readonly boolean[] | undefined {
    const value = this.#values.get(key);
    return typeof value === "object" ? value.numbers().map((flag) => flag !== 0) : undefined;
  }

  strings(key: string, encoding: "utf8" | "latin1" = "utf8"): readonly string[] {
    const value = this.#values.get(key) ?? missing(key);
    if (typeof value === "object" && value.elementType === "string") return value.strings(encoding);
    throw mistyped(key, "a list of texts");
  }
}

function missing(key: string): never {
  throw new Refusal(
    `its metadata have no "${key}"`,
    "It is no model that llama.cpp could run: convert it again",
  );
}

function mistyped(key: string, wanted: string): Refusal {
  return new Refusal(
    `"${key}" of its metadata is not ${wanted}`,
    "The file is damaged: download or convert it again",
  );
}

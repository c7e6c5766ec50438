import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import type { BackendInfo, CrossrankJson } from "@crossrank/core";
import type { Bound, Goldens, VerificationSummary } from "@crossrank/core/verify";
import * as z from "zod/mini";
import { artifactOf } from "./artifact-name.js";
import type { ArtifactSettings } from "./artifact-writer.js";
import type { BatchUse } from "./batch-use.js";

/** Name of the file beside a model's artifacts that says how they were made. */
export const provenanceFile = "provenance.json";

/** A file with its lower-case hex sha256. `path` is relative to the model. */
export interface HashedFile {
  readonly path: string;
  readonly size: number;
  readonly sha256: string;
}

/** What `provenance.json` says about one artifact. */
export interface ArtifactProvenance {
  readonly format: string;
  readonly dtype: string;
  /** The main file first. */
  readonly files: readonly HashedFile[];
  readonly source: {
    /** Repository id; of a plain folder its name alone. */
    readonly id: string;
    /** Commit; null for a plain folder. */
    readonly revision: string | null;
    /** The weights that were read. */
    readonly files: readonly HashedFile[];
  };
  readonly converter: {
    readonly packages: Readonly<Record<string, string>>;
    /** Versions of the programs of others that wrote a part of it. */
    readonly tools?: Readonly<Record<string, string>> | undefined;
    readonly node: string;
    /** ISO 8601, UTC. */
    readonly date: string;
  };
  /** The format's own settings (ONNX: `target`, and `activations` in int8), and: */
  readonly options: ArtifactSettings & {
    readonly tolerance?: number | undefined;
    /** Facts that overrode the source's own files. */
    readonly profile?: CrossrankJson | undefined;
  };
  /** How many tensors are stored in which precision, e.g. `{ "int8": 30, "fp32": 52 }`. */
  readonly tensors: Readonly<Record<string, number>>;
  /** Tensors of two dimensions that are not stored in `dtype`, by name: what it cannot hold, or must not. */
  readonly otherPrecision: Readonly<Record<string, string>>;
  /** Whether it was held against its source, and passed. False: nobody looked. */
  readonly verified: boolean;
  readonly verifications: readonly VerificationRecord[];
}

/** One passed verification. */
export interface VerificationRecord {
  readonly against: "source" | "golden.json";
  /** How its sequences were put into batches; absent where the backend chose. */
  readonly batches?: BatchUse | undefined;
  /** How many cases have more tokens than the artifact takes, and were not compared. Absent for none. */
  readonly leftOut?: number | undefined;
  readonly reference: Goldens["reference"];
  readonly backend: BackendInfo;
  readonly bound: Bound;
  readonly summary: VerificationSummary;
}

/** A provenance.json as it is: entries of other versions of crossrank are kept as they stand. */
export interface ProvenanceDocument {
  readonly specificationVersion: "1";
  readonly artifacts: readonly { readonly files: readonly { readonly path: string }[] }[];
}

const documentSchema: z.ZodMiniType<ProvenanceDocument> = z.looseObject({
  specificationVersion: z.literal("1"),
  artifacts: z.array(z.looseObject({ files: z.array(z.looseObject({ path: z.string() })) })),
});

/** @returns undefined when the text is something else than a provenance.json of crossrank's. */
export function parseProvenance(text: string): ProvenanceDocument | undefined {
  try {
    return documentSchema.parse(JSON.parse(text));
  } catch {
    return undefined;
  }
}

/** One entry an artifact, found by its main file: a new one takes the place of an old one. */
export function withArtifact(document: ProvenanceDocument | undefined, entry: ArtifactProvenance): string {
  const artifact = artifactOf(mainPath(entry));
  const others = (document?.artifacts ?? []).filter((other) => artifactOf(mainPath(other)) !== artifact);
  const artifacts = [...others, entry].toSorted((a, b) => compareText(mainPath(a), mainPath(b)));
  return `${JSON.stringify({ ...document, specificationVersion: "1", artifacts }, undefined, 2)}\n`;
}

/** Versions of the packages that decide what an artifact holds. */
export function packageVersions(): Record<string, string> {
  const resolve = createRequire(import.meta.url).resolve;
  return {
    "@crossrank/convert": versionIn(new URL("../package.json", import.meta.url)),
    "@crossrank/core": versionIn(resolve("@crossrank/core/package.json")),
  };
}

function versionIn(manifest: string | URL): string {
  return (JSON.parse(readFileSync(manifest, "utf8")) as { version: string }).version;
}

function mainPath({ files }: { readonly files: readonly { readonly path: string }[] }): string {
  return files[0]?.path ?? "";
}

function compareText(a: string, b: string): number {
  return a < b ? -1 : a > b ? 1 : 0;
}

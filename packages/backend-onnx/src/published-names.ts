import type { FoundArtifact } from "@crossrank/backend-kit";
import { artifactPaths, dtypes } from "./dtype.js";

/** What a file's name says, as sentence-transformers and optimum name what they write. */
export interface PublishedName {
  readonly dtype: string;
  /** By which it may be asked for: `qint8_avx512_vnni`, `O3`. */
  readonly alias: string;
  /** That it was made for; undefined for any. */
  readonly processor: string | undefined;
}

/**
 * `export_dynamic_quantized_onnx_model` and `export_optimized_onnx_model` of sentence-transformers 5 write
 * `model_qint8_avx512_vnni.onnx` and `model_O3.onnx`. O3 computes GELU only nearly; O4 is O3 in half precision, which
 * optimum makes for GPUs alone.
 */
export function publishedName(path: string): PublishedName | undefined {
  const name = path.slice(path.lastIndexOf("/") + 1).replace(/\.onnx$/i, "");
  const [, quantised, processor] =
    /(?:^|[_.-])(qu?int8[_-](avx512[_-]vnni|avx512|avx2|arm64|ppc64le))$/i.exec(name) ?? [];
  if (quantised !== undefined && processor !== undefined) {
    return {
      dtype: "int8",
      alias: quantised.toLowerCase().replaceAll("-", "_"),
      processor: processor.toLowerCase().replaceAll("-", "_"),
    };
  }
  const [, level] = /(?:^|[_.-])(O[1-4])$/i.exec(name) ?? [];
  if (level === undefined) return undefined;
  const alias = level.toUpperCase();
  return alias === "O4"
    ? { dtype: "fp16", alias, processor: "gpu" }
    : { dtype: "fp32", alias, processor: undefined };
}

/** What a machine's processor is, as far as files are made for it. */
export interface Processor {
  /** Names of processors whose files compute here as they were made to, the best one first. */
  readonly fits: readonly string[];
  /** In what ONNX Runtime adds up pairs of products of unsigned and signed bytes. */
  readonly sums: "16 bits" | "32 bits" | "unknown";
  /** For messages: `"x64 with avx512_vnni"`. */
  readonly name: string;
}

/**
 * @param arch Node's `process.arch`.
 * @param flags as Linux lists them. Where a system does not say them, of x64 what runs right on all: unsigned weights.
 * Signed ones overflow 16 bits in the instructions that processors without VNNI have for them (ONNX Runtime's
 * documentation on quantisation).
 */
export function processorOf(arch: string, flags: readonly string[]): Processor {
  const sums = "32 bits";
  if (arch === "arm64") return { fits: ["arm64"], sums, name: arch };
  if (arch === "ppc64") return { fits: ["ppc64le"], sums, name: arch };
  if (arch !== "x64") return { fits: [], sums, name: arch };
  const has = (flag: string): boolean => flags.includes(flag);
  const wide = has("avx512f") && has("avx512bw");
  const multiplies = (wide && has("avx512_vnni")) || has("avx_vnni");
  const fits = [...(multiplies ? ["avx512_vnni"] : []), ...(wide ? ["avx512"] : []), "avx2"];
  const withoutVnni = flags.length === 0 ? "unknown" : "16 bits";
  return { fits, sums: multiplies ? sums : withoutVnni, name: `${arch} with ${fits[0]}` };
}

/** What to say of a file that was made for another processor; undefined where it fits. */
export function madeElsewhere(
  processor: string | undefined,
  { fits, name }: Processor,
  onGpu: boolean,
): string | undefined {
  if (processor === undefined || fits.includes(processor)) return undefined;
  if (processor !== "gpu") return `is made for ${processor}, and this machine's processor is ${name}`;
  return onGpu
    ? undefined
    : "is half precision made for a GPU (O4 of optimum), and a processor runs it slowly";
}

/**
 * Every artifact of a model's files, the one to take first at the front: of each precision the usual places, then those
 * of other names. `"?"` where the name says nothing.
 */
export function artifactsAmong(
  paths: readonly string[],
  processor: Processor,
  onGpu = false,
): readonly FoundArtifact[] {
  const files = byFolder(onnxPaths(paths));
  const there = new Set(files);
  const usual = dtypes.flatMap((dtype) =>
    artifactPaths(dtype).flatMap((path) => (there.has(path) ? [{ dtype, path }] : [])),
  );
  const isUsual = new Set(usual.map(({ path }) => path));
  const named: (FoundArtifact & { readonly rank: number })[] = [];
  const others: FoundArtifact[] = [];
  for (const path of files) {
    if (isUsual.has(path)) continue;
    const name = publishedName(path);
    if (name === undefined) {
      others.push({ dtype: "?", path });
      continue;
    }
    const onlyByName = madeElsewhere(name.processor, processor, onGpu);
    const rank = name.processor === undefined ? 0 : processor.fits.indexOf(name.processor);
    named.push({
      dtype: name.dtype,
      path,
      aliases: [name.alias],
      ...(onlyByName === undefined ? {} : { onlyByName }),
      rank: onlyByName === undefined ? rank : processor.fits.length,
    });
  }
  const ranked = named.sort((a, b) => a.rank - b.rank).map(({ rank: _, ...artifact }) => artifact);
  // What is made for this processor goes before what is made for any.
  const forHere = ranked.filter(({ dtype, onlyByName }) => dtype === "int8" && onlyByName === undefined);
  const ofDtype = dtypes.flatMap((dtype) => [
    ...forHere.filter((artifact) => artifact.dtype === dtype),
    ...usual.filter((artifact) => artifact.dtype === dtype),
    ...ranked.filter((artifact) => artifact.dtype === dtype && !forHere.includes(artifact)),
  ]);
  return [...ofDtype, ...others];
}

/** Every .onnx file, whatever its name says. */
export function onnxPaths(paths: readonly string[]): readonly string[] {
  return paths.filter((path) => path.toLowerCase().endsWith(".onnx")).sort();
}

/** Those of the usual folders first. */
function byFolder(paths: readonly string[]): readonly string[] {
  const rank = (path: string): number => (path.startsWith("onnx/") ? 0 : path.includes("/") ? 2 : 1);
  return [...paths].sort((a, b) => rank(a) - rank(b));
}

import type { FileRequestOptions, ModelFiles } from "@crossrank/core";
import { quantiserOf } from "@crossrank/core/files";
import * as z from "zod/mini";
import type { UnsupportedConversionError } from "../errors.js";
import { shortened } from "./shortened.js";
import { type Source, unsupported } from "./source.js";

/** Names that a program gives what it stores beside, or in place of, a layer's weight. The first that is found counts. */
const storedNames: readonly (readonly [RegExp, string])[] = [
  [/\.(?:absmax|quant_map|nested_absmax|nested_quant_map|SCB)$|\.quant_state\.[^.]+$/, "bitsandbytes"],
  [/\.weight_scale_inv$/, "FP8"],
  [/\.(?:weight_packed|weight_scale|weight_zero_point|weight_shape|weight_g_idx)$/, "compressed-tensors"],
  [/\.(?:q_weight|q_scale|q_scale_max|q_group_size|q_invperm|trellis)$/, "ExLlama"],
  [/\.weight\._(?:data|scale|shift)$/, "Quanto"],
  [/\.g_idx$/, "GPTQ"],
  [/\.(?:qweight|qzeros)$/, "GPTQ or AWQ"],
  [/\.(?:W_q|W_q_packed)$/, "HQQ"],
];

/** Settings of a program that writes a file of its own beside config.json. */
const settingsFiles: readonly (readonly [path: string, quantiser: string])[] = [
  ["quantize_config.json", "GPTQ"],
  ["quant_config.json", "AWQ"],
];

/** What numbers of safetensors' types are that are no floats to compute with. */
const numbers: Readonly<Record<string, string>> = {
  F8_E4M3: "8-bit floats",
  F8_E5M2: "8-bit floats",
  F8_E8M0: "8-bit floats",
  F8_E4M3FNUZ: "8-bit floats",
  F8_E5M2FNUZ: "8-bit floats",
  F6_E2M3: "6-bit floats",
  F6_E3M2: "6-bit floats",
  F4: "4-bit floats",
  I8: "8-bit integers",
  U8: "8-bit integers",
  I16: "16-bit integers",
  U16: "16-bit integers",
  I32: "32-bit integers",
  U32: "32-bit integers",
};

/**
 * Weights that another program quantised have other names and shapes than config.json makes them.
 * @throws {UnsupportedConversionError} where config.json says so.
 */
export function refuseQuantisedSettings(source: Pick<Source, "model" | "config">): void {
  const how = quantiserOf(source.config);
  if (how !== undefined) throw refusal(source, `its weights are quantised by ${how}`);
}

/**
 * The same where only the weights themselves, or a file beside config.json, say so.
 *
 * @param harmless names of tensors that have no part in the model.
 * @throws {UnsupportedConversionError}
 */
export async function refuseQuantisedWeights(
  source: Pick<Source, "model" | "config" | "weights">,
  files: ModelFiles,
  harmless: RegExp,
  options: FileRequestOptions,
): Promise<void> {
  const { weights } = source;
  const names = [...weights.files.placeOf.keys()];
  for (const [pattern, quantiser] of storedNames) {
    const found = names.find((name) => pattern.test(name));
    if (found === undefined) continue;
    const how = quantiser === "GPTQ or AWQ" ? await bySettingsFile(files, quantiser, options) : quantiser;
    throw refusal(source, `its weights are quantised by ${how} (tensor ${shortened(found)})`);
  }
  for (const name of names) {
    const type = weights.dtype(name);
    if (!Object.hasOwn(numbers, type) || harmless.test(name)) continue;
    throw refusal(
      source,
      `its weights are ${numbers[type]}, quantised by another program (tensor ${shortened(name)} has type ${type})`,
    );
  }
}

/** GPTQ and AWQ call their tensors alike, and may say what they are in a file of their own. */
async function bySettingsFile(
  files: ModelFiles,
  otherwise: string,
  options: FileRequestOptions,
): Promise<string> {
  const there = new Set((await files.list(options)).map(({ path }) => path));
  for (const [path, usual] of settingsFiles) {
    if (!there.has(path)) continue;
    try {
      const settings: unknown = JSON.parse(await files.readText(path, options));
      return (
        quantiserOf({ quantization_config: { quant_method: usual.toLowerCase(), ...Object(settings) } }) ??
        usual
      );
    } catch {
      options.signal?.throwIfAborted();
      return usual;
    }
  }
  return otherwise;
}

function refusal(
  { model, config }: Pick<Source, "model" | "config">,
  problem: string,
): UnsupportedConversionError {
  const base = z.string().safeParse(config["_name_or_path"]).data;
  const named = base === undefined || base === "" || /^[./]/.test(base) ? "" : `, ${shortened(base)} perhaps`;
  return unsupported(
    { model },
    `${problem}, and are no floats to convert`,
    `Convert the model that they were made from${named}`,
  );
}

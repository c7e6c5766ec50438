import type { FileRequestOptions, ModelFiles } from "@crossrank/core";
import { quantisedTensorAmong, quantiserFiles, quantiserOf } from "@crossrank/core/files";
import * as z from "zod/mini";
import type { UnsupportedConversionError } from "../errors.js";
import { shortened } from "./shortened.js";
import { type Source, unsupported } from "./source.js";

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
  const found = quantisedTensorAmong(new Map(names.map((name) => [name, weights.dtype(name)])), harmless);
  if (found === undefined) return;
  const { tensor, program, numbers } = found;
  if (program !== undefined) {
    const how = program === "GPTQ or AWQ" ? await bySettingsFile(files, program, options) : program;
    throw refusal(source, `its weights are quantised by ${how} (tensor ${shortened(tensor)})`);
  }
  throw refusal(
    source,
    `its weights are ${numbers}, quantised by another program (tensor ${shortened(tensor)} has type ${weights.dtype(tensor)})`,
  );
}

/** GPTQ and AWQ call their tensors alike, and may say what they are in a file of their own. */
async function bySettingsFile(
  files: ModelFiles,
  otherwise: string,
  options: FileRequestOptions,
): Promise<string> {
  const there = new Set((await files.list(options)).map(({ path }) => path));
  for (const [path, method] of quantiserFiles) {
    if (!there.has(path)) continue;
    const usual = quantiserOf({ quantization_config: { quant_method: method } }) ?? otherwise;
    try {
      const settings: unknown = JSON.parse(await files.readText(path, options));
      return quantiserOf({ quantization_config: { quant_method: method, ...Object(settings) } }) ?? usual;
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

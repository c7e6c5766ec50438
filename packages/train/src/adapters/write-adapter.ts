import { mkdir, rename, rm } from "node:fs/promises";
import { join } from "node:path";
import type { TrainedParameter } from "@crossrank/backend-mlx/training";
import { writeInWhole, writeWholeFile } from "@crossrank/disk";
import { type NamedTensor, safetensorsPieces } from "./safetensors.js";
import { sortParameters, type TrainedValues, wholeB } from "./trained.js";

/**
 * Writes low ranks and head in the layout of Hugging Face's peft (adapter_config.json, adapter_model.safetensors), in
 * place of what is there. Loads with `PeftModel.from_pretrained`.
 */
export async function writeAdapter(
  folder: string,
  parameters: readonly TrainedParameter[],
  values: TrainedValues,
  facts: {
    readonly base: string;
    readonly revision: string | undefined;
    readonly rank: number;
    readonly alpha: number;
    readonly dropout: number;
    readonly task: "SEQ_CLS" | "CAUSAL_LM";
  },
): Promise<void> {
  const { matrices, tensors } = sortParameters(parameters);
  const prefix = "base_model.model.";
  const named: NamedTensor[] = [];
  for (const matrix of matrices) {
    const { module, rank, tensor } = matrix;
    const [outputs = 1, width = 1] = tensor.shape;
    named.push({
      name: `${prefix}${module}.lora_A.weight`,
      shape: [rank, width],
      read: () => values(matrix.a),
    });
    named.push({
      name: `${prefix}${module}.lora_B.weight`,
      shape: [outputs, rank],
      read: () => wholeB(matrix, values),
    });
  }
  for (const { tensor, place } of tensors)
    named.push({ name: `${prefix}${tensor.name}`, shape: tensor.shape, read: () => values(place) });
  const saved = [...new Set(tensors.map(({ tensor }) => savedModule(tensor.name)))];
  const config = {
    peft_type: "LORA",
    task_type: facts.task,
    base_model_name_or_path: facts.base,
    revision: facts.revision ?? null,
    inference_mode: true,
    r: facts.rank,
    lora_alpha: facts.alpha,
    lora_dropout: facts.dropout,
    bias: "none",
    fan_in_fan_out: false,
    init_lora_weights: true,
    target_modules: matrices.map(({ module }) => module),
    modules_to_save: saved.length === 0 ? null : saved,
    rank_pattern: {},
    alpha_pattern: {},
    use_dora: false,
    use_rslora: false,
  };
  const staged = `${folder}.${process.pid}.tmp`;
  await rm(staged, { recursive: true, force: true });
  await mkdir(staged, { recursive: true });
  await writeInWhole(join(staged, "adapter_model.safetensors"), safetensorsPieces(named));
  await writeWholeFile(join(staged, "adapter_config.json"), `${JSON.stringify(config, undefined, 2)}\n`);
  await rm(folder, { recursive: true, force: true });
  await rename(staged, folder);
}

/** RoBERTa's head is one module to peft, which names `classifier` itself for classifiers. */
function savedModule(tensor: string): string {
  const module = tensor.replace(/\.(weight|bias)$/, "");
  return module.startsWith("classifier.") ? "classifier" : module;
}

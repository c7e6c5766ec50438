import { UsageError } from "../../failure.js";

/** What the environment says of a reranker on MLX. */
export interface MlxSettings {
  readonly model: string;
  /** Longest sequence in tokens; undefined for the model's own. */
  readonly maxLength: number | undefined;
  /** Folder of an adapter in peft's layout, which is computed beside the model. */
  readonly adapter: string | undefined;
}

/** The model of each type where none is named. */
const usualModels: Readonly<Record<string, string>> = {
  qwen3: "Qwen/Qwen3-Reranker-0.6B",
  "cross-encoder": "cross-encoder/ms-marco-MiniLM-L-6-v2",
};

/**
 * TriBridRAG's variables: with RERANKER_MODE=mlx, MLX_RERANKER_MODEL, or the usual model of MLX_RERANKER_TYPE,
 * MLX_RERANKER_ADAPTER and MLX_RERANKER_MAX_LENGTH. Undefined for any other mode, which is not ours.
 *
 * @throws {UsageError} for a value that is none.
 */
export function readMlxEnvironment(
  environment: Readonly<Record<string, string | undefined>>,
): MlxSettings | undefined {
  if (environment["RERANKER_MODE"]?.trim().toLowerCase() !== "mlx") return undefined;
  const given = (name: string): string | undefined => environment[name]?.trim() || undefined;
  const type = (given("MLX_RERANKER_TYPE") ?? "qwen3").toLowerCase().replaceAll("_", "-");
  const usual = Object.hasOwn(usualModels, type) ? usualModels[type] : undefined;
  if (usual === undefined) {
    throw new UsageError(`MLX_RERANKER_TYPE must be ${Object.keys(usualModels).join(" or ")}, not ${type}`);
  }
  const length = given("MLX_RERANKER_MAX_LENGTH");
  if (length !== undefined && !/^[1-9]\d{0,8}$/.test(length)) {
    throw new UsageError(`MLX_RERANKER_MAX_LENGTH must be a whole number of at least 1, not ${length}`);
  }
  return {
    model: given("MLX_RERANKER_MODEL") ?? usual,
    maxLength: length === undefined ? undefined : Number(length),
    adapter: given("MLX_RERANKER_ADAPTER"),
  };
}

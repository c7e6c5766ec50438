import { expect, test } from "vitest";
import { readMlxEnvironment } from "../src/commands/serve/mlx-environment.js";
import { crossrankInTurn as crossrank } from "./run-command.js";

test.each([
  [{}, undefined],
  [{ RERANKER_MODE: "local", MLX_RERANKER_MODEL: "a/b" }, undefined],
  [{ RERANKER_MODE: "none", MLX_RERANKER_TYPE: "nothing" }, undefined],
  [{ RERANKER_MODE: "mlx" }, { model: "Qwen/Qwen3-Reranker-0.6B", maxLength: undefined }],
  [
    { RERANKER_MODE: " MLX ", MLX_RERANKER_TYPE: "cross_encoder", MLX_RERANKER_MODEL: " " },
    { model: "cross-encoder/ms-marco-MiniLM-L-6-v2", maxLength: undefined },
  ],
  [
    {
      RERANKER_MODE: "mlx",
      MLX_RERANKER_TYPE: "qwen3",
      MLX_RERANKER_MODEL: "./my-model",
      MLX_RERANKER_ADAPTER: "",
      MLX_RERANKER_MAX_LENGTH: "512",
    },
    { model: "./my-model", maxLength: 512 },
  ],
  [
    { RERANKER_MODE: "mlx", MLX_RERANKER_MODEL: "./my-model", MLX_RERANKER_ADAPTER: " ./adapters/best" },
    { model: "./my-model", maxLength: undefined, adapter: "./adapters/best" },
  ],
])("%j", (environment, settings) => {
  expect(readMlxEnvironment(environment)).toEqual(settings);
});

test.each([
  [{ MLX_RERANKER_TYPE: "bi-encoder" }, /MLX_RERANKER_TYPE must be qwen3 or cross-encoder, not bi-encoder/],
  [{ MLX_RERANKER_TYPE: "constructor" }, /MLX_RERANKER_TYPE must be/],
  [{ MLX_RERANKER_MAX_LENGTH: "0" }, /MLX_RERANKER_MAX_LENGTH must be a whole number/],
  [{ MLX_RERANKER_MAX_LENGTH: "512 tokens" }, /MLX_RERANKER_MAX_LENGTH must be/],
  [{ MLX_RERANKER_MAX_LENGTH: "-1" }, /MLX_RERANKER_MAX_LENGTH must be/],
])("%j is refused", (environment, message) => {
  expect(() => readMlxEnvironment({ RERANKER_MODE: "mlx", ...environment })).toThrow(message);
});

test("an adapter goes with the model of the environment alone", async () => {
  const environment = { RERANKER_MODE: "mlx", MLX_RERANKER_ADAPTER: "./adapters/best" };
  const { code, stderr } = await crossrank(["serve", "--model", "nano", "--port", "0"], { environment });
  expect(code).toBe(2);
  expect(stderr).toMatch(/MLX_RERANKER_ADAPTER is computed beside the model of MLX_RERANKER_MODEL/);
});

test("serve takes it for its defaults", async () => {
  const environment = {
    RERANKER_MODE: "mlx",
    MLX_RERANKER_MODEL: "./not-there",
    MLX_RERANKER_MAX_LENGTH: "64",
  };
  const { code, stderr } = await crossrank(["serve", "--port", "0"], { environment });
  expect(code).not.toBe(0);
  expect(stderr).toContain("not-there");
});

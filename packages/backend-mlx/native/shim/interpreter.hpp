// A model's graph as data: operations on numbered values, read once and then carried out on MLX's arrays. Every
// operation has a gradient in MLX, and `evaluate` keeps nothing, so that a program can be differentiated as it is run.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <stdexcept>
#include <string>
#include <vector>

#include "mlx/array.h"

/** A caller's fault: a program, a shape or a number that cannot be. */
struct InvalidInput : std::invalid_argument {
  using std::invalid_argument::invalid_argument;
};

/** A weight: an array, or a quantised matrix of packed numbers with a scale and a bias for each group of columns. */
struct Weight {
  mlx::core::array values;
  std::optional<mlx::core::array> scales = std::nullopt;
  std::optional<mlx::core::array> biases = std::nullopt;
  int bits = 0;
  int group = 0;
};

/** What a batch gives a program. The numbers behind the weights, in this order. */
enum class Input : int { ids = 0, segments = 1, lengths = 2, extents = 3, places = 4 };
constexpr int inputCount = 5;

/** The names are in `operationNames`, in the same order. */
enum class Operation : int {
  take,
  rows,
  add,
  subtract,
  multiply,
  scale,
  linear,
  layerNorm,
  rmsNorm,
  gelu,
  geluTanh,
  silu,
  relu,
  tanh,
  splitHeads,
  mergeHeads,
  rope,
  attentionMask,
  hide,
  attention,
  matmul,
  takeAlong,
  distances,
  transpose,
  expand,
  pick,
  mean,
  zeroPadding,
  dropout,
  chooseRows,
  count,
};

const std::vector<std::string>& operationNames();

struct Step {
  Operation operation;
  std::vector<int> inputs;
  std::vector<double> attributes;
};

struct Program {
  /** Ids and segments are below these, and a batch has at most so many columns. */
  int64_t ids = 0;
  int64_t segments = 0;
  int64_t columns = 0;
  size_t weights = 0;
  int output = 0;
  std::vector<Step> steps;
};

/** @throws InvalidInput where the numbers are no program for so many weights. */
Program readProgram(const double* words, size_t count, size_t weights);

/**
 * (rows, columns), row by row; lengths and extents (rows), places (rows, picked). A row's tokens up to its length are seen by
 * others; those from there to its extent see them, and are not seen.
 */
struct Batch {
  int rows = 0;
  int columns = 0;
  int picked = 0;
  const int32_t* ids = nullptr;
  const int32_t* segments = nullptr;
  const int32_t* lengths = nullptr;
  const int32_t* extents = nullptr;
  const int32_t* places = nullptr;
};

/** @throws InvalidInput naming the first number that the program's tables do not have. */
void checkBatch(const Program& program, const Batch& batch);

/**
 * The program's output, not yet computed.
 *
 * @param seed of dropout; without it nothing is dropped.
 * @param parts steps that begin a part of the program: what a part computes inside is computed again for its gradients,
 *   and the batch's arrays live as long as they are asked for.
 * @param isTrained what gradients need is kept.
 * @throws InvalidInput, and what MLX throws.
 */
mlx::core::array evaluate(const Program& program, const std::vector<Weight>& weights, const Batch& batch,
                          std::optional<uint64_t> seed = std::nullopt, const std::vector<size_t>& parts = {},
                          bool isTrained = false);

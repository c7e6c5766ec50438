// A model's weights being fitted: gradients of a loss with respect to some of them, gathered over batches, and AdamW's
// steps. Everything is a pure function of the weights, the batches and the seeds.
#pragma once

#include <cstdint>
#include <optional>
#include <vector>

#include "interpreter.hpp"
#include "mlx/array.h"

/**
 * `binary`: cross-entropy of a row's score and its label. `listwise`: softmax cross-entropy over a group's rows; labels
 * are shares. `margins`: squared error of the differences to the group's first row. `divergence`: from the softmax of
 * the labels to that of the scores. `sum`: the output's numbers times the labels, which checks gradients.
 */
enum class Loss : int { binary = 0, listwise = 1, margins = 2, divergence = 3, sum = 4 };
constexpr int lossCount = 5;

/** What the output of a batch should have been. */
struct Target {
  Loss loss = Loss::binary;
  /** A row's score is the output's column `positive`, less that of `negative` where that is not -1. */
  int positive = 0;
  int negative = -1;
  /** (groups, most): a group's rows, -1 behind the last. */
  int groups = 0;
  int most = 0;
  const int32_t* members = nullptr;
  /** Of each row; of `sum`: of each number of the output. */
  const float* labels = nullptr;
  size_t labelCount = 0;
  /** What the mean over the batch counts in the step's. */
  double share = 1;
};

struct TrainedWeight {
  int weight = 0;
  bool decays = false;
};

struct Rule {
  double beta1 = 0.9;
  double beta2 = 0.999;
  double epsilon = 1e-8;
  double decay = 0;
};

/** What is kept of a trained weight. */
enum class Kept : int { value = 0, mean = 1, square = 2, gradient = 3 };
constexpr int keptCount = 4;

class Training {
 public:
  /**
   * @param steps of the program that begin a part whose activations are computed again; none keeps all of them.
   * @throws InvalidInput for weights that cannot be trained: whole numbers, quantised ones, those that are not there.
   */
  Training(const Program& program, std::vector<Weight>& weights, std::vector<TrainedWeight> trained, const Rule& rule,
           std::vector<size_t> parts);

  /** Adds a batch's gradients to those of the step. @returns the batch's own loss. @throws InvalidInput */
  double accumulate(const Batch& batch, const Target& target, std::optional<uint64_t> seed);

  /** One step of AdamW with what was gathered. @returns the gradient's norm before clipping; 0 clips nothing. */
  double apply(double rate, double clip);

  /** @throws InvalidInput where there is none. */
  mlx::core::array read(size_t place, Kept kept) const;
  void write(size_t place, Kept kept, const float* data, size_t count);
  void setSteps(int64_t steps);
  int64_t steps() const { return steps_; }

 private:
  struct Parameter {
    TrainedWeight trained;
    mlx::core::Dtype computed;
    mlx::core::array value;
    mlx::core::array mean;
    mlx::core::array square;
    std::optional<mlx::core::array> gradient;
  };

  const Parameter& at(size_t place) const;
  void place(const Parameter& parameter);
  double gradientNorm();

  const Program& program_;
  std::vector<Weight>& weights_;
  std::vector<Parameter> parameters_;
  Rule rule_;
  std::vector<size_t> parts_;
  int64_t steps_ = 0;
};

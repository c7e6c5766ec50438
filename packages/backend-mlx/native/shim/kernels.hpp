// Loops over numbers that MLX's own library computes one by one, for a processor's widest registers. Each gives the same
// for a number wherever it lies.
#pragma once

#include <cstddef>
#include <cstdint>

/** x times a share of 0 to 1: that of the normal distribution, exactly or by tanh, or of the logistic function. */
enum class Activation : int { gelu = 0, geluTanh = 1, silu = 2 };

namespace kernels {

/** `to` may be `from`. */
void activate(Activation kind, const float* from, float* to, size_t count);

/** to = given times the activation's slope at `from`; `to` may be `given`. */
void activateBack(Activation kind, const float* from, const float* given, float* to, size_t count);

/**
 * Softmax of each row, in place. `seen` has a byte for every number, 0 where it counts for nothing; its rows are
 * `seenRow` bytes apart.
 */
void softmax(float* scores, const uint8_t* seen, size_t seenRow, size_t rows, size_t columns);

/** In place, from gradients of a softmax's shares to those of its scores, times `scale`. */
void softmaxBack(float* gradients, const float* shares, float scale, size_t rows, size_t columns);

/**
 * Which numbers a dropout lets through, by their places alone: the place and `low` are mixed, then `high`, and what is
 * below `threshold` (the chance times 2^32) is dropped. What is let through counts `factor`.
 */
struct Drop {
  uint32_t low, high, threshold;
  float factor;
};

/** Numbers whose places begin at `first`; `to` may be `from`. */
void drop(const Drop& by, const float* from, float* to, uint32_t first, size_t count);

/** Each row to a mean of 0 where it is centred, to a mean square of 1, times `weight`, and `bias` added unless null. */
void normalise(const float* from, const float* weight, const float* bias, float epsilon, bool isCentred, float* to,
               size_t rows, size_t columns);

/** Gradients of that. `toWeight` and `toBias` may be null. */
void normaliseBack(const float* from, const float* weight, const float* given, float epsilon, bool isCentred, float* to,
                   float* toWeight, float* toBias, size_t rows, size_t columns);

/** AdamW's numbers for one step, corrections within. */
struct AdamStep {
  /** What the gradient and the value are multiplied with. */
  float clip, keep;
  /** What is kept of the means, and what comes to them. */
  float beta1, part1, beta2, part2;
  float rate, root, epsilon;
};

/** In place: value, mean and square. */
void adam(const AdamStep& step, const float* gradient, float* value, float* mean, float* square, size_t count);

/** The sum of their squares. */
void squares(const float* from, size_t count, double* sum);

}  // namespace kernels

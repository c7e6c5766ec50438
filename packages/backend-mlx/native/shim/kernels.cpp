#include "kernels.hpp"

#include <bit>
#include <cmath>
#include <limits>

// Compiled once for each kind of processor, and chosen when it is called. A body is inlined into each.
#if defined(__x86_64__) && defined(__GNUC__)
#define INLINE __attribute__((always_inline))
#define BODY static inline INLINE
#define WIDEST __attribute__((target("avx512f,avx512bw,avx512dq,avx512vl,avx2,fma,prefer-vector-width=512")))
#define WIDE __attribute__((target("avx2,fma")))
#define VERSIONS(name, parameters, arguments)                     \
  WIDEST static void name##Widest parameters { name##Body arguments; } \
  WIDE static void name##Wide parameters { name##Body arguments; }     \
  static void name##Plain parameters { name##Body arguments; }         \
  void name parameters {                                          \
    switch (width()) {                                            \
      case 2:                                                     \
        return name##Widest arguments;                            \
      case 1:                                                     \
        return name##Wide arguments;                              \
      default:                                                    \
        return name##Plain arguments;                             \
    }                                                             \
  }
#else
#define INLINE
#define BODY static inline
#define VERSIONS(name, parameters, arguments) \
  void name parameters { name##Body arguments; }
#endif

namespace kernels {

namespace {

#if defined(__x86_64__) && defined(__GNUC__)
int width() {
  static const int found = [] {
    __builtin_cpu_init();
    if (!__builtin_cpu_supports("avx2") || !__builtin_cpu_supports("fma")) return 0;
    const bool isWidest = __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
                          __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl");
    return isWidest ? 2 : 1;
  }();
  return found;
}
#endif

/** Sums are made of so many, whatever the width, so that each processor adds in the same order. */
constexpr size_t lanes = 16;

}  // namespace

/** Within 2e-7 of it, and 0 below the least normal number. Its polynomial: exponentials of up to half a power of two. */
BODY float exponential(float x) {
  const float bounded = x > 88.0f ? 88.0f : x;
  // Adding 1.5 * 2^23 rounds to a whole number, which then stands in the low bits.
  const float shifted = bounded * 1.44269504f + 12582912.0f;
  const float whole = shifted - 12582912.0f;
  const float rest = (bounded - whole * 0.693359375f) - whole * -2.12194440e-4f;
  float sum = 0.0013813155237585306f;
  sum = sum * rest + 0.00836942158639431f;
  sum = sum * rest + 0.04166845604777336f;
  sum = sum * rest + 0.16666515171527863f;
  sum = sum * rest + 0.4999999403953552f;
  sum = (sum * rest) * rest + rest + 1.0f;
  const uint32_t power = (std::bit_cast<uint32_t>(shifted) - 0x4b400000u + 127u) << 23;
  const float made = sum * std::bit_cast<float>(power);
  return x < -87.0f ? 0.0f : made;
}

/** Of the activation: x times `share`, and its slope. */
struct Part {
  float share;
  float slope;
};

BODY Part partOf(Activation kind, float x) {
  if (kind == Activation::gelu) {
    const float density = exponential(-0.5f * x * x);
    // The tail over the density, in 1 / (1 + 0.4 t): fitted to within 1e-8 of the share (lab/train/fit_tail.py).
    const float q = 1.0f / (1.0f + 0.4f * (std::fabs(x) * 0.70710678f));
    float sum = 0.03888972848653793f;
    sum = sum * q - 0.2048320770263672f;
    sum = sum * q + 0.3554138243198395f;
    sum = sum * q - 0.19865906238555908f;
    sum = sum * q + 0.2095203995704651f;
    sum = sum * q + 0.06911007314920425f;
    sum = sum * q + 0.11802426725625992f;
    sum = sum * q + 0.1125328540802002f;
    const float tail = density * (sum * q);
    const float share = x < 0 ? tail : 1.0f - tail;
    return {share, share + x * density * 0.39894228f};
  }
  if (kind == Activation::geluTanh) {
    const float square = x * x;
    const float share = 1.0f / (1.0f + exponential(-1.59576912f * x * (1.0f + 0.044715f * square)));
    return {share, share + x * share * (1.0f - share) * 1.59576912f * (1.0f + 0.134145f * square)};
  }
  const float share = 1.0f / (1.0f + exponential(-x));
  return {share, share + x * share * (1.0f - share)};
}

template <Activation kind>
BODY void activateAll(const float* from, float* to, size_t count) {
  for (size_t at = 0; at < count; at++) to[at] = from[at] * partOf(kind, from[at]).share;
}

template <Activation kind>
BODY void activateAllBack(const float* from, const float* given, float* to, size_t count) {
  for (size_t at = 0; at < count; at++) to[at] = given[at] * partOf(kind, from[at]).slope;
}

BODY void activateBody(Activation kind, const float* from, float* to, size_t count) {
  if (kind == Activation::gelu) return activateAll<Activation::gelu>(from, to, count);
  if (kind == Activation::geluTanh) return activateAll<Activation::geluTanh>(from, to, count);
  activateAll<Activation::silu>(from, to, count);
}

BODY void activateBackBody(Activation kind, const float* from, const float* given, float* to, size_t count) {
  if (kind == Activation::gelu) return activateAllBack<Activation::gelu>(from, given, to, count);
  if (kind == Activation::geluTanh) return activateAllBack<Activation::geluTanh>(from, given, to, count);
  activateAllBack<Activation::silu>(from, given, to, count);
}

/** What a row comes to, number by number in `lanes` parts. */
template <typename Term>
BODY float sumOf(size_t count, Term term) {
  float parts[lanes] = {};
  size_t at = 0;
  for (; at + lanes <= count; at += lanes) {
    for (size_t lane = 0; lane < lanes; lane++) parts[lane] += term(at + lane);
  }
  for (size_t lane = 0; at + lane < count; lane++) parts[lane] += term(at + lane);
  float sum = 0;
  for (const float part : parts) sum += part;
  return sum;
}

BODY float largestOf(const float* row, size_t count) {
  float parts[lanes];
  for (float& part : parts) part = std::numeric_limits<float>::lowest();
  size_t at = 0;
  for (; at + lanes <= count; at += lanes) {
    for (size_t lane = 0; lane < lanes; lane++) parts[lane] = row[at + lane] > parts[lane] ? row[at + lane] : parts[lane];
  }
  for (size_t lane = 0; at + lane < count; lane++) parts[lane] = row[at + lane] > parts[lane] ? row[at + lane] : parts[lane];
  float largest = parts[0];
  for (const float part : parts) largest = part > largest ? part : largest;
  return largest;
}

BODY void softmaxBody(float* scores, const uint8_t* seen, size_t seenRow, size_t rows, size_t columns) {
  for (size_t index = 0; index < rows; index++) {
    float* const row = scores + index * columns;
    const uint8_t* const isSeen = seen + index * seenRow;
    for (size_t at = 0; at < columns; at++) row[at] = isSeen[at] != 0 ? row[at] : std::numeric_limits<float>::lowest();
    const float largest = largestOf(row, columns);
    for (size_t at = 0; at < columns; at++) row[at] = exponential(row[at] - largest);
    const float whole = 1.0f / sumOf(columns, [row](size_t at) INLINE { return row[at]; });
    for (size_t at = 0; at < columns; at++) row[at] *= whole;
  }
}

BODY void softmaxBackBody(float* gradients, const float* shares, float scale, size_t rows, size_t columns) {
  for (size_t index = 0; index < rows; index++) {
    float* const row = gradients + index * columns;
    const float* const share = shares + index * columns;
    const float mean = sumOf(columns, [row, share](size_t at) INLINE { return row[at] * share[at]; });
    for (size_t at = 0; at < columns; at++) row[at] = (row[at] - mean) * share[at] * scale;
  }
}

/** Murmur3's last mixing: every bit of the word moves every other. */
BODY uint32_t mixedWord(uint32_t word) {
  word = (word ^ (word >> 16)) * 0x85ebca6bu;
  word = (word ^ (word >> 13)) * 0xc2b2ae35u;
  return word ^ (word >> 16);
}

BODY void dropBody(const Drop& drop, const float* from, float* to, uint32_t first, size_t count) {
  const Drop by = drop;
  for (size_t at = 0; at < count; at++) {
    const uint32_t word = mixedWord(mixedWord((first + static_cast<uint32_t>(at)) ^ by.low) ^ by.high);
    to[at] = word < by.threshold ? 0.0f : from[at] * by.factor;
  }
}

/** A row's mean, 0 where it is not centred, and what its distances from it are multiplied with. */
struct Measure {
  float mean;
  float factor;
};

BODY Measure measureOf(const float* row, float epsilon, bool isCentred, size_t columns) {
  const auto count = static_cast<float>(columns);
  const float mean = isCentred ? sumOf(columns, [row](size_t at) INLINE { return row[at]; }) / count : 0.0f;
  const float squares = sumOf(columns, [row, mean](size_t at) INLINE { return (row[at] - mean) * (row[at] - mean); });
  return {mean, 1.0f / std::sqrt(squares / count + epsilon)};
}

BODY void normaliseBody(const float* from, const float* weight, const float* bias, float epsilon, bool isCentred, float* to,
                        size_t rows, size_t columns) {
  for (size_t index = 0; index < rows; index++) {
    const float* const row = from + index * columns;
    float* const made = to + index * columns;
    const Measure measure = measureOf(row, epsilon, isCentred, columns);
    if (bias == nullptr) {
      for (size_t at = 0; at < columns; at++) made[at] = (row[at] - measure.mean) * measure.factor * weight[at];
    } else {
      for (size_t at = 0; at < columns; at++) made[at] = (row[at] - measure.mean) * measure.factor * weight[at] + bias[at];
    }
  }
}

BODY void normaliseBackBody(const float* from, const float* weight, const float* given, float epsilon, bool isCentred,
                            float* to, float* toWeight, float* toBias, size_t rows, size_t columns) {
  const auto count = static_cast<float>(columns);
  for (size_t at = 0; toWeight != nullptr && at < columns; at++) toWeight[at] = 0;
  for (size_t at = 0; toBias != nullptr && at < columns; at++) toBias[at] = 0;
  for (size_t index = 0; index < rows; index++) {
    const float* const row = from + index * columns;
    const float* const own = given + index * columns;
    float* const made = to + index * columns;
    const auto [mean, factor] = measureOf(row, epsilon, isCentred, columns);
    const float sum =
        isCentred ? sumOf(columns, [own, weight](size_t at) INLINE { return own[at] * weight[at]; }) / count : 0.0f;
    const float product = sumOf(columns, [own, weight, row, mean, factor](size_t at) INLINE {
                            return own[at] * weight[at] * ((row[at] - mean) * factor);
                          }) / count;
    if (toWeight != nullptr) {
      for (size_t at = 0; at < columns; at++) toWeight[at] += own[at] * ((row[at] - mean) * factor);
    }
    if (toBias != nullptr) {
      for (size_t at = 0; at < columns; at++) toBias[at] += own[at];
    }
    for (size_t at = 0; at < columns; at++) {
      made[at] = factor * (own[at] * weight[at] - sum - (row[at] - mean) * factor * product);
    }
  }
}

BODY void adamBody(const AdamStep& step, const float* gradient, float* value, float* mean, float* square, size_t count) {
  const AdamStep by = step;
  for (size_t at = 0; at < count; at++) {
    const float own = gradient[at] * by.clip;
    const float first = mean[at] * by.beta1 + own * by.part1;
    const float second = square[at] * by.beta2 + own * own * by.part2;
    mean[at] = first;
    square[at] = second;
    value[at] = value[at] * by.keep - by.rate * (first / (std::sqrt(second) / by.root + by.epsilon));
  }
}

BODY void squaresBody(const float* from, size_t count, double* sum) {
  constexpr size_t block = 4096;
  double whole = 0;
  for (size_t start = 0; start < count; start += block) {
    const float* const part = from + start;
    const size_t length = count - start < block ? count - start : block;
    whole += sumOf(length, [part](size_t at) INLINE { return part[at] * part[at]; });
  }
  *sum = whole;
}

VERSIONS(activate, (Activation kind, const float* from, float* to, size_t count), (kind, from, to, count))
VERSIONS(activateBack, (Activation kind, const float* from, const float* given, float* to, size_t count),
         (kind, from, given, to, count))
VERSIONS(softmax, (float* scores, const uint8_t* seen, size_t seenRow, size_t rows, size_t columns),
         (scores, seen, seenRow, rows, columns))
VERSIONS(softmaxBack, (float* gradients, const float* shares, float scale, size_t rows, size_t columns),
         (gradients, shares, scale, rows, columns))
VERSIONS(drop, (const Drop& by, const float* from, float* to, uint32_t first, size_t count), (by, from, to, first, count))
VERSIONS(normalise,
         (const float* from, const float* weight, const float* bias, float epsilon, bool isCentred, float* to, size_t rows,
          size_t columns),
         (from, weight, bias, epsilon, isCentred, to, rows, columns))
VERSIONS(normaliseBack,
         (const float* from, const float* weight, const float* given, float epsilon, bool isCentred, float* to,
          float* toWeight, float* toBias, size_t rows, size_t columns),
         (from, weight, given, epsilon, isCentred, to, toWeight, toBias, rows, columns))
VERSIONS(adam, (const AdamStep& step, const float* gradient, float* value, float* mean, float* square, size_t count),
         (step, gradient, value, mean, square, count))
VERSIONS(squares, (const float* from, size_t count, double* sum), (from, count, sum))

}  // namespace kernels

// What a model is in the addon, and how its calls end: shared by those who run it (shim.cpp) and train it (training.cpp).
#pragma once

#include <cstdio>
#include <cstdlib>
#include <exception>
#include <memory>
#include <new>
#include <optional>
#include <shared_mutex>
#include <stdexcept>
#include <string>
#include <vector>

#include "interpreter.hpp"
#include "mlx/mlx.h"
#include "shim.h"
#include "training.hpp"

struct MlxShimModel {
  explicit MlxShimModel(const mlx::core::Stream& given) : stream(given) {}

  /** What it computes on, for the thread that owns it. */
  mlx::core::Stream stream;
  std::vector<Weight> weights;
  std::optional<Program> program;
  std::optional<mlx::core::array> output;
  std::unique_ptr<Training> training;
};

/** Weights whose numbers are none, or that do not fill their shape. */
struct Damaged : std::runtime_error {
  using std::runtime_error::runtime_error;
};

inline int32_t fail(char* message, MlxShimStatus status, const std::string& problem) {
  std::snprintf(message, MLX_SHIM_MESSAGE_BYTES, "%s", problem.c_str());
  return status;
}

template <typename Work>
int32_t guarded(char* message, Work work) {
  try {
    work();
    return MLX_SHIM_OK;
  } catch (const Damaged& error) {
    return fail(message, MLX_SHIM_DAMAGED, error.what());
  } catch (const InvalidInput& error) {
    return fail(message, MLX_SHIM_INVALID_INPUT, error.what());
  } catch (const std::bad_alloc&) {
    return fail(message, MLX_SHIM_OUT_OF_MEMORY, "there is not enough memory");
  } catch (const std::exception& error) {
    const std::string problem = error.what();
    const bool isMemory = problem.find("malloc") != std::string::npos;
    return fail(message, isMemory ? MLX_SHIM_OUT_OF_MEMORY : MLX_SHIM_FAILED, problem);
  } catch (...) {
    return fail(message, MLX_SHIM_FAILED, "MLX threw something");
  }
}

/**
 * Held while something is computed, and for good by the process's end. OpenBLAS's own end waits for its threads, and one
 * that finishes a product meanwhile forgets that it was told to end: a process that leaves in the middle of a batch would
 * never be gone. It is never destroyed.
 */
inline std::shared_mutex& gate() {
  static auto* const one = [] {
    auto* made = new std::shared_mutex();
    std::atexit([] { gate().lock(); });
    return made;
  }();
  return *one;
}

inline Batch batchOf(const MlxShimBatch& given) {
  return {given.rows,     given.columns, given.picked, given.ids,
          given.segments, given.lengths, given.extents, given.places};
}

// Operations that MLX makes of many on a processor, each as one with a gradient of its own. Only for float32 on Linux's
// processors; elsewhere there is nothing, and the caller takes MLX's own.
#pragma once

#include <optional>
#include <vector>

#include "kernels.hpp"
#include "mlx/array.h"

namespace fused {

bool runsHere();

/**
 * Throws std::bad_alloc where there is no memory for the largest array that these are computed from. MLX's own operations
 * write to what they were not given, which ends the process; many smaller ones that together are too much still do.
 */
void requireMemory(const std::vector<mlx::core::array>& made);

std::optional<mlx::core::array> activation(Activation kind, const mlx::core::array& x);

std::optional<mlx::core::array> norm(const mlx::core::array& x, const mlx::core::array& weight,
                                     const std::optional<mlx::core::array>& bias, float epsilon, bool isCentred);

std::optional<mlx::core::array> dropout(const mlx::core::array& x, const kernels::Drop& drop);

/**
 * (rows, heads, columns, width) of queries, keys and values; the last two may have fewer heads, which queries share.
 *
 * @param mask (rows or 1, heads or 1, queries, keys), whether a query sees a key.
 * @param drop of the shares, whose places are counted row by row of (rows, heads, queries, keys); none drops nothing.
 * @param isTrained keeps the shares for the gradients.
 */
std::optional<mlx::core::array> attention(const mlx::core::array& query, const mlx::core::array& key,
                                          const mlx::core::array& value, const mlx::core::array& mask, float scale,
                                          const std::optional<kernels::Drop>& drop, bool isTrained);

}  // namespace fused

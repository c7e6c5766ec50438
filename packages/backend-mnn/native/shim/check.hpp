#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <string>

/**
 * Whether a file is sound enough to be given to MNN, which trusts the numbers in it: MNN checks that every table lies
 * within the file (`OpCommonUtils::checkNet`), and then follows tensor indices and copies as many bytes as dimensions
 * say. What is checked here: operators that encoder graphs are made of and their parameters' kinds, tensor indices and
 * their order, sizes of constants and of matrices, no reference to another file.
 */
enum class Judgement { sound, damaged, unsupported };

/**
 * What an embedding table's size allows. mnnconvert reads ids modulo the size of the table, as if they counted from its
 * end, so that one beyond it is another token's row, and a position beyond it the first one's: without an error.
 */
struct Limits {
  /** Input's name → ids must be below; inputs whose use was not recognised are missing. */
  std::map<std::string, int32_t> below;
  /** Most columns; 0 where no table of positions was recognised. */
  int32_t longest = 0;
};

Judgement checkFile(const uint8_t* bytes, size_t size, std::string& problem, Limits& limits);

#include "shim.h"

#include <ctranslate2/encoder.h>
#include <ctranslate2/models/model.h>
#include <ctranslate2/models/model_reader.h>
#include <ctranslate2/utils.h>

#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <memory>
#include <new>
#include <nlohmann/json.hpp>
#include <sstream>
#include <string>
#include <utility>
#include <vector>

namespace ct2 = ctranslate2;

struct Ct2ShimModel {
  std::shared_ptr<const ct2::models::Model> model;
};

struct Ct2ShimReplica {
  std::unique_ptr<ct2::models::SequenceEncoderReplica> replica;
  std::vector<float> answer;
};

namespace {

/** A batch's tokens: beyond that, sizes in 32 bits would not do somewhere. */
constexpr int64_t mostTokens = int64_t{1} << 26;

int32_t fail(char* message, Ct2ShimStatus status, const std::string& problem) {
  std::snprintf(message, CT2_SHIM_MESSAGE_BYTES, "%s", problem.c_str());
  return status;
}

/**
 * Whether products of bytes can be trusted. On x86-64 the library takes MKL's on Intel's processors alone, and on others
 * oneDNN's, which add up in 16 bits where there is no VNNI, and overflow without a word. Who loads this addon sets the
 * variable (native.ts); the library has read it by the time that anything here runs.
 */
bool takesMkl() {
#if defined(__x86_64__) && !defined(_WIN32)
  const char* asked = std::getenv("CT2_USE_MKL");
  return asked != nullptr && std::string(asked) == "1";
#else
  return true;
#endif
}

template <typename Work>
int32_t guarded(char* message, Ct2ShimStatus otherwise, Work work) {
  try {
    return work();
  } catch (const std::bad_alloc&) {
    return fail(message, CT2_SHIM_OUT_OF_MEMORY, "there is not enough memory");
  } catch (const std::exception& error) {
    return fail(message, otherwise, error.what());
  } catch (...) {
    return fail(message, otherwise, "CTranslate2 threw something");
  }
}

/**
 * Gives CTranslate2 model.bin alone of what lies in the folder. Its config is what was read and judged already, and its
 * vocabulary is a stand-in: this program sends ids.
 */
class OneFile : public ct2::models::ModelReader {
 public:
  OneFile(std::string path, double epsilon) : _path(std::move(path)), _epsilon(epsilon) {}

  std::string get_model_id() const override { return _path; }

  std::unique_ptr<std::istream> get_file(const std::string& name, const bool) override {
    if (name == "model.bin") {
      auto file = std::make_unique<std::ifstream>(std::filesystem::u8path(_path), std::ios_base::in | std::ios_base::binary);
      if (!file->is_open()) return nullptr;
      return file;
    }
    if (name == "config.json") {
      const nlohmann::json config = {{"layer_norm_epsilon", _epsilon},
                                     {"unk_token", "<unk>"},
                                     {"bos_token", "<s>"},
                                     {"eos_token", "</s>"}};
      return std::make_unique<std::istringstream>(config.dump());
    }
    if (name == "vocabulary.json") return std::make_unique<std::istringstream>("[\"<unk>\",\"<s>\",\"</s>\"]");
    return nullptr;
  }

 private:
  std::string _path;
  double _epsilon;
};

std::vector<std::vector<size_t>> rowsOf(const int32_t* numbers, int64_t rows, int64_t columns) {
  std::vector<std::vector<size_t>> result;
  result.reserve(static_cast<size_t>(rows));
  for (int64_t row = 0; row < rows; row++) result.emplace_back(numbers + row * columns, numbers + (row + 1) * columns);
  return result;
}

}  // namespace

const char* ct2_shim_version(void) { return CROSSRANK_CTRANSLATE2_VERSION; }

int32_t ct2_shim_has_integers(void) { return ct2::mayiuse_int8(ct2::Device::CPU) ? 1 : 0; }

int32_t ct2_shim_open(const Ct2ShimOptions* options, Ct2ShimModel** model, char* message) {
  if (options->integers != 0 && !takesMkl()) {
    return fail(message, CT2_SHIM_UNSUPPORTED,
                "CTranslate2's 8-bit products may overflow on this processor. Start Node.js with CT2_USE_MKL=1, or "
                "compute in a process of its own (isolation: \"process\")");
  }
  if (options->integers != 0 && ct2_shim_has_integers() == 0) {
    return fail(message, CT2_SHIM_UNSUPPORTED, "CTranslate2 has no 8-bit products for this processor");
  }
  return guarded(message, CT2_SHIM_DAMAGED, [&] {
    OneFile reader(options->path, options->epsilon);
    const auto type = options->integers != 0 ? ct2::ComputeType::INT8_FLOAT32 : ct2::ComputeType::FLOAT32;
    *model = new Ct2ShimModel{ct2::models::Model::load(reader, ct2::Device::CPU, 0, type)};
    return static_cast<int32_t>(CT2_SHIM_OK);
  });
}

Ct2ShimModel* ct2_shim_share(const Ct2ShimModel* model) { return new (std::nothrow) Ct2ShimModel{model->model}; }

void ct2_shim_close(Ct2ShimModel* model) { delete model; }

int32_t ct2_shim_replicate(const Ct2ShimModel* model, int32_t threads, Ct2ShimReplica** replica, char* message) {
  return guarded(message, CT2_SHIM_DAMAGED, [&] {
    ct2::set_num_threads(static_cast<size_t>(threads));
    auto made = std::make_unique<Ct2ShimReplica>();
    made->replica = model->model->as_sequence_encoder();
    *replica = made.release();
    return static_cast<int32_t>(CT2_SHIM_OK);
  });
}

void ct2_shim_release(Ct2ShimReplica* replica) { delete replica; }

int32_t ct2_shim_run(Ct2ShimReplica* replica, const Ct2ShimBatch* batch, int32_t pooled, const float** data,
                     size_t* length, char* message) {
  const auto [rows, columns, ids, lengths, features] = *batch;
  if (rows < 1 || columns < 1 || rows > mostTokens / columns) {
    return fail(message, CT2_SHIM_INVALID_INPUT, "a batch has from 1 token to 67,108,864");
  }
  // An empty sequence ends the process: CTranslate2 divides by its length.
  for (int64_t row = 0; row < rows; row++) {
    if (lengths[row] < 1 || lengths[row] > columns) {
      return fail(message, CT2_SHIM_INVALID_INPUT, "a sequence is empty, or longer than the batch is wide");
    }
  }
  return guarded(message, CT2_SHIM_FAILED, [&]() -> int32_t {
    const ct2::StorageView idView({rows, columns}, std::vector<int32_t>(ids, ids + rows * columns));
    const ct2::StorageView lengthView({rows}, std::vector<int32_t>(lengths, lengths + rows));
    std::vector<std::vector<size_t>> second;
    if (features != nullptr) second = rowsOf(features, rows, columns);
    const auto output = replica->replica->forward(idView, lengthView, second);
    if (pooled == 1 && !output.pooler_output.has_value()) {
      return fail(message, CT2_SHIM_INVALID_INPUT, "the model has no pooler");
    }
    const auto& whole = pooled == 1 ? *output.pooler_output : output.last_hidden_state;
    const auto numbers = whole.dtype() == ct2::DataType::FLOAT32 ? whole : whole.to_float32();
    const float* from = numbers.data<float>();
    if (pooled == 0) {
      const auto width = numbers.dim(-1);
      replica->answer.resize(static_cast<size_t>(rows * width));
      for (int64_t row = 0; row < rows; row++) {
        std::copy_n(from + row * columns * width, width, replica->answer.data() + row * width);
      }
    } else {
      replica->answer.assign(from, from + numbers.size());
    }
    *data = replica->answer.data();
    *length = replica->answer.size();
    return CT2_SHIM_OK;
  });
}

#include "shim.h"

#include <cmath>
#include <cstring>
#include <memory>
#include <mutex>
#include <optional>
#include <shared_mutex>
#include <string>
#include <utility>
#include <vector>

#ifdef __APPLE__
#include <dlfcn.h>

#include "mlx/backend/metal/metal.h"
#endif

#include "fused.hpp"
#include "interpreter.hpp"
#include "mlx/mlx.h"
#include "mlx/version.h"
#include "model.hpp"

namespace mx = mlx::core;

namespace {

struct Type {
  mx::Dtype dtype;
  size_t bytes;
};

Type typeOf(int32_t type) {
  switch (type) {
    case MLX_SHIM_F64:
      return {mx::float32, 8};
    case MLX_SHIM_F32:
      return {mx::float32, 4};
    case MLX_SHIM_F16:
      return {mx::float16, 2};
    case MLX_SHIM_BF16:
      return {mx::bfloat16, 2};
    case MLX_SHIM_U32:
      return {mx::uint32, 4};
    case MLX_SHIM_I32:
      return {mx::int32, 4};
    default:
      throw InvalidInput("a type that there is not");
  }
}

/** Whether an exponent is all ones: an infinity, or no number. */
template <typename Bits>
bool holdsNone(const uint8_t* data, size_t bytes, Bits exponent) {
  bool found = false;
  for (size_t at = 0; at < bytes; at += sizeof(Bits)) {
    Bits bits;
    std::memcpy(&bits, data + at, sizeof(Bits));
    found = found || (bits & exponent) == exponent;
  }
  return found;
}

bool isFinite(const MlxShimTensor& tensor) {
  switch (tensor.type) {
    case MLX_SHIM_F64:
      return !holdsNone<uint64_t>(tensor.data, tensor.bytes, 0x7ff0000000000000);
    case MLX_SHIM_F32:
      return !holdsNone<uint32_t>(tensor.data, tensor.bytes, 0x7f800000);
    case MLX_SHIM_F16:
      return !holdsNone<uint16_t>(tensor.data, tensor.bytes, 0x7c00);
    case MLX_SHIM_BF16:
      return !holdsNone<uint16_t>(tensor.data, tensor.bytes, 0x7f80);
    default:
      return true;
  }
}

mx::array arrayOf(const MlxShimTensor& tensor) {
  const Type type = typeOf(tensor.type);
  if (tensor.rank < 0 || tensor.rank > MLX_SHIM_MOST_DIMENSIONS) throw InvalidInput("a tensor of too many dimensions");
  mx::Shape shape;
  size_t numbers = 1;
  for (int32_t axis = 0; axis < tensor.rank; axis++) {
    const int32_t length = tensor.shape[axis];
    if (length < 1 || numbers > SIZE_MAX / 8 / static_cast<size_t>(length)) throw InvalidInput("a shape that is none");
    numbers *= static_cast<size_t>(length);
    shape.push_back(length);
  }
  if (tensor.bytes != numbers * type.bytes) throw Damaged("a tensor does not fill its shape");
  if (!isFinite(tensor)) throw Damaged("a tensor holds something that is no finite number");
  mx::allocator::Data memory = mx::allocator::malloc(numbers * mx::size_of(type.dtype));
  void* room = memory.buffer().raw_ptr();
  if (room == nullptr) throw std::bad_alloc();
  if (tensor.type == MLX_SHIM_F64) {
    auto* to = static_cast<float*>(room);
    for (size_t at = 0; at < numbers; at++) {
      double number;
      std::memcpy(&number, tensor.data + at * sizeof(double), sizeof(double));
      to[at] = static_cast<float>(number);
    }
  } else {
    std::memcpy(room, tensor.data, tensor.bytes);
  }
  return mx::array(std::move(memory), std::move(shape), type.dtype);
}

mx::Dtype targetOf(int32_t target, mx::Dtype stored) {
  switch (target) {
    case MLX_SHIM_FLOAT32:
      return mx::float32;
    case MLX_SHIM_FLOAT16:
      return mx::float16;
    case MLX_SHIM_BFLOAT16:
      return mx::bfloat16;
    case MLX_SHIM_STORED:
      return stored;
    default:
      throw InvalidInput("a target that there is not");
  }
}

/** A cast to half precision may make an infinity of what was none. */
mx::array castTo(const mx::array& array, mx::Dtype dtype) {
  const mx::array cast = mx::astype(array, dtype);
  if (dtype == mx::float16 && array.dtype() != mx::float16 && !mx::all(mx::isfinite(cast)).item<bool>()) {
    throw Damaged("a weight is beyond half precision");
  }
  return cast;
}

void requireQuantisation(int32_t bits, int32_t group) {
  const bool isBits = bits == 2 || bits == 3 || bits == 4 || bits == 5 || bits == 6 || bits == 8;
  if (!isBits || (group != 32 && group != 64 && group != 128)) {
    throw InvalidInput("quantised to " + std::to_string(bits) + " bits in groups of " + std::to_string(group));
  }
}

Weight quantised(const MlxShimWeight& given) {
  requireQuantisation(given.bits, given.group);
  if (given.tensor[0].type != MLX_SHIM_U32) throw InvalidInput("packed numbers that are no uint32");
  mx::array packed = arrayOf(given.tensor[0]);
  const mx::array scales = arrayOf(given.tensor[1]);
  const mx::array biases = arrayOf(given.tensor[2]);
  const int64_t columns = packed.ndim() == 2 ? int64_t{packed.shape(1)} * 32 / given.bits : 0;
  if (packed.ndim() != 2 || scales.ndim() != 2 || scales.shape() != biases.shape() ||
      scales.shape(0) != packed.shape(0) || int64_t{packed.shape(1)} * 32 != columns * given.bits ||
      int64_t{scales.shape(1)} * given.group != columns) {
    throw Damaged("packed numbers, scales and biases are not of one matrix");
  }
  const mx::Dtype dtype = targetOf(given.target, scales.dtype());
  Weight weight{packed, castTo(scales, dtype), castTo(biases, dtype), given.bits, given.group};
  if (given.unfold != 0) {
    weight = {mx::dequantize(weight.values, *weight.scales, weight.biases, weight.group, weight.bits)};
  }
  return weight;
}

Weight plain(const MlxShimWeight& given) {
  mx::array array = arrayOf(given.tensor[0]);
  if (array.dtype() == mx::int32) return {array};
  if (array.dtype() == mx::uint32) throw InvalidInput("packed numbers without scales");
  const mx::Dtype dtype = targetOf(given.target, array.dtype());
  if (given.plus != 0) array = mx::add(mx::astype(array, mx::float32), mx::array(given.plus));
  if (given.bits == 0) return {castTo(array, dtype)};
  requireQuantisation(given.bits, given.group);
  if (array.ndim() != 2 || array.shape(1) % given.group != 0) throw InvalidInput("a weight that groups do not divide");
  const auto parts = mx::quantize(castTo(array, dtype), given.group, given.bits);
  return {parts[0], parts[1], parts[2], given.bits, given.group};
}

#ifdef __APPLE__
/** Metal's kernels lie beside MLX's library, in a folder beside this addon. Told before the first operation. */
void findMetallib() {
  static std::once_flag once;
  std::call_once(once, [] {
    Dl_info info;
    if (dladdr(reinterpret_cast<const void*>(&mlx_shim_open), &info) == 0) return;
    const std::string addon = info.dli_fname;
    mx::metal::set_metallib_path(addon.substr(0, addon.rfind('/') + 1) + MLX_LIBRARIES + "/mlx.metallib");
  });
}
#else
void findMetallib() {}
#endif

/**
 * Streams of the processor that no model has. MLX runs each on a thread that it never ends, so one a model would leave a
 * thread behind with every load. It is never destroyed: models may end after it would be.
 */
struct FreeStreams {
  std::mutex mutex;
  std::vector<mx::Stream> all;
};

FreeStreams& freeStreams() {
  static auto* const streams = new FreeStreams();
  return *streams;
}

/** A stream that this thread alone uses until it is given back. */
mx::Stream takeStream() {
  const mx::Device device = mx::default_device();
  // Of a GPU's MLX has nothing left once they are cleared.
  if (device.type != mx::Device::cpu) return mx::new_stream(device);
  FreeStreams& free = freeStreams();
  const std::lock_guard<std::mutex> held(free.mutex);
  if (free.all.empty()) return mx::new_thread_unsafe_stream(device);
  const mx::Stream stream = free.all.back();
  free.all.pop_back();
  return stream;
}

void giveBack(const mx::Stream& stream) {
  if (stream.device.type != mx::Device::cpu) return mx::clear_streams();
  FreeStreams& free = freeStreams();
  const std::lock_guard<std::mutex> held(free.mutex);
  free.all.push_back(stream);
}

/** Tokens of a batch. Looking through what a smaller one is computed from takes longer than it is worth: 60 µs of 700. */
constexpr int64_t checkedFrom = 2048;

}  // namespace

const char* mlx_shim_version(void) { return mx::version(); }

int32_t mlx_shim_on_gpu(void) { return mx::is_available(mx::Device(mx::Device::gpu)) ? 1 : 0; }

const char* mlx_shim_operation(size_t index) {
  const auto& names = operationNames();
  return index < names.size() ? names[index].c_str() : nullptr;
}

int32_t mlx_shim_open(MlxShimModel** model, char* message) {
  return guarded(message, [&] {
    findMetallib();
    // A stream of this thread's own: MLX would make one at the first operation, and only this way it is ours to end.
    auto opened = std::make_unique<MlxShimModel>(takeStream());
    mx::set_default_stream(opened->stream);
    *model = opened.release();
  });
}

void mlx_shim_close(MlxShimModel* model) {
  const mx::Stream stream = model->stream;
  delete model;
  try {
    mx::synchronize(stream);
    giveBack(stream);
  } catch (...) {
    // Nothing is left to be told.
  }
}

int32_t mlx_shim_weight(MlxShimModel* model, const MlxShimWeight* given, char* message) {
  return guarded(message, [&] {
    const std::shared_lock<std::shared_mutex> computing(gate());
    if (given->tensors != 1 && given->tensors != 3) throw InvalidInput("a weight of neither one tensor nor three");
    Weight weight = given->tensors == 3 ? quantised(*given) : plain(*given);
    std::vector<mx::array> all{weight.values};
    if (weight.scales.has_value()) all.push_back(*weight.scales);
    if (weight.biases.has_value()) all.push_back(*weight.biases);
    // Now, so that what it was made of is freed before the next one is read.
    mx::eval(all);
    model->weights.push_back(std::move(weight));
  });
}

int32_t mlx_shim_program(MlxShimModel* model, const double* words, size_t count, char* message) {
  return guarded(message, [&] {
    model->program = readProgram(words, count, model->weights.size());
    mx::clear_cache();
  });
}

int32_t mlx_shim_run(MlxShimModel* model, const MlxShimBatch* given, char* message) {
  return guarded(message, [&] {
    if (!model->program.has_value()) throw InvalidInput("no program");
    model->output.reset();
    const Batch batch = batchOf(*given);
    checkBatch(*model->program, batch);
    const std::shared_lock<std::shared_mutex> computing(gate());
    mx::array output = mx::contiguous(evaluate(*model->program, model->weights, batch));
    if (int64_t{batch.rows} * batch.columns >= checkedFrom) fused::requireMemory({output});
    output.eval();
    model->output = std::move(output);
  });
}

int32_t mlx_shim_shape(const MlxShimModel* model, int32_t shape[MLX_SHIM_MOST_DIMENSIONS]) {
  if (!model->output.has_value() || model->output->ndim() > MLX_SHIM_MOST_DIMENSIONS) return 0;
  for (size_t axis = 0; axis < model->output->ndim(); axis++) shape[axis] = model->output->shape(static_cast<int>(axis));
  return static_cast<int32_t>(model->output->ndim());
}

int32_t mlx_shim_read(MlxShimModel* model, float* data, size_t length, char* message) {
  return guarded(message, [&] {
    if (!model->output.has_value() || model->output->size() != length) throw InvalidInput("there is no such output");
    std::memcpy(data, model->output->data<float>(), length * sizeof(float));
    model->output.reset();
  });
}

#include "shim.h"

#include <MNN/Interpreter.hpp>
#include <MNN/Tensor.hpp>
#include <algorithm>
#include <climits>
#include <cstdio>
#include <cstring>
#include <map>
#include <memory>
#include <mutex>
#include <new>
#include <string>
#include <utility>
#include <vector>

#include "check.hpp"

struct MnnShimSession {
  struct Named {
    std::string name;
    MNN::Tensor* tensor;
  };
  std::unique_ptr<MNN::Interpreter, void (*)(MNN::Interpreter*)> interpreter{nullptr, MNN::Interpreter::destroy};
  MNN::Session* session = nullptr;
  std::vector<Named> inputs;
  std::vector<Named> outputs;
  int32_t threads = 1;
  Limits limits;
  /** Memory for the shapes of the inputs is there. */
  bool ready = false;
};

namespace {

std::mutex poolMutex;
int32_t poolThreads = 0;

/** MNN would take fewer threads without a word. */
bool poolHas(int32_t threads) {
  if (threads <= 1) return true;
  const std::lock_guard<std::mutex> lock(poolMutex);
  if (poolThreads == 0) poolThreads = threads;
  return threads <= poolThreads;
}

int32_t fail(char* message, MnnShimStatus status, const std::string& problem) {
  std::snprintf(message, MNN_SHIM_MESSAGE_BYTES, "%s", problem.c_str());
  return status;
}

template <typename Work>
int32_t guarded(char* message, Work work) {
  try {
    return work();
  } catch (const std::bad_alloc&) {
    return fail(message, MNN_SHIM_OUT_OF_MEMORY, "there is not enough memory");
  } catch (const std::exception& error) {
    return fail(message, MNN_SHIM_FAILED, error.what());
  } catch (...) {
    return fail(message, MNN_SHIM_FAILED, "MNN threw something");
  }
}

void describe(const MnnShimSession::Named& named, MnnShimTensor* description) {
  const auto type = named.tensor->getType();
  description->name = named.name.c_str();
  description->code = type.code;
  description->bits = type.bits;
  description->rank = std::min<int32_t>(named.tensor->dimensions(), MNN_SHIM_MOST_DIMENSIONS);
  for (int32_t axis = 0; axis < description->rank; axis++) description->shape[axis] = named.tensor->length(axis);
}

std::vector<MnnShimSession::Named> namedTensors(const std::map<std::string, MNN::Tensor*>& all) {
  std::vector<MnnShimSession::Named> tensors;
  for (const auto& [name, tensor] : all) tensors.push_back({name, tensor});
  return tensors;
}

std::vector<int> shapeOf(const MnnShimInput& input) {
  return std::vector<int>(input.shape, input.shape + input.rank);
}

/** Numbers of a shape; 0 when it is none that could be run. */
size_t numbersOf(const MnnShimInput& input) {
  if (input.rank < 1 || input.rank > MNN_SHIM_MOST_DIMENSIONS) return 0;
  size_t numbers = 1;
  for (int32_t axis = 0; axis < input.rank; axis++) {
    const int32_t length = input.shape[axis];
    if (length < 1 || numbers > static_cast<size_t>(INT_MAX) / static_cast<size_t>(length)) return 0;
    numbers *= static_cast<size_t>(length);
  }
  return numbers;
}

int32_t resizeWhereNeeded(MnnShimSession* session, const MnnShimInput* inputs, size_t count, char* message) {
  if (count != session->inputs.size()) {
    return fail(message, MNN_SHIM_INVALID_INPUT, "the model has " + std::to_string(session->inputs.size()) + " inputs");
  }
  bool changed = !session->ready;
  for (size_t index = 0; index < count; index++) {
    if (numbersOf(inputs[index]) == 0) return fail(message, MNN_SHIM_INVALID_INPUT, "an input has a shape that is none");
    changed = changed || session->inputs[index].tensor->shape() != shapeOf(inputs[index]);
  }
  if (!changed) return MNN_SHIM_OK;
  session->ready = false;
  for (size_t index = 0; index < count; index++) {
    session->interpreter->resizeTensor(session->inputs[index].tensor, shapeOf(inputs[index]));
  }
  session->interpreter->resizeSession(session->session);
  // resizeSession returns nothing.
  int status = -1;
  session->interpreter->getSessionInfo(session->session, MNN::Interpreter::RESIZE_STATUS, &status);
  if (status != 0) return fail(message, MNN_SHIM_FAILED, "MNN cannot prepare the graph for inputs of this shape");
  session->ready = true;
  return MNN_SHIM_OK;
}

}  // namespace

const char* mnn_shim_version(void) { return MNN::getVersion(); }

int32_t mnn_shim_open(const uint8_t* bytes, size_t size, const MnnShimOptions* options, MnnShimSession** opened,
                      char* message) {
  return guarded(message, [&]() -> int32_t {
    std::string problem;
    Limits limits;
    const Judgement judgement = checkFile(bytes, size, problem, limits);
    if (judgement != Judgement::sound) {
      return fail(message, judgement == Judgement::damaged ? MNN_SHIM_DAMAGED : MNN_SHIM_UNSUPPORTED, problem);
    }
    auto session = std::make_unique<MnnShimSession>();
    session->interpreter.reset(MNN::Interpreter::createFromBuffer(bytes, size));
    if (session->interpreter == nullptr) return fail(message, MNN_SHIM_DAMAGED, "MNN does not read the file");
    // Without hooks for each operator; and not resized to shapes that the file happens to name.
    session->interpreter->setSessionMode(MNN::Interpreter::Session_Release);
    session->interpreter->setSessionMode(MNN::Interpreter::Session_Resize_Defer);
    // Every shape is worked out from the graph. MNN 3.6.1 would make the plan of a product of matrices for one batch out of
    // that for the batch before (GeometryBatchMatMul::onRecompute): one made for as many matrices on both sides, as a single
    // row has, then reads beyond the smaller side's memory for several rows.
    session->interpreter->setSessionHint(
        MNN::Interpreter::GEOMETRY_COMPUTE_MASK,
        MNN::Interpreter::GEOMETRCOMPUTEMASK_ALL & ~MNN::Interpreter::GEOMETRCOMPUTEMASK_OPENCACHE);

    if (!poolHas(options->threads)) {
      return fail(message, MNN_SHIM_THREADS,
                  "this process's pool has " + std::to_string(mnn_shim_pool()) + " threads for every session of MNN");
    }
    MNN::BackendConfig backend;
    backend.precision = static_cast<MNN::BackendConfig::PrecisionMode>(options->precision);
    backend.memory = static_cast<MNN::BackendConfig::MemoryMode>(options->memory);
    MNN::ScheduleConfig schedule;
    schedule.type = MNN_FORWARD_CPU;
    schedule.backupType = MNN_FORWARD_CPU;
    schedule.numThread = options->threads;
    schedule.backendConfig = &backend;
    session->session = session->interpreter->createSession(schedule);
    if (session->session == nullptr) return fail(message, MNN_SHIM_UNSUPPORTED, "MNN cannot run the graph");
    session->inputs = namedTensors(session->interpreter->getSessionInputAll(session->session));
    session->outputs = namedTensors(session->interpreter->getSessionOutputAll(session->session));
    session->limits = std::move(limits);
    session->threads = options->threads;
    session->interpreter->getSessionInfo(session->session, MNN::Interpreter::THREAD_NUMBER, &session->threads);
    *opened = session.release();
    return MNN_SHIM_OK;
  });
}

void mnn_shim_close(MnnShimSession* session) { delete session; }

int32_t mnn_shim_pool(void) {
  const std::lock_guard<std::mutex> lock(poolMutex);
  return poolThreads;
}

int32_t mnn_shim_threads(const MnnShimSession* session) { return session->threads; }

int32_t mnn_shim_longest(const MnnShimSession* session) { return session->limits.longest; }

size_t mnn_shim_input_count(const MnnShimSession* session) { return session->inputs.size(); }

size_t mnn_shim_output_count(const MnnShimSession* session) { return session->outputs.size(); }

void mnn_shim_input(const MnnShimSession* session, size_t index, MnnShimTensor* tensor) {
  describe(session->inputs[index], tensor);
  const auto& below = session->limits.below;
  const auto place = below.find(session->inputs[index].name);
  tensor->below = place == below.end() ? 0 : place->second;
}

void mnn_shim_output(const MnnShimSession* session, size_t index, MnnShimTensor* tensor) {
  describe(session->outputs[index], tensor);
  tensor->below = 0;
  if (!session->ready) tensor->rank = 0;
}

int32_t mnn_shim_resize(MnnShimSession* session, const MnnShimInput* inputs, size_t count, char* message) {
  return guarded(message, [&] { return resizeWhereNeeded(session, inputs, count, message); });
}

int32_t mnn_shim_run(MnnShimSession* session, const MnnShimInput* inputs, size_t count, char* message) {
  return guarded(message, [&]() -> int32_t {
    const int32_t resized = resizeWhereNeeded(session, inputs, count, message);
    if (resized != MNN_SHIM_OK) return resized;
    for (size_t index = 0; index < count; index++) {
      const auto& [name, tensor] = session->inputs[index];
      const auto type = tensor->getType();
      if (type.code != halide_type_int || type.bits != 32) {
        return fail(message, MNN_SHIM_UNSUPPORTED, "input " + name + " is not int32");
      }
      const size_t numbers = numbersOf(inputs[index]);
      if (inputs[index].length != numbers) {
        return fail(message, MNN_SHIM_INVALID_INPUT, "input " + name + " has another number of values than its shape");
      }
      MNN::Tensor host(tensor, tensor->getDimensionType());
      if (host.host<int32_t>() == nullptr || host.usize() != numbers * sizeof(int32_t)) {
        return fail(message, MNN_SHIM_OUT_OF_MEMORY, "there is not enough memory for input " + name);
      }
      std::memcpy(host.host<int32_t>(), inputs[index].data, numbers * sizeof(int32_t));
      if (!tensor->copyFromHostTensor(&host)) return fail(message, MNN_SHIM_FAILED, "MNN does not take input " + name);
    }
    const auto code = session->interpreter->runSession(session->session);
    if (code == MNN::NO_ERROR) return MNN_SHIM_OK;
    const auto status = code == MNN::OUT_OF_MEMORY ? MNN_SHIM_OUT_OF_MEMORY : MNN_SHIM_FAILED;
    return fail(message, status, "MNN stopped with its error code " + std::to_string(static_cast<int>(code)));
  });
}

int32_t mnn_shim_read(MnnShimSession* session, size_t index, float* data, size_t length, char* message) {
  return guarded(message, [&]() -> int32_t {
    if (index >= session->outputs.size() || !session->ready) {
      return fail(message, MNN_SHIM_INVALID_INPUT, "there is no such output");
    }
    const auto& [name, tensor] = session->outputs[index];
    const auto type = tensor->getType();
    if (type.code != halide_type_float || type.bits != 32) {
      return fail(message, MNN_SHIM_UNSUPPORTED, "output " + name + " is not float32");
    }
    MNN::Tensor host(tensor, tensor->getDimensionType());
    if (host.host<float>() == nullptr || !tensor->copyToHostTensor(&host)) {
      return fail(message, MNN_SHIM_FAILED, "MNN does not give output " + name);
    }
    if (host.usize() != length * sizeof(float)) {
      return fail(message, MNN_SHIM_INVALID_INPUT, "output " + name + " has another size");
    }
    std::memcpy(data, host.host<float>(), length * sizeof(float));
    return MNN_SHIM_OK;
  });
}

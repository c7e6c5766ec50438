#include "fused.hpp"

#ifdef __linux__

#include <algorithm>
#include <cstdint>
#include <cstdlib>
#include <limits>
#include <memory>
#include <new>
#include <stdexcept>
#include <unordered_set>
#include <utility>
#include <vector>

#include "mlx/allocator.h"
#include "mlx/backend/cpu/encoder.h"
#include "mlx/mlx.h"
#include "mlx/primitives.h"
#include "mlx/utils.h"

namespace mx = mlx::core;

/** OpenBLAS's. Row by row is 101, as it is 111, transposed 112. */
extern "C" void scipy_cblas_sgemm(int order, int transposedA, int transposedB, int m, int n, int k, float alpha,
                                  const float* a, int rowA, const float* b, int rowB, float beta, float* c, int rowC);

namespace {

using Arrays = std::vector<mx::array>;

/** What all of them share: there is no GPU here, and what a gradient's own gradient would be nobody asks. */
class Fused : public mx::Primitive {
 public:
  explicit Fused(const mx::Stream& stream) : Primitive(stream) {}
  void eval_gpu(const Arrays&, Arrays&) override { throw std::runtime_error("an operation of the processor alone"); }

 protected:
  template <typename Work>
  void dispatch(const Arrays& inputs, Arrays& outputs, Work work) {
    auto& encoder = mx::cpu::get_command_encoder(stream());
    for (const mx::array& input : inputs) encoder.set_input_array(input);
    for (mx::array& output : outputs) encoder.set_output_array(output);
    encoder.dispatch(std::move(work));
  }
};

mx::Stream here() { return mx::default_stream(mx::default_device()); }

bool isPlain(const mx::array& x) { return x.dtype() == mx::float32; }

/**
 * Memory for an array. MLX's own malloc gives nothing where there is none, and who writes there ends the process. What was
 * dispatched before reads arrays that an exception lets go, so it is waited for.
 */
mx::allocator::Data memory(size_t bytes) {
  mx::allocator::Data made = mx::allocator::malloc(bytes);
  if (bytes > 0 && made.buffer().ptr() == nullptr) {
    mx::synchronize(here());
    throw std::bad_alloc();
  }
  return made;
}

void allocate(mx::array& output) { output.set_data(memory(output.nbytes())); }

/** The memory of an input that nobody reads any more, or fresh. Both are row by row and as long. */
void allocateOver(mx::array& output, const mx::array& input) {
  if (input.is_donatable() && input.flags().row_contiguous && input.data_size() == output.size()) {
    output.copy_shared_buffer(input);
  } else {
    allocate(output);
  }
}

mx::array dense(const mx::array& x) { return mx::contiguous(x); }

class ActivateBack : public Fused {
 public:
  ActivateBack(const mx::Stream& stream, Activation kind) : Fused(stream), kind_(kind) {}
  const char* name() const override { return "ActivateBack"; }

  void eval_cpu(const Arrays& inputs, Arrays& outputs) override {
    allocateOver(outputs[0], inputs[1]);
    dispatch(inputs, outputs,
             [kind = kind_, from = inputs[0].data<float>(), given = inputs[1].data<float>(), to = outputs[0].data<float>(),
              count = outputs[0].size()] { kernels::activateBack(kind, from, given, to, count); });
  }

 private:
  Activation kind_;
};

class Activate : public Fused {
 public:
  Activate(const mx::Stream& stream, Activation kind) : Fused(stream), kind_(kind) {}
  const char* name() const override { return "Activate"; }

  void eval_cpu(const Arrays& inputs, Arrays& outputs) override {
    allocateOver(outputs[0], inputs[0]);
    dispatch(inputs, outputs, [kind = kind_, from = inputs[0].data<float>(), to = outputs[0].data<float>(), count = outputs[0].size()] {
      kernels::activate(kind, from, to, count);
    });
  }

  Arrays vjp(const Arrays& primals, const Arrays& cotangents, const std::vector<int>&, const Arrays&) override {
    const auto back = std::make_shared<ActivateBack>(stream(), kind_);
    return {mx::array(primals[0].shape(), mx::float32, back, {primals[0], dense(cotangents[0])})};
  }

 private:
  Activation kind_;
};

/** Inputs: x, weight, what was given. Outputs: of x, weight, bias; the last two only where they are wanted. */
class NormaliseBack : public Fused {
 public:
  NormaliseBack(const mx::Stream& stream, float epsilon, bool isCentred, bool hasWeight, bool hasBias)
      : Fused(stream), epsilon_(epsilon), isCentred_(isCentred), hasWeight_(hasWeight), hasBias_(hasBias) {}
  const char* name() const override { return "NormaliseBack"; }

  void eval_cpu(const Arrays& inputs, Arrays& outputs) override {
    for (mx::array& output : outputs) allocate(output);
    const size_t columns = inputs[1].size();
    float* const toWeight = hasWeight_ ? outputs[1].data<float>() : nullptr;
    float* const toBias = hasBias_ ? outputs[hasWeight_ ? 2 : 1].data<float>() : nullptr;
    dispatch(inputs, outputs,
             [=, epsilon = epsilon_, isCentred = isCentred_, from = inputs[0].data<float>(), weight = inputs[1].data<float>(),
              given = inputs[2].data<float>(), to = outputs[0].data<float>(), rows = inputs[0].size() / columns] {
               kernels::normaliseBack(from, weight, given, epsilon, isCentred, to, toWeight, toBias, rows, columns);
             });
  }

 private:
  float epsilon_;
  bool isCentred_;
  bool hasWeight_;
  bool hasBias_;
};

class Normalise : public Fused {
 public:
  Normalise(const mx::Stream& stream, float epsilon, bool isCentred) : Fused(stream), epsilon_(epsilon), isCentred_(isCentred) {}
  const char* name() const override { return "Normalise"; }

  void eval_cpu(const Arrays& inputs, Arrays& outputs) override {
    allocate(outputs[0]);
    const size_t columns = inputs[1].size();
    const float* const bias = inputs.size() == 3 ? inputs[2].data<float>() : nullptr;
    dispatch(inputs, outputs,
             [=, epsilon = epsilon_, isCentred = isCentred_, from = inputs[0].data<float>(), weight = inputs[1].data<float>(),
              to = outputs[0].data<float>(), rows = inputs[0].size() / columns] {
               kernels::normalise(from, weight, bias, epsilon, isCentred, to, rows, columns);
             });
  }

  Arrays vjp(const Arrays& primals, const Arrays& cotangents, const std::vector<int>& wanted, const Arrays&) override {
    bool hasWeight = false;
    bool hasBias = false;
    for (const int one : wanted) {
      hasWeight = hasWeight || one == 1;
      hasBias = hasBias || one == 2;
    }
    std::vector<mx::Shape> shapes{primals[0].shape()};
    if (hasWeight) shapes.push_back(primals[1].shape());
    if (hasBias) shapes.push_back(primals[2].shape());
    const auto back = std::make_shared<NormaliseBack>(stream(), epsilon_, isCentred_, hasWeight, hasBias);
    const std::vector<mx::Dtype> types(shapes.size(), mx::float32);
    const Arrays made = mx::array::make_arrays(std::move(shapes), types, back, {primals[0], primals[1], dense(cotangents[0])});
    Arrays gradients;
    for (const int one : wanted) gradients.push_back(made[one == 0 ? 0 : one == 1 || !hasWeight ? 1 : 2]);
    return gradients;
  }

 private:
  float epsilon_;
  bool isCentred_;
};

/** The same of a gradient: what was dropped has none. */
class DropOut : public Fused {
 public:
  DropOut(const mx::Stream& stream, const kernels::Drop& drop) : Fused(stream), drop_(drop) {}
  const char* name() const override { return "DropOut"; }

  void eval_cpu(const Arrays& inputs, Arrays& outputs) override {
    allocateOver(outputs[0], inputs[0]);
    dispatch(inputs, outputs, [drop = drop_, from = inputs[0].data<float>(), to = outputs[0].data<float>(), count = outputs[0].size()] {
      kernels::drop(drop, from, to, 0, count);
    });
  }

  Arrays vjp(const Arrays& primals, const Arrays& cotangents, const std::vector<int>&, const Arrays&) override {
    return {mx::array(primals[0].shape(), mx::float32, std::make_shared<DropOut>(stream(), drop_), {dense(cotangents[0])})};
  }

 private:
  kernels::Drop drop_;
};

/** A matrix of each row and head in an array of four dimensions: each line's numbers lie beside each other. */
struct Heads {
  float* data;
  int64_t row;
  int64_t head;
  int64_t line;

  explicit Heads(const mx::array& of)
      : data(const_cast<float*>(of.data<float>())), row(of.strides()[0]), head(of.strides()[1]),
        line(of.shape(2) == 1 ? of.shape(3) : of.strides()[2]) {}

  float* at(int rowAt, int headAt) const { return data + rowAt * row + headAt * head; }
  int apart() const { return static_cast<int>(line); }
};

/** What gemm reads as it lies: lines no closer than they are long. */
bool isReadable(const mx::array& of) {
  const auto& strides = of.strides();
  return (strides[3] == 1 || of.shape(3) == 1) &&
         (of.shape(2) == 1 || (strides[2] >= of.shape(3) && strides[2] <= std::numeric_limits<int32_t>::max()));
}

/** An array as gemm reads it: as it lies, or a copy that lives until what is dispatched next has run. */
Heads readable(const mx::array& of, const mx::Stream& stream) {
  if (isReadable(of)) return Heads(of);
  mx::array copy(of.shape(), mx::float32, nullptr, {});
  copy.set_data(memory(of.nbytes()));
  auto& encoder = mx::cpu::get_command_encoder(stream);
  encoder.dispatch([from = of.data<float>(), to = copy.data<float>(), shape = of.shape(), strides = of.strides()] {
    float* next = to;
    for (int row = 0; row < shape[0]; row++) {
      for (int head = 0; head < shape[1]; head++) {
        for (int line = 0; line < shape[2]; line++) {
          const float* const start = from + row * strides[0] + head * strides[1] + line * strides[2];
          for (int at = 0; at < shape[3]; at++) *next++ = start[at * strides[3]];
        }
      }
    }
  });
  encoder.add_temporary(copy);
  return Heads(copy);
}

/** Numbers that live until what is dispatched next has run. An exception of what was dispatched would reach nobody. */
float* room(mx::Shape shape, const mx::Stream& stream) {
  mx::array made(std::move(shape), mx::float32, nullptr, {});
  allocate(made);
  mx::cpu::get_command_encoder(stream).add_temporary(made);
  return made.data<float>();
}

/** (rows, heads, columns, width) in memory as (rows, columns, heads, width), which merging the heads reads as it is. */
void allocateMerged(mx::array& output) {
  const int64_t heads = output.shape(1);
  const int64_t columns = output.shape(2);
  const int64_t width = output.shape(3);
  const mx::Strides strides{columns * heads * width, width, heads * width, 1};
  const bool isRow = heads == 1 || columns == 1;
  auto flags = output.flags();
  flags.contiguous = true;
  flags.row_contiguous = isRow;
  flags.col_contiguous = false;
  output.set_data(memory(output.nbytes()), output.size(), strides, flags);
}

constexpr int asItIs = 111;
constexpr int transposed = 112;

void multiply(int transposedA, int transposedB, int m, int n, int k, float alpha, const float* a, int rowA, const float* b,
              int rowB, float beta, float* c, int rowC) {
  scipy_cblas_sgemm(101, transposedA, transposedB, m, n, k, alpha, a, rowA, b, rowB, beta, c, rowC);
}

struct Sizes {
  int rows, heads, shared, queries, keys, width, valueWidth;

  Sizes(const mx::array& query, const mx::array& key, const mx::array& value)
      : rows(query.shape(0)), heads(query.shape(1)), shared(query.shape(1) / key.shape(1)), queries(query.shape(2)),
        keys(key.shape(2)), width(query.shape(3)), valueWidth(value.shape(3)) {}

  size_t scores() const { return static_cast<size_t>(queries) * static_cast<size_t>(keys); }

  /** Where the shares of a row's head begin. */
  size_t placeOf(int row, int head) const {
    return (static_cast<size_t>(row) * static_cast<size_t>(heads) + static_cast<size_t>(head)) * scores();
  }
};

/** Inputs: query, key, value, shares, what was given. Outputs: of query, key and value. */
class AttendBack : public Fused {
 public:
  AttendBack(const mx::Stream& stream, float scale, const std::optional<kernels::Drop>& drop)
      : Fused(stream), scale_(scale), drop_(drop) {}
  const char* name() const override { return "AttendBack"; }

  void eval_cpu(const Arrays& inputs, Arrays& outputs) override {
    for (mx::array& output : outputs) allocateMerged(output);
    const mx::Shape square{inputs[0].shape(2), inputs[1].shape(2)};
    float* const scores = room(square, stream());
    float* const letThrough = drop_.has_value() ? room(square, stream()) : nullptr;
    dispatch(inputs, outputs,
             [scores, letThrough, size = Sizes(inputs[0], inputs[1], inputs[2]), scale = scale_, drop = drop_, query = readable(inputs[0], stream()),
              key = readable(inputs[1], stream()), value = readable(inputs[2], stream()), shares = inputs[3].data<float>(), given = readable(inputs[4], stream()),
              toQuery = Heads(outputs[0]), toKey = Heads(outputs[1]), toValue = Heads(outputs[2])] {
               for (int row = 0; row < size.rows; row++) {
                 for (int head = 0; head < size.heads; head++) {
                   const int other = head / size.shared;
                   const float before = head % size.shared == 0 ? 0.0f : 1.0f;
                   const size_t place = size.placeOf(row, head);
                   const float* const share = shares + place;
                   const float* const own = given.at(row, head);
                   if (drop.has_value()) kernels::drop(*drop, share, letThrough, static_cast<uint32_t>(place), size.scores());
                   const float* const used = drop.has_value() ? letThrough : share;
                   multiply(transposed, asItIs, size.keys, size.valueWidth, size.queries, 1, used, size.keys, own,
                            given.apart(), before, toValue.at(row, other), toValue.apart());
                   multiply(asItIs, transposed, size.queries, size.keys, size.valueWidth, 1, own, given.apart(),
                            value.at(row, other), value.apart(), 0, scores, size.keys);
                   if (drop.has_value()) kernels::drop(*drop, scores, scores, static_cast<uint32_t>(place), size.scores());
                   kernels::softmaxBack(scores, share, scale, static_cast<size_t>(size.queries), static_cast<size_t>(size.keys));
                   multiply(asItIs, asItIs, size.queries, size.width, size.keys, 1, scores, size.keys, key.at(row, other),
                            key.apart(), 0, toQuery.at(row, head), toQuery.apart());
                   multiply(transposed, asItIs, size.keys, size.width, size.queries, 1, scores, size.keys,
                            query.at(row, head), query.apart(), before, toKey.at(row, other), toKey.apart());
                 }
               }
             });
  }

 private:
  float scale_;
  std::optional<kernels::Drop> drop_;
};

/** Inputs: query, key, value, mask. Outputs: what is mixed; where they are kept, the shares too. */
class Attend : public Fused {
 public:
  Attend(const mx::Stream& stream, float scale, const std::optional<kernels::Drop>& drop, bool keeps)
      : Fused(stream), scale_(scale), drop_(drop), keeps_(keeps) {}
  const char* name() const override { return "Attend"; }

  void eval_cpu(const Arrays& inputs, Arrays& outputs) override {
    allocateMerged(outputs[0]);
    if (keeps_) allocate(outputs[1]);
    const mx::array& mask = inputs[3];
    const size_t maskHead = mask.shape(1) == 1 ? 0 : static_cast<size_t>(mask.shape(2)) * static_cast<size_t>(mask.shape(3));
    const size_t maskRow = mask.shape(0) == 1 ? 0 : mask.size() / static_cast<size_t>(mask.shape(0));
    float* const kept = keeps_ ? outputs[1].data<float>() : nullptr;
    // The shares as the softmax gives them are kept: dropping them is done again for their gradients.
    float* const own = kept == nullptr || drop_.has_value() ? room({inputs[0].shape(2), inputs[1].shape(2)}, stream()) : nullptr;
    dispatch(inputs, outputs,
             [=, size = Sizes(inputs[0], inputs[1], inputs[2]), scale = scale_, drop = drop_, query = readable(inputs[0], stream()),
              key = readable(inputs[1], stream()), value = readable(inputs[2], stream()), seen = reinterpret_cast<const uint8_t*>(mask.data<bool>()), to = Heads(outputs[0])] {
               for (int row = 0; row < size.rows; row++) {
                 for (int head = 0; head < size.heads; head++) {
                   const int other = head / size.shared;
                   const size_t place = size.placeOf(row, head);
                   float* const scores = kept == nullptr ? own : kept + place;
                   multiply(asItIs, transposed, size.queries, size.keys, size.width, scale, query.at(row, head), query.apart(),
                            key.at(row, other), key.apart(), 0, scores, size.keys);
                   kernels::softmax(scores, seen + static_cast<size_t>(row) * maskRow + static_cast<size_t>(head) * maskHead,
                                    static_cast<size_t>(size.keys), static_cast<size_t>(size.queries),
                                    static_cast<size_t>(size.keys));
                   if (drop.has_value()) kernels::drop(*drop, scores, own, static_cast<uint32_t>(place), size.scores());
                   const float* const used = drop.has_value() ? own : scores;
                   multiply(asItIs, asItIs, size.queries, size.valueWidth, size.keys, 1, used, size.keys,
                            value.at(row, other), value.apart(), 0, to.at(row, head), to.apart());
                 }
               }
             });
  }

  Arrays vjp(const Arrays& primals, const Arrays& cotangents, const std::vector<int>& wanted, const Arrays& outputs) override {
    if (!keeps_) throw std::runtime_error("attention whose shares were not kept");
    const std::vector<mx::Shape> shapes{primals[0].shape(), primals[1].shape(), primals[2].shape()};
    const Arrays made = mx::array::make_arrays(shapes, {mx::float32, mx::float32, mx::float32}, std::make_shared<AttendBack>(stream(), scale_, drop_),
                                               {primals[0], primals[1], primals[2], outputs[1], cotangents[0]});
    Arrays gradients;
    for (const int one : wanted) gradients.push_back(one < 3 ? made[static_cast<size_t>(one)] : mx::zeros_like(primals[3]));
    return gradients;
  }

 private:
  float scale_;
  std::optional<kernels::Drop> drop_;
  bool keeps_;
};

}  // namespace

namespace fused {

bool runsHere() { return mx::default_device().type == mx::Device::cpu; }

void requireMemory(const std::vector<mx::array>& made) {
  if (!runsHere()) return;
  size_t largest = 0;
  std::unordered_set<std::uintptr_t> seen;
  Arrays open(made);
  while (!open.empty()) {
    const mx::array one = std::move(open.back());
    open.pop_back();
    if (!seen.insert(one.id()).second || !one.has_primitive()) continue;
    largest = std::max(largest, one.nbytes());
    for (const mx::array& input : one.inputs()) open.push_back(input);
    for (const mx::array& sibling : one.siblings()) open.push_back(sibling);
  }
  void* const found = std::malloc(largest);
  if (largest > 0 && found == nullptr) throw std::bad_alloc();
  std::free(found);
}

std::optional<mx::array> activation(Activation kind, const mx::array& x) {
  if (!runsHere() || !isPlain(x)) return std::nullopt;
  return mx::array(x.shape(), mx::float32, std::make_shared<Activate>(here(), kind), {dense(x)});
}

std::optional<mx::array> dropout(const mx::array& x, const kernels::Drop& drop) {
  if (!runsHere() || !isPlain(x)) return std::nullopt;
  return mx::array(x.shape(), mx::float32, std::make_shared<DropOut>(here(), drop), {dense(x)});
}

std::optional<mx::array> norm(const mx::array& x, const mx::array& weight, const std::optional<mx::array>& bias,
                              float epsilon, bool isCentred) {
  const auto fits = [&](const mx::array& one) { return isPlain(one) && one.ndim() == 1 && one.size() == static_cast<size_t>(x.shape(-1)); };
  if (!runsHere() || !isPlain(x) || x.ndim() < 1 || !fits(weight) || (bias.has_value() && !fits(*bias))) return std::nullopt;
  Arrays inputs{dense(x), dense(weight)};
  if (bias.has_value()) inputs.push_back(dense(*bias));
  return mx::array(x.shape(), mx::float32, std::make_shared<Normalise>(here(), epsilon, isCentred), std::move(inputs));
}

std::optional<mx::array> attention(const mx::array& query, const mx::array& key, const mx::array& value,
                                   const mx::array& mask, float scale, const std::optional<kernels::Drop>& drop,
                                   bool isTrained) {
  const bool isKnown = runsHere() && isPlain(query) && isPlain(key) && isPlain(value) && mask.dtype() == mx::bool_ &&
                       query.ndim() == 4 && key.ndim() == 4 && value.ndim() == 4 && mask.ndim() == 4;
  if (!isKnown) return std::nullopt;
  const int rows = query.shape(0);
  const int heads = query.shape(1);
  const bool fits = key.shape(0) == rows && value.shape(0) == rows && key.shape(1) == value.shape(1) &&
                    key.shape(1) >= 1 && heads % key.shape(1) == 0 && key.shape(2) == value.shape(2) &&
                    key.shape(3) == query.shape(3) && mask.shape(2) == query.shape(2) && mask.shape(3) == key.shape(2) &&
                    (mask.shape(0) == 1 || mask.shape(0) == rows) && (mask.shape(1) == 1 || mask.shape(1) == heads);
  // What does not fit is for MLX to refuse.
  if (!fits || query.size() == 0 || key.size() == 0 || value.size() == 0) return std::nullopt;
  const mx::Shape mixed{rows, heads, query.shape(2), value.shape(3)};
  const auto made = std::make_shared<Attend>(here(), scale, drop, isTrained);
  const Arrays inputs{query, key, value, dense(mask)};
  if (!isTrained) return mx::array(mixed, mx::float32, made, inputs);
  const mx::Shape shares{rows, heads, query.shape(2), key.shape(2)};
  return mx::array::make_arrays({mixed, shares}, {mx::float32, mx::float32}, made, inputs)[0];
}

}  // namespace fused

#else

namespace fused {

bool runsHere() { return false; }

void requireMemory(const std::vector<mlx::core::array>&) {}

std::optional<mlx::core::array> activation(Activation, const mlx::core::array&) { return std::nullopt; }

std::optional<mlx::core::array> dropout(const mlx::core::array&, const kernels::Drop&) { return std::nullopt; }

std::optional<mlx::core::array> norm(const mlx::core::array&, const mlx::core::array&,
                                     const std::optional<mlx::core::array>&, float, bool) {
  return std::nullopt;
}

std::optional<mlx::core::array> attention(const mlx::core::array&, const mlx::core::array&, const mlx::core::array&,
                                          const mlx::core::array&, float, const std::optional<kernels::Drop>&, bool) {
  return std::nullopt;
}

}  // namespace fused

#endif

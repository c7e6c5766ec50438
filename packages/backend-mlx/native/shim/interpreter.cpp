#include "interpreter.hpp"

#include <cmath>
#include <numbers>
#include <limits>
#include <memory>
#include <utility>

#include "fused.hpp"
#include "mlx/fast.h"
#include "mlx/mlx.h"

namespace mx = mlx::core;

namespace {

constexpr size_t mostSteps = 1 << 18;
constexpr size_t mostAttributes = 16;
/** Numbers of one array. MLX's shapes are of 32 bits, and its BLAS counts with them. */
constexpr int64_t mostNumbers = std::numeric_limits<int32_t>::max();

struct Arity {
  const char* name;
  size_t fewest;
  size_t most;
  size_t attributes;
};

/** In the order of `Operation`. */
constexpr Arity arities[] = {
    {"take", 2, 2, 0},
    {"rows", 2, 2, 0},
    {"add", 2, 2, 0},
    {"subtract", 2, 2, 0},
    {"multiply", 2, 2, 0},
    {"scale", 1, 1, 1},
    {"linear", 2, 3, 0},
    {"layer-norm", 2, 3, 1},
    {"rms-norm", 2, 2, 1},
    {"gelu", 1, 1, 0},
    {"gelu-tanh", 1, 1, 0},
    {"silu", 1, 1, 0},
    {"relu", 1, 1, 0},
    {"tanh", 1, 1, 0},
    {"split-heads", 1, 1, 1},
    {"merge-heads", 1, 1, 0},
    {"rope", 2, 2, 0},
    {"attention-mask", 2, 2, 2},
    {"hide", 2, 2, 0},
    {"attention", 4, 4, 3},
    {"matmul", 2, 2, 0},
    {"take-along", 2, 2, 0},
    {"distances", 2, 2, 1},
    {"transpose", 1, 1, mostAttributes},
    {"expand", 1, 1, 1},
    {"pick", 2, 2, 0},
    {"mean", 2, 2, 0},
    {"zero-padding", 2, 2, 0},
    {"dropout", 1, 1, 2},
    {"choose-rows", 1, 1, mostAttributes},
};
static_assert(std::size(arities) == static_cast<size_t>(Operation::count));

/** An array, and what its numbers are below where they are places of a table. */
struct Value {
  Weight weight;
  int64_t below = 0;
};

int axisOf(double attribute, size_t rank, const char* name) {
  if (!(attribute >= 0 && attribute < static_cast<double>(rank))) {
    throw InvalidInput(std::string(name) + ": there is no dimension " + std::to_string(attribute));
  }
  return static_cast<int>(attribute);
}

/** A dropout's own seed: neighbouring steps and places have nothing in common (splitmix64's last mixing). */
uint64_t mixed(uint64_t seed, uint64_t place) {
  uint64_t bits = seed + 0x9e3779b97f4a7c15ULL * (place + 1);
  bits = (bits ^ (bits >> 30)) * 0xbf58476d1ce4e5b9ULL;
  bits = (bits ^ (bits >> 27)) * 0x94d049bb133111ebULL;
  return bits ^ (bits >> 31);
}

/** One batch on its way through a program. A copy goes on by itself. */
class Evaluation {
 public:
  Evaluation(const Program& program, const std::vector<Weight>& weights, const Batch& batch, std::optional<uint64_t> seed,
             bool isTrained)
      : program_(&program), weights_(weights), batch_(batch), seed_(seed), isTrained_(isTrained) {
    const mx::Shape shape{batch.rows, batch.columns};
    inputs_.push_back({{mx::array(batch.ids, shape, mx::int32)}, program.ids});
    inputs_.push_back({{mx::array(batch.segments, shape, mx::int32)}, program.segments});
    inputs_.push_back({{mx::array(batch.lengths, {batch.rows}, mx::int32)}, int64_t{batch.columns} + 1});
    inputs_.push_back({{mx::array(batch.extents, {batch.rows}, mx::int32)}, int64_t{batch.columns} + 1});
    inputs_.push_back({{mx::array(batch.places, {batch.rows, batch.picked}, mx::int32)}, batch.columns});
    last_.resize(weights.size() + inputCount + program.steps.size(), 0);
    for (size_t index = 0; index < program.steps.size(); index++) {
      for (const int input : program.steps[index].inputs) last_[static_cast<size_t>(input)] = index;
    }
    last_[static_cast<size_t>(program.output)] = program.steps.size();
    made_.resize(program.steps.size());
  }

  void run(size_t from, size_t to) {
    for (size_t index = from; index < to; index++) {
      const Step& step = program_->steps[index];
      made_[index] = work(step);
      // What nobody reads any more is held by the graph alone, and freed as soon as it has been computed.
      for (const int input : step.inputs) {
        const auto at = static_cast<size_t>(input);
        if (at >= base() && last_[at] == index) made_[at - base()].reset();
      }
    }
  }

  /** As `run`, and what is computed inside is not kept for the gradients. */
  void runAgain(size_t from, size_t to) {
    std::vector<size_t> given;
    std::vector<mx::array> arrays;
    std::vector<bool> known(base() + from, false);
    for (size_t index = from; index < to; index++) {
      for (const int input : program_->steps[index].inputs) {
        const auto at = static_cast<size_t>(input);
        if (at >= known.size() || known[at]) continue;
        known[at] = true;
        const Weight weight = value(input).weight;
        // Only what is handed over has a gradient. The rest are constants.
        if (weight.scales.has_value() || !mx::issubdtype(weight.values.dtype(), mx::floating)) continue;
        given.push_back(at);
        arrays.push_back(weight.values);
      }
    }
    std::vector<size_t> kept;
    for (size_t index = from; index < to; index++) {
      if (last_[base() + index] >= to) kept.push_back(index);
    }
    const auto start = std::make_shared<const Evaluation>(*this);
    const auto belows = std::make_shared<std::vector<int64_t>>(kept.size(), 0);
    const auto part = [=](const std::vector<mx::array>& inputs) {
      Evaluation inner(*start);
      for (size_t index = 0; index < given.size(); index++) inner.put(given[index], inputs[index]);
      inner.run(from, to);
      std::vector<mx::array> outputs;
      for (size_t index = 0; index < kept.size(); index++) {
        const Value& made = *inner.made_[kept[index]];
        (*belows)[index] = made.below;
        outputs.push_back(made.weight.values);
      }
      return outputs;
    };
    const std::vector<mx::array> outputs = mx::checkpoint(part)(arrays);
    for (size_t index = 0; index < kept.size(); index++) made_[kept[index]] = {{outputs[index]}, (*belows)[index]};
    for (size_t at = 0; at < known.size(); at++) {
      if (known[at] && at >= base() && last_[at] < to) made_[at - base()].reset();
    }
  }

  mx::array result(int output) const { return value(output).weight.values; }

 private:
  size_t base() const { return weights_.size() + inputCount; }

  void put(size_t at, const mx::array& array) {
    if (at < weights_.size()) {
      weights_[at].values = array;
    } else if (at >= base()) {
      made_[at - base()]->weight.values = array;
    }
  }

  Value value(int index) const {
    const auto at = static_cast<size_t>(index);
    if (at < weights_.size()) return {weights_[at], 0};
    if (at < base()) return inputs_[at - weights_.size()];
    if (!made_[at - base()].has_value()) throw InvalidInput("a value that was let go");
    return *made_[at - base()];
  }

  mx::array plain(const Step& step, size_t place) const {
    const Weight weight = value(step.inputs[place]).weight;
    if (weight.scales.has_value()) throw InvalidInput(nameOf(step) + ": a quantised matrix where an array is read");
    return weight.values;
  }

  static std::string nameOf(const Step& step) { return arities[static_cast<size_t>(step.operation)].name; }

  static void requireRank(const Step& step, const mx::array& array, size_t rank) {
    if (array.ndim() != rank) {
      throw InvalidInput(nameOf(step) + ": an array of " + std::to_string(array.ndim()) + " dimensions");
    }
  }

  /** MLX does not look whether a place is in the table. */
  static void requireBelow(const Step& step, int64_t below, int64_t rows) {
    if (below < 1 || below > rows) {
      throw InvalidInput(nameOf(step) + ": places up to " + std::to_string(below) + " of a table of " +
                         std::to_string(rows) + " rows");
    }
  }

  std::optional<Value> work(const Step& step) {
    Value made{{compute(step)}, belowOf(step)};
    if (static_cast<int64_t>(made.weight.values.size()) > mostNumbers) {
      throw InvalidInput(nameOf(step) + ": more than 2^31 numbers at once; take smaller batches");
    }
    return made;
  }

  int64_t belowOf(const Step& step) const {
    switch (step.operation) {
      case Operation::distances:
        return static_cast<int64_t>(step.attributes[0]);
      case Operation::transpose:
      case Operation::expand:
        return value(step.inputs[0]).below;
      default:
        return 0;
    }
  }

  mx::array linear(const Step& step) const {
    const mx::array x = plain(step, 0);
    const Weight weight = value(step.inputs[1]).weight;
    mx::array y = weight.scales.has_value()
                      ? mx::quantized_matmul(x, weight.values, *weight.scales, weight.biases, true, weight.group,
                                             weight.bits)
                      : mx::matmul(x, mx::transpose(weight.values));
    return step.inputs.size() == 3 ? mx::add(y, plain(step, 2)) : y;
  }

  mx::array take(const Step& step) const {
    const Weight table = value(step.inputs[0]).weight;
    const Value places = value(step.inputs[1]);
    requireBelow(step, places.below, table.values.shape(0));
    const mx::array& ids = places.weight.values;
    if (!table.scales.has_value()) return mx::take(table.values, ids, 0);
    return mx::dequantize(mx::take(table.values, ids, 0), mx::take(*table.scales, ids, 0),
                          mx::take(*table.biases, ids, 0), table.group, table.bits);
  }

  /** Numbers from 0 on, as a row or as a column. */
  static mx::array counted(int count, bool isColumn) {
    return mx::reshape(mx::arange(0, count, 1, mx::int32), isColumn ? mx::Shape{count, 1} : mx::Shape{1, count});
  }

  /**
   * (rows, 1, columns, columns): whether a query (the third dimension) sees a key. Padding sees itself, so
   * that no row of scores is without a number.
   */
  mx::array attentionMask(const Step& step) const {
    const int count = batch_.columns;
    const mx::array query = counted(count, true);
    const mx::array key = counted(count, false);
    const mx::array distance = mx::subtract(query, key);
    mx::array seen = mx::less(key, mx::reshape(plain(step, 0), {batch_.rows, 1, 1, 1}));
    if (step.attributes[0] != 0) seen = mx::logical_and(seen, mx::greater_equal(distance, mx::array(0)));
    const auto reach = static_cast<int>(step.attributes[1]);
    if (reach >= 0) seen = mx::logical_and(seen, mx::less_equal(mx::abs(distance), mx::array(reach)));
    const mx::array isPadding = mx::greater_equal(query, mx::reshape(plain(step, 1), {batch_.rows, 1, 1, 1}));
    return mx::logical_or(seen, mx::logical_and(isPadding, mx::equal(distance, mx::array(0))));
  }

  /** (columns, columns): what a table says of the distance from each query (the first dimension) to each key. */
  mx::array distances(const Step& step) const {
    const mx::array table = plain(step, 0);
    const int count = batch_.columns;
    const int middle = (table.shape(0) - 1) / 2;
    requireRank(step, table, 1);
    if (count - 1 > middle) throw InvalidInput("distances: a table for sequences of " + std::to_string(middle + 1));
    const mx::array distance = mx::subtract(counted(count, true), counted(count, false));
    return mx::take(table, mx::add(distance, mx::array(middle)), 0);
  }

  mx::array compute(const Step& step) const {
    const auto& attributes = step.attributes;
    switch (step.operation) {
      case Operation::take:
        return take(step);
      case Operation::rows: {
        const mx::array table = plain(step, 0);
        requireRank(step, table, 2);
        requireBelow(step, batch_.columns, table.shape(0));
        return mx::expand_dims(mx::slice(table, {0, 0}, {batch_.columns, table.shape(1)}), 0);
      }
      case Operation::add:
        return mx::add(plain(step, 0), plain(step, 1));
      case Operation::subtract:
        return mx::subtract(plain(step, 0), plain(step, 1));
      case Operation::multiply:
        return mx::multiply(plain(step, 0), plain(step, 1));
      case Operation::scale: {
        const mx::array x = plain(step, 0);
        return mx::multiply(x, mx::array(static_cast<float>(attributes[0]), x.dtype()));
      }
      case Operation::linear:
        return linear(step);
      case Operation::layerNorm: {
        const auto bias = step.inputs.size() == 3 ? std::optional(plain(step, 2)) : std::nullopt;
        const auto epsilon = static_cast<float>(attributes[0]);
        if (const auto made = fused::norm(plain(step, 0), plain(step, 1), bias, epsilon, true)) return *made;
        return mx::fast::layer_norm(plain(step, 0), plain(step, 1), bias, epsilon);
      }
      case Operation::rmsNorm: {
        const auto epsilon = static_cast<float>(attributes[0]);
        if (const auto made = fused::norm(plain(step, 0), plain(step, 1), std::nullopt, epsilon, false)) return *made;
        return mx::fast::rms_norm(plain(step, 0), plain(step, 1), epsilon);
      }
      case Operation::gelu: {
        const mx::array x = plain(step, 0);
        if (const auto made = fused::activation(Activation::gelu, x)) return *made;
        const mx::array part = mx::erf(mx::multiply(x, mx::array(static_cast<float>(std::numbers::sqrt2 / 2), x.dtype())));
        const mx::array half = mx::array(0.5f, x.dtype());
        return mx::multiply(mx::multiply(x, half), mx::add(mx::array(1.0f, x.dtype()), part));
      }
      case Operation::geluTanh: {
        const mx::array x = plain(step, 0);
        if (const auto made = fused::activation(Activation::geluTanh, x)) return *made;
        const auto number = [&](double one) { return mx::array(static_cast<float>(one), x.dtype()); };
        const mx::array cube = mx::multiply(mx::multiply(x, x), x);
        const mx::array inner = mx::add(x, mx::multiply(number(0.044715), cube));
        const mx::array part = mx::tanh(mx::multiply(number(std::sqrt(2 / std::numbers::pi)), inner));
        return mx::multiply(mx::multiply(x, number(0.5)), mx::add(number(1), part));
      }
      case Operation::silu: {
        const mx::array x = plain(step, 0);
        if (const auto made = fused::activation(Activation::silu, x)) return *made;
        return mx::multiply(x, mx::sigmoid(x));
      }
      case Operation::relu: {
        const mx::array x = plain(step, 0);
        return mx::maximum(x, mx::array(0.0f, x.dtype()));
      }
      case Operation::tanh:
        return mx::tanh(plain(step, 0));
      case Operation::splitHeads: {
        const mx::array x = plain(step, 0);
        requireRank(step, x, 3);
        const auto heads = static_cast<int>(attributes[0]);
        if (heads < 1 || x.shape(2) % heads != 0) throw InvalidInput("split-heads: the heads do not share the width");
        const mx::array apart = mx::reshape(x, {x.shape(0), x.shape(1), heads, x.shape(2) / heads});
        return mx::transpose(apart, {0, 2, 1, 3});
      }
      case Operation::mergeHeads: {
        const mx::array x = plain(step, 0);
        requireRank(step, x, 4);
        return mx::reshape(mx::transpose(x, {0, 2, 1, 3}), {x.shape(0), x.shape(2), x.shape(1) * x.shape(3)});
      }
      case Operation::rope: {
        const mx::array x = plain(step, 0);
        const mx::array periods = plain(step, 1);
        requireRank(step, x, 4);
        if (periods.ndim() != 1 || periods.shape(0) * 2 != x.shape(3)) throw InvalidInput("rope: other periods than pairs");
        return mx::fast::rope(x, x.shape(3), false, std::nullopt, 1.0f, 0, periods);
      }
      case Operation::attentionMask:
        return attentionMask(step);
      case Operation::hide: {
        const mx::array x = plain(step, 0);
        const float lowest = x.dtype() == mx::float16 ? -65504.0f : std::numeric_limits<float>::lowest() / 2;
        return mx::where(plain(step, 1), x, mx::array(lowest, x.dtype()));
      }
      case Operation::attention: {
        const auto scale = static_cast<float>(attributes[0]);
        const mx::array mask = plain(step, 3);
        const auto drop = dropOf(attributes[1], attributes[2]);
        const auto made = fused::attention(plain(step, 0), plain(step, 1), plain(step, 2), mask, scale, drop, isTrained_);
        if (made.has_value()) return *made;
        if (drop.has_value()) return attentionWithDropout(step, scale, *drop);
        return mx::fast::scaled_dot_product_attention(plain(step, 0), plain(step, 1), plain(step, 2), scale, "", mask);
      }
      case Operation::matmul: {
        const mx::array other = plain(step, 1);
        if (other.ndim() < 2) throw InvalidInput("matmul: an array of one dimension");
        return mx::matmul(plain(step, 0), mx::swapaxes(other, -1, -2));
      }
      case Operation::takeAlong: {
        const mx::array x = plain(step, 0);
        const Value places = value(step.inputs[1]);
        requireBelow(step, places.below, x.shape(-1));
        requireRank(step, places.weight.values, 2);
        if (x.ndim() < 2 || places.weight.values.shape(0) != x.shape(-2)) throw InvalidInput("take-along: other rows");
        mx::Shape shape = x.shape();
        shape.back() = places.weight.values.shape(1);
        return mx::take_along_axis(x, mx::broadcast_to(places.weight.values, shape), -1);
      }
      case Operation::distances:
        return distances(step);
      case Operation::transpose: {
        const mx::array x = plain(step, 0);
        std::vector<int> axes;
        for (const double axis : attributes) axes.push_back(axisOf(axis, x.ndim(), "transpose"));
        return mx::transpose(x, axes);
      }
      case Operation::expand: {
        const mx::array x = plain(step, 0);
        return mx::expand_dims(x, axisOf(attributes[0], x.ndim() + 1, "expand"));
      }
      case Operation::pick: {
        const mx::array x = plain(step, 0);
        const Value places = value(step.inputs[1]);
        requireRank(step, x, 3);
        requireBelow(step, places.below, x.shape(1));
        const mx::array& at = places.weight.values;
        const mx::Shape shape{at.shape(0), at.shape(1), x.shape(2)};
        return mx::take_along_axis(x, mx::broadcast_to(mx::expand_dims(at, 2), shape), 1);
      }
      case Operation::mean: {
        const mx::array x = plain(step, 0);
        const mx::array kept = mx::multiply(x, mx::astype(isToken(step), x.dtype()));
        const mx::array count = mx::maximum(plain(step, 1), mx::array(1));
        const mx::array total = mx::sum(mx::astype(kept, mx::float32), 1, true);
        return mx::astype(mx::divide(total, mx::reshape(mx::astype(count, mx::float32), {batch_.rows, 1, 1})), x.dtype());
      }
      case Operation::zeroPadding: {
        const mx::array x = plain(step, 0);
        return mx::multiply(x, mx::astype(isToken(step), x.dtype()));
      }
      case Operation::dropout:
        return dropout(step);
      case Operation::chooseRows: {
        const Weight table = value(step.inputs[0]).weight;
        const std::vector<int32_t> rows = rowsOf(step, table.values);
        const mx::array places(rows.data(), {static_cast<int>(rows.size())}, mx::int32);
        if (!table.scales.has_value()) return mx::take(table.values, places, 0);
        return mx::dequantize(mx::take(table.values, places, 0), mx::take(*table.scales, places, 0),
                              mx::take(*table.biases, places, 0), table.group, table.bits);
      }
      case Operation::count:
        break;
    }
    throw InvalidInput("an operation that there is not");
  }

  static std::vector<int32_t> rowsOf(const Step& step, const mx::array& table) {
    requireRank(step, table, 2);
    std::vector<int32_t> rows;
    for (const double row : step.attributes) {
      if (!(row >= 0 && row < table.shape(0)) || row != std::floor(row)) {
        throw InvalidInput("choose-rows: there is no row " + std::to_string(row));
      }
      rows.push_back(static_cast<int32_t>(row));
    }
    if (rows.empty()) throw InvalidInput("choose-rows: no rows");
    return rows;
  }

  /** None without a seed, and none of a chance of 0. */
  std::optional<kernels::Drop> dropOf(double chance, double place) const {
    if (!(chance >= 0 && chance < 1) || !(place >= 0 && place <= mostSteps)) throw InvalidInput("dropout: no such chance");
    if (!seed_.has_value() || chance == 0) return std::nullopt;
    const uint64_t key = mixed(*seed_, static_cast<uint64_t>(place));
    return kernels::Drop{static_cast<uint32_t>(key), static_cast<uint32_t>(key >> 32),
                         static_cast<uint32_t>(chance * 4294967296.0), static_cast<float>(1 / (1 - chance))};
  }

  mx::array dropout(const Step& step) const {
    const mx::array x = plain(step, 0);
    const auto drop = dropOf(step.attributes[0], step.attributes[1]);
    if (!drop.has_value()) return x;
    if (const auto made = fused::dropout(x, *drop)) return *made;
    return dropped(x, *drop);
  }

  /** As `kernels::drop`, number for number. */
  static mx::array dropped(const mx::array& x, const kernels::Drop& drop) {
    const auto word = [](uint32_t value) { return mx::array(value, mx::uint32); };
    const auto mixedWords = [&](const mx::array& words) {
      const mx::array first = mx::multiply(mx::bitwise_xor(words, mx::right_shift(words, word(16))), word(0x85ebca6bu));
      const mx::array second = mx::multiply(mx::bitwise_xor(first, mx::right_shift(first, word(13))), word(0xc2b2ae35u));
      return mx::bitwise_xor(second, mx::right_shift(second, word(16)));
    };
    const mx::array places = mx::reshape(mx::arange(0, static_cast<int>(x.size()), 1, mx::uint32), x.shape());
    const mx::array words = mixedWords(mx::bitwise_xor(mixedWords(mx::bitwise_xor(places, word(drop.low))), word(drop.high)));
    const mx::array isKept = mx::greater_equal(words, word(drop.threshold));
    return mx::where(isKept, mx::multiply(x, mx::array(drop.factor, x.dtype())), mx::array(0.0f, x.dtype()));
  }

  /** Of MLX's many operations, since its own attention drops nothing. */
  mx::array attentionWithDropout(const Step& step, float scale, const kernels::Drop& drop) const {
    const mx::array query = plain(step, 0);
    const mx::array mask = plain(step, 3);
    for (size_t place = 0; place < 3; place++) requireRank(step, plain(step, place), 4);
    const int keyHeads = plain(step, 1).shape(1);
    if (keyHeads < 1 || query.shape(1) % keyHeads != 0) throw InvalidInput("attention: the heads do not share the keys");
    const int shared = query.shape(1) / keyHeads;
    const auto repeated = [&](const mx::array& of) { return shared == 1 ? of : mx::repeat(of, shared, 1); };
    const mx::array scaled = mx::multiply(query, mx::array(scale, query.dtype()));
    const mx::array products = mx::astype(mx::matmul(scaled, mx::swapaxes(repeated(plain(step, 1)), -1, -2)), mx::float32);
    const mx::array lowest = mx::array(std::numeric_limits<float>::lowest() / 2);
    const mx::array seen = mask.dtype() == mx::bool_ ? mx::where(mask, products, lowest)
                                                     : mx::add(products, mx::astype(mask, mx::float32));
    const mx::array shares = mx::astype(dropped(mx::softmax(seen, -1), drop), query.dtype());
    return mx::matmul(shares, repeated(plain(step, 2)));
  }

  /** (rows, columns, 1), of the lengths that are an operation's second input. */
  mx::array isToken(const Step& step) const {
    const mx::array place = mx::reshape(mx::arange(0, batch_.columns, 1, mx::int32), {1, batch_.columns, 1});
    return mx::less(place, mx::reshape(plain(step, 1), {batch_.rows, 1, 1}));
  }

  const Program* program_;
  std::vector<Weight> weights_;
  Batch batch_;
  std::optional<uint64_t> seed_;
  bool isTrained_;
  std::vector<Value> inputs_;
  std::vector<size_t> last_;
  std::vector<std::optional<Value>> made_;
};

/** Reads numbers one after the other. */
class Words {
 public:
  Words(const double* words, size_t count) : words_(words), count_(count) {}

  double next() {
    if (at_ >= count_) throw InvalidInput("a program that ends early");
    return words_[at_++];
  }

  /** A whole number from 0 to `most`. */
  int64_t whole(int64_t most) {
    const double word = next();
    if (!(word >= 0 && word <= static_cast<double>(most)) || word != std::floor(word)) {
      throw InvalidInput("a program with " + std::to_string(word) + " at " + std::to_string(at_ - 1));
    }
    return static_cast<int64_t>(word);
  }

  bool ended() const { return at_ == count_; }

 private:
  const double* words_;
  size_t count_;
  size_t at_ = 0;
};

}  // namespace

const std::vector<std::string>& operationNames() {
  static const std::vector<std::string> names = [] {
    std::vector<std::string> all;
    for (const Arity& arity : arities) all.emplace_back(arity.name);
    return all;
  }();
  return names;
}

Program readProgram(const double* words, size_t count, size_t weights) {
  Words reader(words, count);
  Program program;
  program.weights = weights;
  program.ids = reader.whole(mostNumbers);
  program.segments = reader.whole(mostNumbers);
  program.columns = reader.whole(mostNumbers);
  const auto output = reader.whole(static_cast<int64_t>(weights + inputCount + mostSteps));
  const auto steps = static_cast<size_t>(reader.whole(mostSteps));
  for (size_t index = 0; index < steps; index++) {
    const auto code = reader.whole(static_cast<int64_t>(Operation::count) - 1);
    const Arity& arity = arities[code];
    Step step{static_cast<Operation>(code), {}, {}};
    const auto inputs = static_cast<size_t>(reader.whole(static_cast<int64_t>(arity.most)));
    if (inputs < arity.fewest) throw InvalidInput(std::string(arity.name) + ": too few inputs");
    for (size_t input = 0; input < inputs; input++) {
      // Only what was made before.
      step.inputs.push_back(static_cast<int>(reader.whole(static_cast<int64_t>(weights + inputCount + index) - 1)));
    }
    const auto attributes = static_cast<size_t>(reader.whole(mostAttributes));
    const bool isFree = arity.attributes == mostAttributes;
    if (!isFree && attributes != arity.attributes) throw InvalidInput(std::string(arity.name) + ": other attributes");
    for (size_t attribute = 0; attribute < attributes; attribute++) {
      const double number = reader.next();
      if (!std::isfinite(number)) throw InvalidInput(std::string(arity.name) + ": an attribute that is no number");
      step.attributes.push_back(number);
    }
    program.steps.push_back(std::move(step));
  }
  if (!reader.ended()) throw InvalidInput("a program that goes on behind its end");
  if (output >= static_cast<int64_t>(weights + inputCount + steps)) throw InvalidInput("an output that nothing makes");
  program.output = static_cast<int>(output);
  return program;
}

void checkBatch(const Program& program, const Batch& batch) {
  if (batch.rows < 1 || batch.columns < 1 || batch.picked < 1 || batch.columns > program.columns ||
      batch.picked > batch.columns || int64_t{batch.rows} * batch.columns > mostNumbers) {
    throw InvalidInput("a batch of " + std::to_string(batch.rows) + " x " + std::to_string(batch.columns) +
                       ", and the model takes " + std::to_string(program.columns) + " tokens");
  }
  const auto numbers = static_cast<size_t>(batch.rows) * static_cast<size_t>(batch.columns);
  const auto check = [](const char* what, const int32_t* data, size_t count, int64_t below) {
    for (size_t place = 0; place < count; place++) {
      if (data[place] >= 0 && data[place] < below) continue;
      throw InvalidInput(std::string(what) + " " + std::to_string(data[place]) + " at " + std::to_string(place) +
                         ", and there are " + std::to_string(below));
    }
  };
  check("token", batch.ids, numbers, program.ids);
  check("segment", batch.segments, numbers, program.segments);
  check("length", batch.lengths, static_cast<size_t>(batch.rows), int64_t{batch.columns} + 1);
  check("extent", batch.extents, static_cast<size_t>(batch.rows), int64_t{batch.columns} + 1);
  check("place", batch.places, static_cast<size_t>(batch.rows) * static_cast<size_t>(batch.picked), batch.columns);
}

mx::array evaluate(const Program& program, const std::vector<Weight>& weights, const Batch& batch,
                   std::optional<uint64_t> seed, const std::vector<size_t>& parts, bool isTrained) {
  if (weights.size() != program.weights) throw InvalidInput("a program for another number of weights");
  Evaluation evaluation(program, weights, batch, seed, isTrained);
  size_t from = 0;
  for (const size_t part : parts) {
    evaluation.runAgain(from, part);
    from = part;
  }
  evaluation.run(from, program.steps.size());
  return mx::astype(evaluation.result(program.output), mx::float32);
}

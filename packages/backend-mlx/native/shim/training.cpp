#include "training.hpp"

#include <cmath>
#include <cstring>
#include <limits>
#include <string>
#include <utility>

#include "fused.hpp"
#include "kernels.hpp"
#include "mlx/mlx.h"
#include "model.hpp"

namespace mx = mlx::core;

namespace {

/** A step's largest number. Beyond it AdamW's corrections are 1 in any precision. */
constexpr int64_t mostStepsDone = int64_t{1} << 40;

mx::array number(double value) { return mx::array(static_cast<float>(value), mx::float32); }

void checkTarget(const Batch& batch, const Target& target) {
  const auto rows = static_cast<size_t>(batch.rows);
  if (target.loss != Loss::sum && target.labelCount != rows) {
    throw InvalidInput(std::to_string(target.labelCount) + " labels for " + std::to_string(rows) + " rows");
  }
  for (size_t at = 0; at < target.labelCount; at++) {
    if (!std::isfinite(target.labels[at])) throw InvalidInput("a label that is no finite number");
  }
  if (!(target.share > 0 && target.share <= 1)) throw InvalidInput("a share that is none");
  if (target.loss == Loss::binary || target.loss == Loss::sum) return;
  if (target.groups < 1 || target.most < 2 || target.most > batch.rows || target.groups > batch.rows) {
    throw InvalidInput("a listwise loss without groups");
  }
  std::vector<bool> seen(rows, false);
  for (int group = 0; group < target.groups; group++) {
    bool ended = false;
    for (int place = 0; place < target.most; place++) {
      const int32_t row = target.members[static_cast<size_t>(group) * static_cast<size_t>(target.most) + static_cast<size_t>(place)];
      if (row == -1) {
        if (place < 2) throw InvalidInput("a group of fewer than two rows");
        ended = true;
        continue;
      }
      if (ended || row < 0 || row >= batch.rows || seen[static_cast<size_t>(row)]) {
        throw InvalidInput("a group with row " + std::to_string(row));
      }
      seen[static_cast<size_t>(row)] = true;
    }
  }
  for (const bool one : seen) {
    if (!one) throw InvalidInput("a row that is in no group");
  }
}

/** (rows): what ranks. */
mx::array scoresOf(const mx::array& output, const Batch& batch, const Target& target) {
  if (output.ndim() != 3 || output.shape(0) != batch.rows || output.shape(1) != 1) {
    throw InvalidInput("a loss of a program that gives no logits");
  }
  const int width = output.shape(2);
  if (target.positive < 0 || target.positive >= width || target.negative < -1 || target.negative >= width) {
    throw InvalidInput("a loss of a logit that there is not");
  }
  const auto column = [&](int at) { return mx::reshape(mx::slice(output, {0, 0, at}, {batch.rows, 1, at + 1}), {batch.rows}); };
  const mx::array score = column(target.positive);
  return target.negative < 0 ? score : mx::subtract(score, column(target.negative));
}

/** An array's numbers, row by row and its alone to change. It is computed again where it lies otherwise. */
float* numbersOf(mx::array& of) {
  of = mx::contiguous(of);
  of.eval();
  return of.data<float>();
}

mx::array lossOf(const mx::array& output, const Batch& batch, const Target& target) {
  if (target.loss == Loss::sum) {
    if (target.labelCount != output.size()) throw InvalidInput("other labels than numbers of the output");
    return mx::sum(mx::multiply(output, mx::array(target.labels, output.shape(), mx::float32)));
  }
  const mx::array scores = scoresOf(output, batch, target);
  const mx::array labels(target.labels, {batch.rows}, mx::float32);
  if (target.loss == Loss::binary) {
    return mx::mean(mx::subtract(mx::logaddexp(scores, number(0)), mx::multiply(scores, labels)));
  }
  const mx::Shape shape{target.groups, target.most};
  const mx::array members(target.members, shape, mx::int32);
  const mx::array isRow = mx::greater_equal(members, mx::array(0));
  const mx::array places = mx::maximum(members, mx::array(0));
  const mx::array grouped = mx::take(scores, places, 0);
  const mx::array wanted = mx::take(labels, places, 0);
  const mx::array present = mx::astype(isRow, mx::float32);
  if (target.loss == Loss::margins) {
    const auto margins = [&](const mx::array& of) { return mx::subtract(mx::slice(of, {0, 0}, {target.groups, 1}), of); };
    const mx::array error = mx::multiply(mx::subtract(margins(grouped), margins(wanted)), present);
    // The first row's own difference is 0, and counts for nothing.
    const mx::array count = mx::subtract(mx::sum(present, 1), number(1));
    return mx::mean(mx::divide(mx::sum(mx::square(error), 1), count));
  }
  const mx::array lowest = number(-1e30);
  const auto logShares = [&](const mx::array& of) {
    const mx::array hidden = mx::where(isRow, of, lowest);
    return mx::subtract(hidden, mx::logsumexp(hidden, 1, true));
  };
  const mx::array logs = mx::multiply(logShares(grouped), present);
  if (target.loss == Loss::listwise) {
    return mx::mean(mx::negative(mx::sum(mx::multiply(mx::multiply(wanted, present), logs), 1)));
  }
  const mx::array theirs = mx::multiply(logShares(wanted), present);
  const mx::array shares = mx::multiply(mx::exp(theirs), present);
  return mx::mean(mx::sum(mx::multiply(shares, mx::subtract(theirs, logs)), 1));
}

}  // namespace

Training::Training(const Program& program, std::vector<Weight>& weights, std::vector<TrainedWeight> trained,
                   const Rule& rule, std::vector<size_t> parts)
    : program_(program), weights_(weights), rule_(rule), parts_(std::move(parts)) {
  const bool isRule = rule.beta1 >= 0 && rule.beta1 < 1 && rule.beta2 >= 0 && rule.beta2 < 1 && rule.epsilon > 0 &&
                      std::isfinite(rule.epsilon) && rule.decay >= 0 && std::isfinite(rule.decay);
  if (!isRule) throw InvalidInput("AdamW with numbers that it does not take");
  if (trained.empty()) throw InvalidInput("nothing to train");
  size_t before = 0;
  for (const size_t part : parts_) {
    if (part <= before || part >= program.steps.size()) throw InvalidInput("parts of a program that are none");
    before = part;
  }
  std::vector<bool> seen(weights.size(), false);
  for (const TrainedWeight& one : trained) {
    const auto at = static_cast<size_t>(one.weight);
    if (one.weight < 0 || at >= weights.size() || seen[at]) throw InvalidInput("a trained weight that is none");
    seen[at] = true;
    const Weight& weight = weights[at];
    const mx::Dtype dtype = weight.values.dtype();
    const bool isFloat = dtype == mx::float32 || dtype == mx::float16 || dtype == mx::bfloat16;
    if (weight.scales.has_value() || !isFloat) throw InvalidInput("a trained weight that is quantised or no float");
    const mx::array value = mx::contiguous(mx::astype(weight.values, mx::float32));
    const mx::array mean = mx::zeros(value.shape(), mx::float32);
    const mx::array square = mx::zeros(value.shape(), mx::float32);
    mx::eval({value, mean, square});
    parameters_.push_back({one, dtype, value, mean, square, std::nullopt});
  }
}

double Training::accumulate(const Batch& batch, const Target& target, std::optional<uint64_t> seed) {
  checkTarget(batch, target);
  std::vector<mx::array> values;
  std::vector<int> places;
  for (const Parameter& parameter : parameters_) {
    places.push_back(static_cast<int>(values.size()));
    values.push_back(parameter.value);
  }
  const auto loss = [&](const std::vector<mx::array>& given) -> std::vector<mx::array> {
    std::vector<Weight> weights = weights_;
    for (size_t index = 0; index < given.size(); index++) {
      const Parameter& parameter = parameters_[index];
      weights[static_cast<size_t>(parameter.trained.weight)].values = mx::astype(given[index], parameter.computed);
    }
    return {lossOf(evaluate(program_, weights, batch, seed, parts_, true), batch, target)};
  };
  auto [losses, gradients] = mx::value_and_grad(loss, places)(values);
  std::vector<mx::array> made{losses[0]};
  const bool isWhole = target.share == 1;
  for (size_t index = 0; index < gradients.size(); index++) {
    const mx::array own = isWhole ? gradients[index] : mx::multiply(gradients[index], number(target.share));
    const auto& known = parameters_[index].gradient;
    made.push_back(known.has_value() ? mx::add(*known, own) : own);
  }
  gradients.clear();
  fused::requireMemory(made);
  mx::eval(made);
  // Only now: a batch that fails leaves the step as it was.
  for (size_t index = 0; index < parameters_.size(); index++) parameters_[index].gradient = made[index + 1];
  return static_cast<double>(losses[0].item<float>());
}

double Training::gradientNorm() {
  if (fused::runsHere()) {
    double squares = 0;
    for (Parameter& parameter : parameters_) {
      double own = 0;
      kernels::squares(numbersOf(*parameter.gradient), parameter.value.size(), &own);
      squares += own;
    }
    return std::sqrt(squares);
  }
  mx::array squares = number(0);
  for (const Parameter& parameter : parameters_) squares = mx::add(squares, mx::sum(mx::square(*parameter.gradient)));
  return static_cast<double>(mx::sqrt(squares).item<float>());
}

double Training::apply(double rate, double clip) {
  if (!(rate >= 0 && std::isfinite(rate) && clip >= 0 && std::isfinite(clip))) throw InvalidInput("a rate that is none");
  for (const Parameter& parameter : parameters_) {
    if (!parameter.gradient.has_value()) throw InvalidInput("a step without a batch");
  }
  const double norm = gradientNorm();
  if (!std::isfinite(norm)) {
    for (Parameter& parameter : parameters_) parameter.gradient.reset();
    return norm;
  }
  // As torch's clip_grad_norm_: the norm with 1e-6, and never a longer gradient.
  const double kept = clip > 0 ? std::min(1.0, clip / (norm + 1e-6)) : 1.0;
  steps_ += 1;
  const auto step = static_cast<double>(steps_);
  const double correction1 = 1 - std::pow(rule_.beta1, step);
  const double correction2 = std::sqrt(1 - std::pow(rule_.beta2, step));
  for (Parameter& parameter : parameters_) {
    const double keeps = parameter.trained.decays ? 1 - rate * rule_.decay : 1;
    if (fused::runsHere()) {
      const auto narrow = [](double one) { return static_cast<float>(one); };
      const kernels::AdamStep numbers{narrow(kept),        narrow(keeps),           narrow(rule_.beta1),
                                      narrow(1 - rule_.beta1), narrow(rule_.beta2), narrow(1 - rule_.beta2),
                                      narrow(rate / correction1), narrow(correction2), narrow(rule_.epsilon)};
      kernels::adam(numbers, numbersOf(*parameter.gradient), numbersOf(parameter.value), numbersOf(parameter.mean),
                    numbersOf(parameter.square), parameter.value.size());
      parameter.gradient.reset();
      place(parameter);
      continue;
    }
    const mx::array gradient = kept < 1 ? mx::multiply(*parameter.gradient, number(kept)) : *parameter.gradient;
    const mx::array value = keeps < 1 ? mx::multiply(parameter.value, number(keeps)) : parameter.value;
    const mx::array mean =
        mx::add(mx::multiply(parameter.mean, number(rule_.beta1)), mx::multiply(gradient, number(1 - rule_.beta1)));
    const mx::array square = mx::add(mx::multiply(parameter.square, number(rule_.beta2)),
                                     mx::multiply(mx::square(gradient), number(1 - rule_.beta2)));
    const mx::array root = mx::add(mx::divide(mx::sqrt(square), number(correction2)), number(rule_.epsilon));
    const mx::array moved = mx::subtract(value, mx::multiply(number(rate / correction1), mx::divide(mean, root)));
    mx::eval({moved, mean, square});
    parameter.value = moved;
    parameter.mean = mean;
    parameter.square = square;
    parameter.gradient.reset();
    place(parameter);
  }
  return norm;
}

void Training::place(const Parameter& parameter) {
  mx::array computed = mx::astype(parameter.value, parameter.computed);
  computed.eval();
  weights_[static_cast<size_t>(parameter.trained.weight)].values = std::move(computed);
}

const Training::Parameter& Training::at(size_t place) const {
  if (place >= parameters_.size()) throw InvalidInput("a trained weight that is none");
  return parameters_[place];
}

mx::array Training::read(size_t place, Kept kept) const {
  const Parameter& parameter = at(place);
  switch (kept) {
    case Kept::value:
      return parameter.value;
    case Kept::mean:
      return parameter.mean;
    case Kept::square:
      return parameter.square;
    case Kept::gradient:
      if (parameter.gradient.has_value()) return *parameter.gradient;
      throw InvalidInput("no gradient yet");
  }
  throw InvalidInput("something that is not kept");
}

void Training::write(size_t index, Kept kept, const float* data, size_t count) {
  at(index);
  Parameter& parameter = parameters_[index];
  if (count != parameter.value.size()) throw InvalidInput("other numbers than the trained weight has");
  for (size_t place = 0; place < count; place++) {
    if (!std::isfinite(data[place])) throw InvalidInput("a number of a trained weight that is none");
  }
  mx::array written(data, parameter.value.shape(), mx::float32);
  if (kept == Kept::value) {
    parameter.value = written;
    place(parameter);
  } else if (kept == Kept::mean) {
    parameter.mean = written;
  } else if (kept == Kept::square) {
    parameter.square = written;
  } else {
    throw InvalidInput("a gradient is not written");
  }
}

void Training::setSteps(int64_t steps) {
  if (steps < 0 || steps > mostStepsDone) throw InvalidInput("a number of steps that is none");
  steps_ = steps;
  for (Parameter& parameter : parameters_) parameter.gradient.reset();
}

int32_t mlx_shim_train(MlxShimModel* model, const MlxShimTraining* given, char* message) {
  return guarded(message, [&] {
    if (!model->program.has_value()) throw InvalidInput("no program");
    if (model->training != nullptr) throw InvalidInput("it is trained already");
    std::vector<TrainedWeight> trained;
    for (size_t at = 0; at < given->count; at++) trained.push_back({given->weights[at], given->decays[at] != 0});
    std::vector<size_t> parts;
    for (size_t at = 0; at < given->parts; at++) parts.push_back(static_cast<size_t>(given->part[at]));
    const std::shared_lock<std::shared_mutex> computing(gate());
    model->training = std::make_unique<Training>(*model->program, model->weights, std::move(trained),
                                                 Rule{given->beta1, given->beta2, given->epsilon, given->decay}, std::move(parts));
  });
}

namespace {

Training& trainingOf(MlxShimModel* model) {
  if (model->training == nullptr) throw InvalidInput("it is not trained");
  return *model->training;
}

Kept keptOf(int32_t kept) {
  if (kept < 0 || kept >= keptCount) throw InvalidInput("something that is not kept");
  return static_cast<Kept>(kept);
}

}  // namespace

int32_t mlx_shim_accumulate(MlxShimModel* model, const MlxShimBatch* given, const MlxShimWanted* wanted, double* loss,
                            char* message) {
  return guarded(message, [&] {
    Training& training = trainingOf(model);
    const Batch batch = batchOf(*given);
    checkBatch(*model->program, batch);
    if (wanted->loss < 0 || wanted->loss >= lossCount) throw InvalidInput("a loss that there is not");
    const Target target{static_cast<Loss>(wanted->loss), wanted->positive, wanted->negative, wanted->groups, wanted->most,
                        wanted->members, wanted->labels, wanted->label_count, wanted->share};
    const auto seed = wanted->drops != 0 ? std::optional<uint64_t>(wanted->seed) : std::nullopt;
    const std::shared_lock<std::shared_mutex> computing(gate());
    *loss = training.accumulate(batch, target, seed);
  });
}

int32_t mlx_shim_apply(MlxShimModel* model, double rate, double clip, double* norm, char* message) {
  return guarded(message, [&] {
    const std::shared_lock<std::shared_mutex> computing(gate());
    *norm = trainingOf(model).apply(rate, clip);
  });
}

int32_t mlx_shim_kept(MlxShimModel* model, uint32_t place, int32_t kept, char* message) {
  return guarded(message, [&] {
    const std::shared_lock<std::shared_mutex> computing(gate());
    mx::array output = mx::contiguous(trainingOf(model).read(place, keptOf(kept)));
    output.eval();
    model->output = std::move(output);
  });
}

int32_t mlx_shim_keep(MlxShimModel* model, uint32_t place, int32_t kept, const float* data, size_t count, char* message) {
  return guarded(message, [&] {
    const std::shared_lock<std::shared_mutex> computing(gate());
    trainingOf(model).write(place, keptOf(kept), data, count);
  });
}

int32_t mlx_shim_set_steps(MlxShimModel* model, double steps, char* message) {
  return guarded(message, [&] {
    if (!(steps >= 0 && steps <= static_cast<double>(mostStepsDone) && steps == std::floor(steps))) {
      throw InvalidInput("a number of steps that is none");
    }
    trainingOf(model).setSteps(static_cast<int64_t>(steps));
  });
}

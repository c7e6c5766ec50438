#include "check.hpp"

#include <climits>
#include <vector>

#include "MNN_generated.h"

namespace {

using namespace MNN;

constexpr int64_t mostDimensions = 8;
constexpr int64_t mostNumbers = INT_MAX;

struct Checker {
  const Net* net;
  std::string& problem;
  /** Whether the tensor has been written by an operator before this one. */
  std::vector<bool> written;

  bool refuse(const std::string& why) {
    problem = why;
    return false;
  }

  static std::string nameOf(const Op* op) {
    const char* type = EnumNameOpType(op->type());
    std::string name = type == nullptr ? "an operator" : type;
    if (op->name() != nullptr) name += " " + op->name()->str().substr(0, 80);
    return name;
  }

  bool indices(const Op* op) {
    const auto* inputs = op->inputIndexes();
    for (flatbuffers::uoffset_t i = 0; inputs != nullptr && i < inputs->size(); i++) {
      const int32_t index = inputs->Get(i);
      if (index < 0 || static_cast<size_t>(index) >= written.size()) return refuse(nameOf(op) + " reads a tensor that is not there");
      if (!written[index]) return refuse(nameOf(op) + " reads a tensor before it is written");
    }
    const auto* outputs = op->outputIndexes();
    if (outputs == nullptr || outputs->size() == 0) return refuse(nameOf(op) + " has no output");
    for (flatbuffers::uoffset_t i = 0; i < outputs->size(); i++) {
      const int32_t index = outputs->Get(i);
      if (index < 0 || static_cast<size_t>(index) >= written.size()) return refuse(nameOf(op) + " writes a tensor that is not there");
      if (written[index]) return refuse(nameOf(op) + " writes a tensor that is written already");
      written[index] = true;
    }
    return true;
  }

  /** Numbers of a shape; -1 when it is none. */
  static int64_t numbersOf(const flatbuffers::Vector<int32_t>* dimensions) {
    if (dimensions == nullptr) return 1;
    if (dimensions->size() > mostDimensions) return -1;
    int64_t numbers = 1;
    for (flatbuffers::uoffset_t i = 0; i < dimensions->size(); i++) {
      const int64_t dimension = dimensions->Get(i);
      if (dimension < 0) return -1;
      numbers *= dimension;
      if (numbers > mostNumbers) return -1;
    }
    return numbers;
  }

  template <typename Vector>
  static int64_t sizeOf(const Vector* vector) {
    return vector == nullptr ? 0 : static_cast<int64_t>(vector->size());
  }

  bool blob(const Op* op) {
    const auto* blob = op->main_as_Blob();
    if (sizeOf(blob->external()) > 0) return refuse(nameOf(op) + " keeps its numbers in another file");
    const int64_t numbers = numbersOf(blob->dims());
    if (numbers < 0) return refuse(nameOf(op) + " has a shape that is none");
    int64_t found = -1;
    switch (blob->dataType()) {
      case DataType_DT_FLOAT:
        found = sizeOf(blob->float32s());
        break;
      case DataType_DT_INT32:
        found = sizeOf(blob->int32s());
        break;
      case DataType_DT_HALF:
      case DataType_DT_BFLOAT16:
        found = sizeOf(blob->uint8s()) % 2 == 0 ? sizeOf(blob->uint8s()) / 2 : -1;
        break;
      case DataType_DT_UINT8:
        found = sizeOf(blob->uint8s());
        break;
      case DataType_DT_INT8:
        found = sizeOf(blob->int8s());
        break;
      default:
        return refuse(nameOf(op) + " has numbers of a type that is not supported");
    }
    if (found != numbers) {
      return refuse(nameOf(op) + " has " + std::to_string(found) + " numbers for a shape of " + std::to_string(numbers));
    }
    return true;
  }

  /** The converter makes a 1×1 convolution of each product with a constant matrix. */
  bool convolution(const Op* op) {
    const auto* convolution = op->main_as_Convolution2D();
    const auto* common = convolution->common();
    if (common == nullptr) return refuse(nameOf(op) + " has no shape");
    const int64_t inputs = common->inputCount();
    const int64_t outputs = common->outputCount();
    const bool plain = common->kernelX() == 1 && common->kernelY() == 1 && common->strideX() == 1 &&
                       common->strideY() == 1 && common->dilateX() == 1 && common->dilateY() == 1 &&
                       common->padX() == 0 && common->padY() == 0 && common->group() == 1 &&
                       sizeOf(common->pads()) == 0 && sizeOf(common->outPads()) == 0 && !common->hasOutputShape();
    if (!plain || inputs <= 0 || outputs <= 0 || inputs > mostNumbers / outputs) {
      return refuse(nameOf(op) + " is no product with a matrix");
    }
    if (sizeOf(convolution->external()) > 0) return refuse(nameOf(op) + " keeps its weights in another file");
    if (convolution->symmetricQuan() != nullptr || convolution->sparseParameter() != nullptr) {
      return refuse(nameOf(op) + " has weights of a kind that is not supported");
    }
    if (sizeOf(convolution->bias()) != outputs) return refuse(nameOf(op) + " has a bias of another size than its outputs");
    const auto* quantised = convolution->quanParameter();
    if (quantised == nullptr) {
      return sizeOf(convolution->weight()) == inputs * outputs || refuse(nameOf(op) + " has a matrix of another size than it says");
    }
    return compressed(op, quantised, inputs, outputs);
  }

  bool compressed(const Op* op, const IDSTQuan* quantised, int64_t inputs, int64_t outputs) {
    const auto* buffer = quantised->buffer();
    const int64_t size = sizeOf(buffer);
    if (sizeOf(quantised->index()) > 0) return refuse(nameOf(op) + " has weights of a kind that is not supported");
    constexpr int32_t integers = 1;
    constexpr int32_t halves = 3;
    if (quantised->type() == halves) {
      return size == 2 * inputs * outputs || refuse(nameOf(op) + " has a matrix of another size than it says");
    }
    if (quantised->type() != integers) return refuse(nameOf(op) + " has weights of a kind that is not supported");

    // As `IDSTDecoder::ReadQuanData_c` reads it: rank, shape, number of values, values, indices into them bit by bit.
    const auto* bytes = reinterpret_cast<const uint8_t*>(buffer == nullptr ? nullptr : buffer->data());
    const int64_t width = quantised->shapeInt32() ? 4 : 2;
    const int64_t rank = size > 0 ? bytes[0] : 0;
    const int64_t countPlace = 1 + rank * width;
    if (rank < 1 || rank > 8 || countPlace >= size) return refuse(nameOf(op) + " has damaged weights");
    int64_t numbers = 1;
    for (int64_t i = 0; i < rank; i++) {
      int64_t dimension = 0;
      for (int64_t byte = 0; byte < width; byte++) {
        dimension |= static_cast<int64_t>(bytes[1 + i * width + byte]) << (8 * byte);
      }
      if (dimension < 1 || dimension > mostNumbers / numbers) return refuse(nameOf(op) + " has damaged weights");
      numbers *= dimension;
    }
    const int64_t values = bytes[countPlace] == 0 ? 256 : bytes[countPlace];
    int64_t bits = 1;
    while ((int64_t{1} << bits) < values) bits++;
    const int64_t wanted = countPlace + 1 + values + (numbers * bits + 7) / 8;
    if (numbers != inputs * outputs || size != wanted) {
      return refuse(nameOf(op) + " has a matrix of another size than it says");
    }
    const bool half = quantised->scaleStorage() == ScaleStorageType_FP16;
    const int64_t scales = half ? sizeOf(quantised->alphaFp16()) : sizeOf(quantised->alpha());
    const int64_t perOutput = quantised->readType() != 0 ? 2 : 1;
    if (scales == 0 || scales % (perOutput * outputs) != 0 || scales > 2 * numbers) {
      return refuse(nameOf(op) + " has another number of scales than outputs");
    }
    return true;
  }

  bool layerNorm(const Op* op) {
    const auto* norm = op->main_as_LayerNorm();
    if (sizeOf(norm->external()) > 0) return refuse(nameOf(op) + " keeps its weights in another file");
    if (sizeOf(norm->gamma()) != sizeOf(norm->beta()) && sizeOf(norm->beta()) > 0) {
      return refuse(nameOf(op) + " has a scale and a shift of different sizes");
    }
    if (sizeOf(norm->axis()) == 0) return refuse(nameOf(op) + " has no axis");
    return axes(op, norm->axis());
  }

  bool input(const Op* op) {
    const auto* input = op->main_as_Input();
    if (sizeOf(input->dims()) > mostDimensions) return refuse(nameOf(op) + " has too many dimensions");
    if (op->name() == nullptr) return refuse("an input has no name");
    return true;
  }

  template <typename Vector>
  bool axes(const Op* op, const Vector* vector) {
    if (sizeOf(vector) > mostDimensions) return refuse(nameOf(op) + " has too many axes");
    for (flatbuffers::uoffset_t i = 0; vector != nullptr && i < vector->size(); i++) {
      const int64_t axis = vector->Get(i);
      if (axis < -mostDimensions || axis >= mostDimensions) return refuse(nameOf(op) + " has an axis that is none");
    }
    return true;
  }

  bool axis(const Op* op, int64_t axis) {
    if (axis < -mostDimensions || axis >= mostDimensions) return refuse(nameOf(op) + " has an axis that is none");
    return true;
  }

  /** The parameter's kind, where MNN reads it without looking; NONE where it reads none, or looks. */
  bool parameter(const Op* op, OpParameter wanted) {
    if (op->main_type() != wanted) return refuse(nameOf(op) + " has parameters of another operator");
    if (wanted != OpParameter_NONE && op->main() == nullptr) return refuse(nameOf(op) + " has no parameters");
    return true;
  }

  bool inputs(const Op* op, int64_t least) {
    return sizeOf(op->inputIndexes()) >= least || refuse(nameOf(op) + " has too few inputs");
  }

  /** False with an empty problem: the operator is not known here. */
  bool operation(const Op* op) {
    switch (op->type()) {
      case OpType_Input:
        return parameter(op, OpParameter_Input) && input(op);
      case OpType_Const:
        return parameter(op, OpParameter_Blob) && blob(op);
      case OpType_Convolution:
        return parameter(op, OpParameter_Convolution2D) && inputs(op, 1) && convolution(op);
      case OpType_LayerNorm:
        return parameter(op, OpParameter_LayerNorm) && inputs(op, 1) && layerNorm(op);
      case OpType_BinaryOp:
        return parameter(op, OpParameter_BinaryOp) && inputs(op, 2);
      case OpType_UnaryOp:
        return parameter(op, OpParameter_UnaryOp) && inputs(op, 1);
      case OpType_Reshape:
        return parameter(op, OpParameter_Reshape) && inputs(op, op->main_as_Reshape()->dims() == nullptr ? 2 : 1);
      case OpType_Squeeze:
      case OpType_Unsqueeze:
        return parameter(op, OpParameter_SqueezeParam) && inputs(op, 1) && axes(op, op->main_as_SqueezeParam()->squeezeDims());
      case OpType_ConvertTensor:
        return parameter(op, OpParameter_TensorConvertInfo) && inputs(op, 1);
      case OpType_Concat:
        return parameter(op, OpParameter_Axis) && inputs(op, 1) && axis(op, op->main_as_Axis()->axis());
      case OpType_Softmax:
        return parameter(op, OpParameter_Axis) && inputs(op, 1) && axis(op, op->main_as_Axis()->axis());
      case OpType_Permute:
        return parameter(op, OpParameter_Permute) && inputs(op, 1) && axes(op, op->main_as_Permute()->dims());
      case OpType_GatherV2:
        return parameter(op, OpParameter_GatherV2) && inputs(op, 2);
      case OpType_MatMul:
        return parameter(op, OpParameter_MatMul) && inputs(op, 2);
      case OpType_BatchMatMul:
        return parameter(op, OpParameter_BatchMatMulParam) && inputs(op, 2);
      case OpType_StridedSlice:
        return parameter(op, OpParameter_StridedSliceParam) && inputs(op, 3) &&
               (op->main_as_StridedSliceParam()->fromType() == 0 || op->main_as_StridedSliceParam()->fromType() == 1 ||
                refuse(nameOf(op) + " is of no known kind"));
      case OpType_Slice:
        return parameter(op, OpParameter_Slice) && inputs(op, 1) && axis(op, op->main_as_Slice()->axis());
      case OpType_SliceTf:
        return parameter(op, OpParameter_NONE) && inputs(op, 3);
      case OpType_Cast:
        return parameter(op, OpParameter_CastParam) && inputs(op, 1);
      case OpType_Reduction:
        return parameter(op, OpParameter_ReductionParam) && inputs(op, 1) && axes(op, op->main_as_ReductionParam()->dim());
      case OpType_ReLU:
        return parameter(op, OpParameter_Relu) && inputs(op, 1);
      case OpType_ReLU6:
        return parameter(op, OpParameter_Relu6) && inputs(op, 1);
      case OpType_Flatten:
        return parameter(op, OpParameter_Flatten) && inputs(op, 1);
      case OpType_Shape:
      case OpType_Rank:
      case OpType_Size:
      case OpType_Identity:
      case OpType_Sigmoid:
      case OpType_TanH:
      case OpType_ZerosLike:
        return parameter(op, OpParameter_NONE) && inputs(op, 1);
      case OpType_Fill:
      case OpType_BroadcastTo:
        return parameter(op, OpParameter_NONE) && inputs(op, 2);
      case OpType_Select:
        return parameter(op, OpParameter_NONE) && inputs(op, 3);
      case OpType_Range:
        return parameter(op, OpParameter_NONE) && inputs(op, 3);
      default:
        return false;
    }
  }

  Judgement run() {
    const auto* operators = net->oplists();
    const auto* tensors = net->tensorName();
    if (operators == nullptr || operators->size() == 0 || tensors == nullptr) {
      problem = "the graph is empty";
      return Judgement::damaged;
    }
    for (flatbuffers::uoffset_t i = 0; i < tensors->size(); i++) {
      if (tensors->Get(i) == nullptr) {
        problem = "a tensor has no name";
        return Judgement::damaged;
      }
    }
    const auto* described = net->extraTensorDescribe();
    if (net->usage() != Usage_INFERENCE || sizeOf(net->subgraphs()) > 0 || sizeOf(described) > 0) {
      problem = "the graph has parts that are not supported (branches, or tensors of 8-bit activations)";
      return Judgement::unsupported;
    }
    written.assign(tensors->size(), false);
    for (flatbuffers::uoffset_t i = 0; i < operators->size(); i++) {
      const Op* op = operators->Get(i);
      if (op == nullptr) {
        problem = "an operator is empty";
        return Judgement::damaged;
      }
      if (op->externalPath() != nullptr) {
        problem = nameOf(op) + " keeps its weights in another file";
        return Judgement::unsupported;
      }
      problem.clear();
      if (!operation(op)) {
        if (!problem.empty()) return Judgement::damaged;
        problem = nameOf(op) + " is no operator of an encoder graph";
        return Judgement::unsupported;
      }
      if (!indices(op)) return Judgement::damaged;
    }
    return Judgement::sound;
  }
};

/** Follows what a sound graph looks up in constant tables back to the inputs. */
struct Tracer {
  std::vector<const Op*> producers;

  explicit Tracer(const Net* net) : producers(net->tensorName()->size()) {
    for (const Op* op : *net->oplists()) {
      for (const int32_t index : *op->outputIndexes()) producers[index] = op;
    }
  }

  const Op* source(const Op* op, flatbuffers::uoffset_t input) const {
    const auto* inputs = op->inputIndexes();
    return inputs != nullptr && input < inputs->size() ? producers[inputs->Get(input)] : nullptr;
  }

  /** A constant's only number. */
  static bool number(const Op* op, int64_t& value) {
    if (op == nullptr || op->type() != OpType_Const) return false;
    const auto* numbers = op->main_as_Blob()->int32s();
    if (op->main_as_Blob()->dataType() != DataType_DT_INT32 || numbers == nullptr || numbers->size() != 1) return false;
    value = numbers->Get(0);
    return true;
  }

  /** The other operand of a sum or remainder with a constant. */
  const Op* operand(const Op* op, BinaryOpOperation operation, int64_t& constant) const {
    if (op == nullptr || op->type() != OpType_BinaryOp || op->main_as_BinaryOp()->opType() != operation) return nullptr;
    if (number(source(op, 1), constant)) return source(op, 0);
    return operation == BinaryOpOperation_ADD && number(source(op, 0), constant) ? source(op, 1) : nullptr;
  }

  void lookup(const Op* gather, Limits& limits) const {
    const Op* table = source(gather, 0);
    int64_t axis = 0;
    const bool first = source(gather, 2) == nullptr || (number(source(gather, 2), axis) && axis == 0);
    if (table == nullptr || table->type() != OpType_Const || !first) return;
    const auto* dimensions = table->main_as_Blob()->dims();
    if (dimensions == nullptr || dimensions->size() == 0) return;
    int64_t rows = dimensions->Get(0);

    const Op* index = source(gather, 1);
    int64_t constant = 0;
    // (id + rows) modulo rows.
    if (const Op* inner = operand(index, BinaryOpOperation_MOD, constant); inner != nullptr && constant == rows) {
      index = inner;
      if (const Op* innermost = operand(index, BinaryOpOperation_ADD, constant); innermost != nullptr && constant == rows) {
        index = innermost;
      }
    }
    while (index != nullptr) {
      if (const Op* inner = operand(index, BinaryOpOperation_ADD, constant)) {
        if (constant < 0) return;
        rows -= constant;
        index = inner;
      } else if (index->type() == OpType_Squeeze || index->type() == OpType_Unsqueeze || index->type() == OpType_Cast) {
        index = source(index, 0);
      } else {
        break;
      }
    }
    if (index == nullptr || rows < 1) return;
    const auto most = static_cast<int32_t>(rows);
    if (index->type() == OpType_Input) {
      const auto [place, isNew] = limits.below.emplace(index->name()->str(), most);
      if (!isNew && most < place->second) place->second = most;
    }
    int64_t start = 0;
    int64_t step = 0;
    if (index->type() == OpType_Range && number(source(index, 0), start) && number(source(index, 2), step) && start == 0 &&
        step == 1 && (limits.longest == 0 || most < limits.longest)) {
      limits.longest = most;
    }
  }
};

}  // namespace

Judgement checkFile(const uint8_t* bytes, size_t size, std::string& problem, Limits& limits) {
  // The smallest table and its offset; MNN counts bytes with int.
  if (size < 16) {
    problem = "it is too short to be a model";
    return Judgement::damaged;
  }
  // FlatBufferBuilder fills up to the largest alignment in the file, which is at least that of an offset.
  if (size % 4 != 0) {
    problem = "it is cut off";
    return Judgement::damaged;
  }
  if (size > INT_MAX) {
    problem = "it has more than 2 GiB";
    return Judgement::unsupported;
  }
  flatbuffers::Verifier verifier(bytes, size);
  if (!MNN::VerifyNetBuffer(verifier)) {
    problem = "its tables do not lie within the file: it is no .mnn file, damaged or cut off";
    return Judgement::damaged;
  }
  const MNN::Net* net = MNN::GetNet(bytes);
  const Judgement judgement = Checker{net, problem, {}}.run();
  if (judgement == Judgement::sound) {
    const Tracer tracer(net);
    for (const MNN::Op* op : *net->oplists()) {
      if (op->type() == MNN::OpType_GatherV2) tracer.lookup(op, limits);
    }
  }
  return judgement;
}

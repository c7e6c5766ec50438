// The shim without Node.js, for valgrind or AddressSanitizer: loads each file, runs it in several shapes, reads the
// output, closes it; damaged files are to be refused. See run.sh.
#include <cstdio>
#include <fstream>
#include <iterator>
#include <vector>

#include "../shim/shim.h"

// mnn-sys sends MNN's messages to Rust.
extern "C" void mnn_ffi_emit(const char*, size_t, int, const char*) {}

static int runFile(const std::vector<uint8_t>& bytes, int32_t threads) {
  char message[MNN_SHIM_MESSAGE_BYTES];
  // Precision high.
  const MnnShimOptions options = {threads, 1, 0};
  MnnShimSession* session = nullptr;
  const int32_t status = mnn_shim_open(bytes.data(), bytes.size(), &options, &session, message);
  if (status != MNN_SHIM_OK) {
    std::printf("refused (%d): %s\n", status, message);
    return 0;
  }
  const int32_t shapes[][2] = {{1, 7}, {3, 16}, {2, 33}, {2, 33}, {1, 7}};
  for (const auto& [rows, columns] : shapes) {
    std::vector<MnnShimInput> inputs;
    std::vector<std::vector<int32_t>> numbers;
    for (size_t index = 0; index < mnn_shim_input_count(session); index++) {
      MnnShimTensor tensor;
      mnn_shim_input(session, index, &tensor);
      numbers.emplace_back(rows * columns, tensor.below > 10 ? 9 : 1);
      inputs.push_back({2, {rows, columns}, numbers.back().data(), numbers.back().size()});
    }
    for (size_t index = 0; index < inputs.size(); index++) inputs[index].data = numbers[index].data();
    int32_t code = mnn_shim_run(session, inputs.data(), inputs.size(), message);
    MnnShimTensor output;
    mnn_shim_output(session, 0, &output);
    size_t length = 1;
    for (int32_t axis = 0; axis < output.rank; axis++) length *= output.shape[axis];
    std::vector<float> data(length);
    if (code == MNN_SHIM_OK) code = mnn_shim_read(session, 0, data.data(), length, message);
    if (code != MNN_SHIM_OK) {
      std::printf("failed (%d): %s\n", code, message);
      mnn_shim_close(session);
      return 1;
    }
    // Branching on the number tells valgrind whether it was ever written.
    std::printf("%d x %d: %s\n", rows, columns, data[0] == data[0] ? "a number" : "not a number");
  }
  mnn_shim_close(session);
  return 0;
}

int main(int count, char** paths) {
  int failures = 0;
  for (int index = 1; index < count; index++) {
    std::ifstream file(paths[index], std::ios::binary);
    const std::vector<uint8_t> bytes((std::istreambuf_iterator<char>(file)), std::istreambuf_iterator<char>());
    std::printf("%s\n", paths[index]);
    failures += runFile(bytes, 1);
    failures += runFile(bytes, 2);
    failures += runFile(std::vector<uint8_t>(bytes.begin(), bytes.begin() + bytes.size() / 8 * 4), 1);
  }
  return failures;
}

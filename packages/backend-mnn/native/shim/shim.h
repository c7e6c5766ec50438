// What the addon needs of MNN, as C. Nothing throws: MNN is built without exceptions, but memory it asks the C++ library
// for may run out, and an exception must not reach Rust.
#pragma once

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

enum MnnShimStatus {
  MNN_SHIM_OK = 0,
  /** The bytes are no sound model file. */
  MNN_SHIM_DAMAGED = 1,
  /** A sound file, of a kind that this runtime does not run. */
  MNN_SHIM_UNSUPPORTED = 2,
  MNN_SHIM_OUT_OF_MEMORY = 3,
  /** The caller's fault: shapes or inputs that the model does not have. */
  MNN_SHIM_INVALID_INPUT = 4,
  /** MNN failed. */
  MNN_SHIM_FAILED = 5,
  /** More threads than this process's pool has. */
  MNN_SHIM_THREADS = 6,
};

enum { MNN_SHIM_MOST_DIMENSIONS = 8, MNN_SHIM_MESSAGE_BYTES = 512 };

typedef struct MnnShimSession MnnShimSession;

typedef struct {
  int32_t threads;
  /** MNN::BackendConfig's own numbers. */
  int32_t precision;
  int32_t memory;
} MnnShimOptions;

typedef struct {
  /** Valid as long as the session. */
  const char* name;
  /** halide_type_code_t: 0 int, 1 unsigned int, 2 float. */
  int32_t code;
  int32_t bits;
  int32_t rank;
  int32_t shape[MNN_SHIM_MOST_DIMENSIONS];
  /** Inputs: numbers must be below, for the table that they are looked up in; 0 where none is recognised. */
  int32_t below;
} MnnShimTensor;

typedef struct {
  int32_t rank;
  int32_t shape[MNN_SHIM_MOST_DIMENSIONS];
  const int32_t* data;
  size_t length;
} MnnShimInput;

const char* mnn_shim_version(void);

/**
 * Checks a file and loads it. The bytes are copied.
 * @param message gets one line where the status is not OK; MNN_SHIM_MESSAGE_BYTES of room.
 */
int32_t mnn_shim_open(const uint8_t* bytes, size_t size, const MnnShimOptions* options, MnnShimSession** session,
                      char* message);
void mnn_shim_close(MnnShimSession* session);

/**
 * Threads of this process's pool; 0 while there is none. The first session with more than one thread makes it, of as
 * many as it asked for, and MNN neither enlarges nor removes it (source/backend/cpu/ThreadPool.cpp).
 */
int32_t mnn_shim_pool(void);

/** Threads that MNN gave the session; never more than were asked for. */
int32_t mnn_shim_threads(const MnnShimSession* session);

/** The largest number of columns that a table of positions has rows for; 0 where none is recognised. */
int32_t mnn_shim_longest(const MnnShimSession* session);

size_t mnn_shim_input_count(const MnnShimSession* session);
size_t mnn_shim_output_count(const MnnShimSession* session);
/** Shapes are those of the last resize; before the first, an input's are the file's own, and outputs have none. */
void mnn_shim_input(const MnnShimSession* session, size_t index, MnnShimTensor* tensor);
void mnn_shim_output(const MnnShimSession* session, size_t index, MnnShimTensor* tensor);

/** One shape for each input, in their order; `data` is not read. */
int32_t mnn_shim_resize(MnnShimSession* session, const MnnShimInput* inputs, size_t count, char* message);

/** Fills every input, resizing where a shape is another than before, and runs. */
int32_t mnn_shim_run(MnnShimSession* session, const MnnShimInput* inputs, size_t count, char* message);

/** Copies a float output of the last run. @param length numbers there is room for; exactly those of its shape. */
int32_t mnn_shim_read(MnnShimSession* session, size_t index, float* data, size_t length, char* message);

#ifdef __cplusplus
}
#endif

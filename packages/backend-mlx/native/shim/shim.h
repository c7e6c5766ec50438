// What the addon needs of MLX, as C: no exception passes. Everything about a model is done by the thread that made it,
// since MLX's streams belong to the thread that they were made on.
#pragma once

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

enum MlxShimStatus {
  MLX_SHIM_OK = 0,
  /** A weight holds numbers that are none, or has other bytes than its shape. */
  MLX_SHIM_DAMAGED = 1,
  MLX_SHIM_OUT_OF_MEMORY = 3,
  /** The caller's fault: a program, weights or a batch that do not fit one another. */
  MLX_SHIM_INVALID_INPUT = 4,
  /** MLX failed. */
  MLX_SHIM_FAILED = 5,
};

enum { MLX_SHIM_MOST_DIMENSIONS = 8, MLX_SHIM_MESSAGE_BYTES = 512 };

/** How a tensor's bytes are to be read. */
enum MlxShimType { MLX_SHIM_F64 = 0, MLX_SHIM_F32 = 1, MLX_SHIM_F16 = 2, MLX_SHIM_BF16 = 3, MLX_SHIM_U32 = 4, MLX_SHIM_I32 = 5 };

/** What a weight becomes in memory. `STORED`: as it is; int32 is always so. */
enum MlxShimTarget { MLX_SHIM_FLOAT32 = 0, MLX_SHIM_FLOAT16 = 1, MLX_SHIM_BFLOAT16 = 2, MLX_SHIM_STORED = 3 };

typedef struct MlxShimModel MlxShimModel;

typedef struct {
  int32_t type;
  int32_t rank;
  int32_t shape[MLX_SHIM_MOST_DIMENSIONS];
  const uint8_t* data;
  size_t bytes;
} MlxShimTensor;

typedef struct {
  /** One tensor; or three of a matrix that is quantised: packed numbers, scales, biases. */
  size_t tensors;
  MlxShimTensor tensor[3];
  int32_t target;
  /** To add to every number, in float32. */
  float plus;
  /** Three tensors: how they are quantised. One: how to quantise it; 0 leaves it. */
  int32_t bits;
  int32_t group;
  /** Three tensors: unfold them now. */
  int32_t unfold;
} MlxShimWeight;

typedef struct {
  int32_t rows;
  int32_t columns;
  int32_t picked;
  const int32_t* ids;
  const int32_t* segments;
  const int32_t* lengths;
  const int32_t* extents;
  const int32_t* places;
} MlxShimBatch;

typedef struct {
  /** Places of the weights that are trained, and whether AdamW's decay holds for each. */
  size_t count;
  const int32_t* weights;
  const uint8_t* decays;
  double beta1;
  double beta2;
  double epsilon;
  double decay;
  /** Steps of the program that begin a part whose activations are computed again. */
  size_t parts;
  const uint32_t* part;
} MlxShimTraining;

/** As training.hpp's Target. */
typedef struct {
  int32_t loss;
  int32_t positive;
  int32_t negative;
  int32_t groups;
  int32_t most;
  const int32_t* members;
  const float* labels;
  size_t label_count;
  double share;
  /** Whether there is dropout, and its seed. */
  int32_t drops;
  uint64_t seed;
} MlxShimWanted;

const char* mlx_shim_version(void);

/** Whether MLX computes on a GPU here. */
int32_t mlx_shim_on_gpu(void);

/** Names of the operations, in the order of their numbers; NULL behind the last. */
const char* mlx_shim_operation(size_t index);

/** @param message gets one line where the status is not OK; MLX_SHIM_MESSAGE_BYTES of room. So in all that follows. */
int32_t mlx_shim_open(MlxShimModel** model, char* message);

/** On the thread that opened it. */
void mlx_shim_close(MlxShimModel* model);

/** Adds a weight behind those there are. The bytes are copied. */
int32_t mlx_shim_weight(MlxShimModel* model, const MlxShimWeight* weight, char* message);

/** Behind all weights. */
int32_t mlx_shim_program(MlxShimModel* model, const double* words, size_t count, char* message);

/** Computes the program's output. */
int32_t mlx_shim_run(MlxShimModel* model, const MlxShimBatch* batch, char* message);

/** Shape of the last run's output. @returns its rank. */
int32_t mlx_shim_shape(const MlxShimModel* model, int32_t shape[MLX_SHIM_MOST_DIMENSIONS]);

/** Copies the last run's output, and lets it go. @param length numbers there is room for; exactly those of its shape. */
int32_t mlx_shim_read(MlxShimModel* model, float* data, size_t length, char* message);

/** Behind the program, once: some of the weights are trained from here on. */
int32_t mlx_shim_train(MlxShimModel* model, const MlxShimTraining* training, char* message);

/** Adds a batch's gradients to the step. */
int32_t mlx_shim_accumulate(MlxShimModel* model, const MlxShimBatch* batch, const MlxShimWanted* wanted, double* loss,
                            char* message);

/** One step of AdamW. A norm that is no finite number: nothing was changed. */
int32_t mlx_shim_apply(MlxShimModel* model, double rate, double clip, double* norm, char* message);

/** Makes what is kept of a trained weight the output that is read: 0 value, 1 mean, 2 square, 3 gradient. */
int32_t mlx_shim_kept(MlxShimModel* model, uint32_t place, int32_t kept, char* message);

int32_t mlx_shim_keep(MlxShimModel* model, uint32_t place, int32_t kept, const float* data, size_t count, char* message);

/** How many steps are done, for AdamW; gradients are let go. */
int32_t mlx_shim_set_steps(MlxShimModel* model, double steps, char* message);

#ifdef __cplusplus
}
#endif

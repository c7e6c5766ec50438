// What the addon needs of CTranslate2, as C. No exception leaves it.
#pragma once

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

enum Ct2ShimStatus {
  CT2_SHIM_OK = 0,
  /** The file is no sound model. */
  CT2_SHIM_DAMAGED = 1,
  /** This processor, or this build of the library, does not compute so. */
  CT2_SHIM_UNSUPPORTED = 2,
  CT2_SHIM_OUT_OF_MEMORY = 3,
  /** The caller's fault: a batch that the model does not take. */
  CT2_SHIM_INVALID_INPUT = 4,
  /** CTranslate2 failed. */
  CT2_SHIM_FAILED = 5,
};

enum { CT2_SHIM_MESSAGE_BYTES = 512 };

/** The weights. Several replicas share them. */
typedef struct Ct2ShimModel Ct2ShimModel;
/** What computes with them, on one thread. */
typedef struct Ct2ShimReplica Ct2ShimReplica;

typedef struct {
  /** UTF-8. */
  const char* path;
  /** Of all norms: what config.json beside the file says. */
  double epsilon;
  /** 0 float32, 1 int8 for the products with weights. */
  int32_t integers;
} Ct2ShimOptions;

typedef struct {
  int64_t rows;
  int64_t columns;
  /** (rows, columns). */
  const int32_t* ids;
  /** (rows), each from 1 to `columns`. */
  const int32_t* lengths;
  /** (rows, columns) for the second table, or null where the model has one alone. */
  const int32_t* features;
} Ct2ShimBatch;

const char* ct2_shim_version(void);

/** Whether this processor computes with 8-bit integers. */
int32_t ct2_shim_has_integers(void);

/** @param message gets one line where the status is not OK; CT2_SHIM_MESSAGE_BYTES of room. */
int32_t ct2_shim_open(const Ct2ShimOptions* options, Ct2ShimModel** model, char* message);
Ct2ShimModel* ct2_shim_share(const Ct2ShimModel* model);
void ct2_shim_close(Ct2ShimModel* model);

/** Sets the threads of the calling thread, which alone may run the replica. The model may be closed afterwards. */
int32_t ct2_shim_replicate(const Ct2ShimModel* model, int32_t threads, Ct2ShimReplica** replica, char* message);
void ct2_shim_release(Ct2ShimReplica* replica);

/**
 * Runs a batch.
 *
 * @param pooled 1 for the pooler's vector of each row, (rows, width); 0 for the first token's, (rows, width); 2 for all
 *   tokens', (rows, columns, width).
 * @param data valid until the next run.
 */
int32_t ct2_shim_run(Ct2ShimReplica* replica, const Ct2ShimBatch* batch, int32_t pooled, const float** data,
                     size_t* length, char* message);

#ifdef __cplusplus
}
#endif

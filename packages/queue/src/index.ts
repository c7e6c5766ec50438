export { describeAddress } from "./connection.js";
export { ObjectStoreError, type ObjectStoreProblem, QueueError, type QueueProblem } from "./errors.js";
export {
  type ObjectPieces,
  type ObjectStorage,
  openObjectStorage,
  type StoredFolder,
  type StoredInput,
} from "./object-storage.js";
export {
  attempts,
  type FailedShard,
  openShardQueue,
  type QueueCounts,
  type QueuedShard,
  type ShardQueue,
  type ShardReference,
} from "./shard-queue.js";
export {
  defaultLockSeconds,
  defaultMaxStalledCount,
  GiveUpError,
  type ShardEvent,
  type ShardWorker,
  type ShardWorkerOptions,
  startShardWorker,
} from "./shard-worker.js";
export { createWorkerMetrics, serveMetrics, type WorkerMetrics } from "./worker-metrics.js";

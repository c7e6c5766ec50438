export { ObjectStoreError, type ObjectStoreProblem, QueueError, type QueueProblem } from "./errors.js";

// A worker of a queue that has no shards. Says so, ends the worker when it is told to, and has nothing of its own that
// would keep the process: `node idle-worker.mjs ADDRESS`.
import { startShardWorker } from "@crossrank/queue";

const worker = await startShardWorker({
  url: process.argv[2],
  name: "idle",
  run: () => new Promise(() => {}),
});
process.once("message", async () => {
  await worker.close(0.1);
  process.disconnect();
});
process.send("idle");

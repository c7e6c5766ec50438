// A worker that takes a shard of each of its queues and never ends with it, until it is killed: what it was told of
// stalls counts for the others. Arguments: the server's address, then NAME=COUNT of stalls for each queue.
import { startShardWorker } from "@crossrank/queue";

const [url, ...queues] = process.argv.slice(2);
await Promise.all(
  queues.map((given) => {
    const [name, maxStalledCount] = given.split("=");
    return startShardWorker({
      url,
      name,
      lockSeconds: 1,
      maxStalledCount: Number(maxStalledCount),
      run: async () => {
        process.send(name);
        return new Promise(() => undefined);
      },
    });
  }),
);

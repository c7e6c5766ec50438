// The server of load.test.ts, in a process of its own so that its memory is not that of its clients. The argument is
// JSON: the tokens of the queue. It prints its address on a line, and ends when its standard input does.
import { onnx } from "@crossrank/backend-onnx";
import { createReranker } from "@crossrank/core";
import { openModel } from "@crossrank/hub";
import { modelFolder } from "@crossrank/model-nano";
import { createServer, listen } from "@crossrank/server";

const { queueTokens } = JSON.parse(process.argv[2] ?? "{}");
const server = createServer({
  models: [
    {
      name: "nano",
      open: async () =>
        createReranker({
          model: await openModel(modelFolder),
          backend: onnx({ workers: 1, threads: 1, isolation: "process" }),
        }),
    },
  ],
  limits: { queueTokens, requestTokens: queueTokens },
});
await server.load();
const listening = await listen(server, { port: 0 });
console.log(listening.url);
process.stdin.resume();
process.stdin.on("end", async () => {
  await listening.close(2000);
  process.exit();
});

// Entry of the worker: one ONNX Runtime session, fed by messages.
import { answerCalls, buffersOf, type CallMessage } from "@crossrank/backend-kit/runtime";
import type { Calls } from "./protocol.js";
import { loadLibrary, Runtime } from "./runtime.js";

/** Of a worker's global scope what is used here: the types of a page and of a worker do not go together. */
interface WorkerScope {
  readonly name: string;
  onmessage: ((event: MessageEvent<CallMessage<Calls> | { id: number; kind: "cancel" }>) => void) | null;
  postMessage(message: unknown, transfer: readonly ArrayBuffer[]): void;
  close(): void;
}
const scope = globalThis as unknown as WorkerScope;

// Where a bundler put this file and onnxruntime-web into one, the threads of WebAssembly start with this file too.
if (scope.name.startsWith("em-pthread")) {
  await loadLibrary("wasm");
} else {
  answerCalls<Calls>(
    {
      onMessage: (react) => {
        scope.onmessage = ({ data }) => react(data as CallMessage<Calls>);
      },
      answer: (message, isLast) => {
        scope.postMessage(message, "result" in message ? buffersOf(message.result) : []);
        if (isLast) scope.close();
      },
      during: (work) => work(),
    },
    new Runtime(),
    { blocking: true },
  );
}

// Entry of the child process or worker thread: one ONNX Runtime session, fed by messages.
import { serveCalls } from "@crossrank/backend-kit/runtime";
import type { Calls } from "./protocol.js";
import { Runtime } from "./runtime.js";

serveCalls<Calls>(new Runtime(), { blocking: true });

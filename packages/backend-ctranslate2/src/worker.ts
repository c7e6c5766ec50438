// Entry of the child process: one runtime, fed by messages.
import { serveCalls } from "@crossrank/backend-kit/runtime";
import type { Calls } from "./protocol.js";
import { Runtime } from "./runtime.js";

serveCalls<Calls>(new Runtime());

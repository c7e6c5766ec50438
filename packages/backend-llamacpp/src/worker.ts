// Entry of the child process: one runtime, fed by messages. It ends with its parent.
import { writeSync } from "node:fs";
import { type AnswerMessage, type CallMessage, RuntimeFailure } from "./protocol.js";
import { Runtime } from "./runtime.js";

const standardError = 2;

/** At once and not in a buffer: the parent reads the last lines of a process that was aborted. */
function write(line: string): void {
  try {
    writeSync(standardError, `${line}\n`);
  } catch {
    // A full pipe, or a parent that is gone, is no reason to fail.
  }
}

const runtime = new Runtime(write);
const cancellations = new Map<number, AbortController>();

async function serve(message: CallMessage): Promise<void> {
  const { id } = message;
  if (message.kind === "cancel") {
    cancellations.get(id)?.abort(new RuntimeFailure("run", "cancelled"));
    return;
  }
  try {
    switch (message.kind) {
      case "load":
        answer({ id, result: await runtime.load(message.argument) });
        break;
      case "run": {
        const cancellation = new AbortController();
        cancellations.set(id, cancellation);
        try {
          answer({ id, result: await runtime.run(message.argument, cancellation.signal) });
        } finally {
          cancellations.delete(id);
        }
        break;
      }
      case "diagnose":
        answer({ id, result: await runtime.diagnose() });
        break;
      case "release":
        await runtime.release();
        answer({ id, result: undefined }, () => process.exit(0));
        break;
    }
  } catch (error) {
    const stage = error instanceof RuntimeFailure ? error.stage : message.kind === "load" ? "model" : "run";
    answer({ id, failure: { stage, message: error instanceof Error ? error.message : String(error) } });
  }
}

function answer(message: AnswerMessage, sent: () => void = () => undefined): void {
  process.send?.(message, sent);
}

process.on("message", (message: CallMessage) => void serve(message));
process.on("disconnect", () => process.exit(0));

// Entry of the child process: one runtime, fed by messages. It ends with its parent.
import { type AnswerMessage, type CallMessage, RuntimeFailure } from "./protocol.js";
import { Runtime } from "./runtime.js";

const runtime = new Runtime();

async function serve(message: CallMessage): Promise<void> {
  const { id } = message;
  try {
    switch (message.kind) {
      case "load":
        answer({ id, result: await runtime.load(message.argument) });
        break;
      case "run":
        answer({ id, result: await runtime.run(message.argument) });
        break;
      case "rehearse":
        answer({ id, result: await runtime.rehearse(message.argument) });
        break;
      case "diagnose":
        answer({ id, result: runtime.diagnose() });
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

// Entry of the process in which node-llama-cpp tries its binary before it loads it: the binary, and nothing else.
// binary-tests.ts starts it. It speaks the messages of node-llama-cpp 3.22.1's `src/bindings/utils/testBindingBinary.ts`.
import { createRequire } from "node:module";
import { dirname, join } from "node:path";

interface Addon {
  setLoggerLogLevel(level: number): void;
  loadBackends(folder?: string): void;
  getGpuType(): string | false | undefined;
  init(): Promise<void>;
  getGpuVramInfo(): unknown;
  getGpuDeviceInfo(): unknown;
  getSystemMemoryInfo(): Promise<unknown>;
  ensureGpuDeviceIsSupported(): void;
}

interface Message {
  readonly type: "start" | "test" | "exit";
  readonly bindingBinaryPath: string;
  readonly extBackendsPath?: string;
  readonly gpu: string | false;
}

/** Errors alone, as the addon numbers its levels. */
const errorLevel = 2;

async function tryOut(addon: Addon, { bindingBinaryPath, extBackendsPath, gpu }: Message): Promise<void> {
  const beside = dirname(bindingBinaryPath);
  const isThere = (): boolean => {
    const found = addon.getGpuType() ?? null;
    return found !== null && (found !== false || gpu === false);
  };
  for (const folder of [undefined, beside, join(extBackendsPath ?? beside, "fallback")]) {
    if (folder === undefined) addon.loadBackends();
    else addon.loadBackends(folder);
    if (isThere()) break;
  }
  await addon.init();
  addon.getGpuVramInfo();
  addon.getGpuDeviceInfo();
  try {
    await addon.getSystemMemoryInfo();
  } catch {
    // That it fails is no matter there; that it ends the process would be.
  }
  if (addon.getGpuType() !== gpu)
    throw new Error(`${gpu} was asked for, and it runs on ${addon.getGpuType()}`);
  addon.ensureGpuDeviceIsSupported();
}

let addon: Addon | undefined;
process.on("message", (message: Message) => {
  void (async () => {
    try {
      if (message.type === "exit") process.exit(0);
      if (message.type === "start") {
        addon = createRequire(import.meta.url)(message.bindingBinaryPath) as Addon;
        addon.setLoggerLogLevel(errorLevel);
        process.send?.({ type: "loaded" });
      } else if (addon !== undefined) {
        await tryOut(addon, message);
        process.send?.({ type: "done" });
      }
    } catch (error) {
      console.error(error);
      process.exit(1);
    }
  })();
});
process.once("disconnect", () => process.exit(1));
process.send?.({ type: "ready" });

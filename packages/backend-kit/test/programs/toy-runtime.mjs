// A runtime without a library, which fails in every way that one with a library can. Run by host.test.ts.
import { existsSync, rmSync } from "node:fs";
import { serveCalls } from "@crossrank/backend-kit/runtime";

function block() {
  for (;;) Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 1000);
}

let loaded;

serveCalls(
  {
    /** `crashFile`: as long as it is there, loading ends the process. */
    load: ({ name, crashFile, hangs }) => {
      if (crashFile !== undefined && existsSync(crashFile)) process.abort();
      if (hangs) block();
      loaded = name;
      return { name, pid: process.pid };
    },
    run: async ({ how, numbers }) => {
      if (how === "segv") process.kill(process.pid, "SIGSEGV");
      if (how === "abort") process.abort();
      if (how === "exit") process.exit(3);
      if (how === "last words") {
        process.stderr.write("the last words\n");
        process.kill(process.pid, "SIGSEGV");
      }
      if (how === "stop") process.kill(process.pid, "SIGSTOP");
      if (how === "block") block();
      if (how === "throw") throw new Error("this batch is not to my liking");
      if (how === "wait") await new Promise((resolve) => setTimeout(resolve, 300));
      if (how === "never") await new Promise(() => undefined);
      if (typeof how === "string" && how.startsWith("remove ")) rmSync(how.slice(7));
      return { name: loaded, pid: process.pid, numbers };
    },
    release: () => undefined,
  },
  { blocking: process.env.TOY_BLOCKING === "1" },
);

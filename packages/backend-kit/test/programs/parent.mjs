// A program with a toy runtime in a child process that is in the midst of native work. Prints the child's pid, then ends
// as its argument says, or waits to be killed. Run by host.test.ts.
import { Host } from "@crossrank/backend-kit";

const ending = process.argv[2];
const host = new Host({
  isolation: "process",
  entry: new URL("./toy-runtime.mjs", import.meta.url),
  runtime: "toy",
  environment: { TOY_BLOCKING: "1" },
});
const { pid } = await host.call("load", { name: "one" });
console.log(pid);
if (ending === "idle") {
  await host.call("run", {});
} else if (ending === "aborted") {
  await host.call("run", { how: "block" }, { signal: AbortSignal.timeout(100) }).catch(() => undefined);
} else {
  host.call("run", { how: "block" }).catch(() => undefined);
  setTimeout(() => {
    if (ending === "exit") process.exit(5);
    if (ending === "throw") throw new Error("a mistake of the program");
  }, 200);
}

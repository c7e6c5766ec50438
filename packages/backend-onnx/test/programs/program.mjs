// A program that uses the backend and then ends in the way that its first argument says. Run by lifecycle.test.ts.
import { readdir } from "node:fs/promises";
import { join } from "node:path";
import { onnx } from "@crossrank/backend-onnx";

const [, , ending, root, isolation] = process.argv;
const files = {
  id: root,
  revision: undefined,
  list: async () =>
    (await readdir(join(root, "onnx"))).map((name) => ({ path: `onnx/${name}`, size: 1, sha256: "00" })),
  readText: () => Promise.reject(new Error("not needed")),
  localPath: async (path) => join(root, path),
};
const request = { files, profile: { head: { kind: "logit" } }, output: { kinds: ["class-logits"] } };
const backend = onnx({ workers: 2, threads: 1, isolation });

function makeBatch(rows, columns) {
  return {
    rows,
    columns,
    inputIds: new Int32Array(rows * columns).fill(9),
    attentionMask: new Int32Array(rows * columns).fill(1),
    segmentIds: new Int32Array(rows * columns),
    lengths: new Int32Array(rows).fill(columns),
  };
}

if (ending === "exit-during-load") {
  backend.load(request);
  setTimeout(() => process.exit(0), 100);
} else {
  const session = await backend.load(request);
  await session.run(makeBatch(1, 8));
  console.log("scored");
  if (ending !== "idle") {
    // Long enough to be under way still when the program ends.
    const runs = Array.from({ length: 6 }, () => session.run(makeBatch(150, 128)));
    if (ending === "finish") {
      const outputs = await Promise.all(runs);
      console.log(outputs.length);
    }
    setTimeout(() => {
      if (ending === "exit") {
        process.exit(7);
      }
      if (ending === "throw") {
        throw new Error("a mistake of the program");
      }
    }, 50);
  }
}

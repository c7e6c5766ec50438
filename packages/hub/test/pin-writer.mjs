// A process of its own for lock-file-processes.test.ts: adds pins and ends, or dies with the exclusion held.
const [, , module, lockFile, first, count, mode] = process.argv;
const { LockFile } = await import(module);
const lock = new LockFile(lockFile);
for (let index = Number(first); index < Number(first) + Number(count); index += 1) {
  await lock.add("acme/reranker", {
    requested: "main",
    revision: "a".repeat(40),
    path: `f${index}.json`,
    sha256: index.toString(16).padStart(64, "0"),
  });
  if (mode === "endless") process.stdout.write(".");
}

/**
 * Ending a worker thread while it is inside a native library can abort the process: onnxruntime-node throws a C++
 * exception that nobody catches ("terminate called after throwing an instance of 'Napi::Error'", 1.30.0). Node ends
 * worker threads when the program calls `process.exit` or throws. So a worker marks its native sections in shared
 * memory, and before the process ends the main thread waits for the one under way. That costs no time: Node waits for
 * the thread in any case, and for ever where the library never returns, which is why the wait has an end.
 */
const busyCell = 0;
const endingCell = 1;
const longestWaitMilliseconds = 30_000;

const sections = new Set<Int32Array>();

/** What a worker is started with. An object: bundlers copy the fields of `workerData`, and an array comes out as none. */
export interface ThreadData {
  readonly cells: Int32Array;
}

/** Main thread: a worker's cells, which to hand over to it. */
export function openNativeSection(): Int32Array {
  const cells = new Int32Array(new SharedArrayBuffer(8));
  if (sections.size === 0) {
    process.on("exit", waitForAll);
  }
  sections.add(cells);
  return cells;
}

/** Main thread: the worker has ended. */
export function closeNativeSection(cells: Int32Array): void {
  sections.delete(cells);
  if (sections.size === 0) {
    process.off("exit", waitForAll);
  }
}

/** Worker: runs native work; never starts it once the process is ending. */
export async function inNativeSection<Result>(
  cells: Int32Array,
  work: () => Promise<Result>,
): Promise<Result> {
  Atomics.store(cells, busyCell, 1);
  try {
    if (Atomics.load(cells, endingCell) === 0) {
      return await work();
    }
  } finally {
    Atomics.store(cells, busyCell, 0);
    Atomics.notify(cells, busyCell);
  }
  return new Promise<never>(() => undefined);
}

function waitForAll(): void {
  const deadline = Date.now() + longestWaitMilliseconds;
  for (const cells of sections) {
    Atomics.store(cells, endingCell, 1);
  }
  for (const cells of sections) {
    while (Atomics.load(cells, busyCell) === 1 && Date.now() < deadline) {
      Atomics.wait(cells, busyCell, 1, deadline - Date.now());
    }
    // Nothing else ends a process with a thread that does not return.
    if (Atomics.load(cells, busyCell) === 1) process.kill(process.pid, "SIGKILL");
  }
}

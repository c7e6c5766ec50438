// What CROSSRANK_TEST_CORES says instead of the machine: a runtime that starts a worker for each core makes a test load
// its model as often. `npm test` runs as on one core, and CI's second run as on the machine's own.
import { syncBuiltinESMExports } from "node:module";
import os from "node:os";

const cores = Number(process.env.CROSSRANK_TEST_CORES);
if (cores > 0) {
  os.availableParallelism = () => cores;
  syncBuiltinESMExports();
}

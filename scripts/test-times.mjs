// Processor time of each test file, the dearest first: where the tests spend their time, on a machine that others use as
// well. Arguments go to vitest: `node scripts/test-times.mjs packages/core`; without any it runs all that CI runs on this
// Node. Linux only.
import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import path from "node:path";
import { fileURLToPath } from "node:url";
import { withoutCertificates } from "./without-certificates.mjs";

const root = fileURLToPath(new URL("..", import.meta.url));
const folder = mkdtempSync(path.join(tmpdir(), "crossrank-times-"));
const file = path.join(folder, "times.jsonl");
const vitest = path.join(root, "node_modules", "vitest", "vitest.mjs");

// As `npm test` starts it.
const vitestProcess = spawn(process.execPath, [vitest, "run", "--reporter=dot", ...process.argv.slice(2)], {
  cwd: root,
  env: { CROSSRANK_TEST_CORES: "1", ...withoutCertificates(process.env), CROSSRANK_TEST_TIMES: file },
  stdio: "inherit",
});
// Vitest's own: it transforms modules for all files. What has ended says it no more, so it is asked while it runs.
let transforms = 0;
const asking = setInterval(() => {
  try {
    const stat = readFileSync(`/proc/${vitestProcess.pid}/stat`, "utf8");
    const [user, system] = stat.split(") ")[1].split(" ").slice(11, 13);
    transforms = (Number(user) + Number(system)) / 100;
  } catch {
    // It has just ended.
  }
}, 200);
const [status] = await once(vitestProcess, "exit");
clearInterval(asking);
const rows = readFileSync(file, "utf8")
  .trim()
  .split("\n")
  .map((line) => JSON.parse(line))
  .map((row) => ({ ...row, all: row.start + row.import + row.tests + row.children }))
  .sort((left, right) => right.all - left.all);
rmSync(folder, { recursive: true });

const columns = ["all", "start", "import", "tests", "children"];
const print = (row) =>
  console.log(`${columns.map((name) => row[name].toFixed(2).padStart(9)).join("")}  ${row.file}`);
console.log(`\n${columns.map((name) => name.padStart(9)).join("")}  file`);
for (const row of rows) print(row);
const sum = (name) => rows.reduce((total, row) => total + row[name], 0);
print({ ...Object.fromEntries(columns.map((name) => [name, sum(name)])), file: `${rows.length} files` });
console.log(`${transforms.toFixed(2).padStart(9)}  vitest itself`);
process.exit(status ?? 1);

// Where the processor time of an encoder on llama.cpp goes while crossrank scores, by library and by function: samples of
// perf (Debian: linux-perf) over this process and the one that holds llama.cpp, without their start.
//
//   node lab/gguf/where_time_goes.mjs MODEL DTYPE      # a folder with gguf/model-DTYPE.gguf, as `crossrank convert` writes
import { execFileSync, spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, readdirSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { load } from "../../bench/contestants/crossrank.mjs";
import { makeDocuments } from "../../bench/documents.mjs";

const [folder = "", dtype = "Q8_0"] = process.argv.slice(2);
const nano = fileURLToPath(new URL("../../packages/model-nano/model", import.meta.url));
const { query, documents } = await makeDocuments(nano, 16);
const settings = { contexts: 1, threads: 1 };
const loaded = await load({ model: { folder }, options: { backend: "llamacpp", dtype, settings } });
await loaded.score(query, documents);

const children = readdirSync("/proc").filter((id) => {
  try {
    return new RegExp(`^PPid:\\s*${process.pid}$`, "m").test(readFileSync(`/proc/${id}/status`, "utf8"));
  } catch {
    return false;
  }
});
const output = mkdtempSync(join(tmpdir(), "crossrank-perf-"));
const data = join(output, "perf.data");
const perf = spawn("perf", [
  "record",
  "-q",
  "-F",
  "499",
  "-o",
  data,
  "-p",
  [process.pid, ...children].join(","),
]);
await new Promise((resolve) => setTimeout(resolve, 2000));
for (let round = 0; round < 3; round += 1) await loaded.score(query, documents);
perf.kill("SIGINT");
await once(perf, "exit");
for (const sort of ["dso", "symbol"]) {
  const report = execFileSync("perf", ["report", "-i", data, "--sort", sort, "--stdio"], {
    encoding: "utf8",
    stdio: ["ignore", "pipe", "ignore"],
  });
  const rows = report.split("\n").filter((line) => /^\s+\d/.test(line));
  console.log(
    `${sort}:\n${rows
      .slice(0, 14)
      .map((line) => line.replace(/\s*-\s+-\s*$/, "").slice(0, 110))
      .join("\n")}\n`,
  );
}
await loaded.dispose();
rmSync(output, { recursive: true });

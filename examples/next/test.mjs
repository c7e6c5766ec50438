import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { cpSync, mkdtempSync, rmSync } from "node:fs";
import { createRequire } from "node:module";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";

const conformance = createRequire(import.meta.url).resolve("@crossrank/conformance/package.json");
const next = createRequire(import.meta.url).resolve("next/dist/bin/next");
/** The server that `output: "standalone"` makes, with what it traced and nothing else. */
let standalone;

async function freePort() {
  const server = createServer().listen(0, "127.0.0.1");
  await once(server, "listening");
  const { port } = server.address();
  server.close();
  return port;
}

/** Starts Next as somebody would, asks it, and ends it. */
async function check(name, args, environment) {
  const port = await freePort();
  const host = ["--port", String(port), "--hostname", "127.0.0.1"];
  const command = args === undefined ? [standalone] : [next, ...args, ...host];
  const server = spawn(process.execPath, command, {
    cwd: args === undefined ? dirname(standalone) : process.cwd(),
    env: {
      ...process.env,
      ...environment,
      NEXT_TELEMETRY_DISABLED: "1",
      PORT: String(port),
      HOSTNAME: "127.0.0.1",
      RERANK_FOLDER: join(dirname(conformance), "fixtures", "bert-logit"),
    },
    stdio: ["ignore", "pipe", "pipe"],
  });
  let output = "";
  for (const stream of [server.stdout, server.stderr]) stream.on("data", (text) => (output += text));
  const ended = once(server, "exit");
  try {
    const deadline = Date.now() + 60_000;
    while (!/Ready in/.test(output)) {
      assert.ok(Date.now() < deadline && server.exitCode === null, `${name} did not start: ${output}`);
      await new Promise((resolve) => setTimeout(resolve, 100));
    }
    for (const model of ["", "&folder"]) {
      const address = `http://127.0.0.1:${port}/api/rerank?query=What+is+the+capital+of+France%3F${model}`;
      // A connection of its own: a server may close an idle one just when it is used again.
      const response = await fetch(address, {
        headers: { connection: "close" },
        signal: AbortSignal.timeout(90_000),
      });
      assert.equal(response.status, 200, `${name}: ${await response.clone().text()} ${output}`);
      const results = await response.json();
      assert.equal(results.length, 3);
      if (model === "") assert.ok(results[0].index === 1 && results[0].score > 0.8, JSON.stringify(results));
    }
  } finally {
    server.kill("SIGTERM");
    const timer = setTimeout(() => server.kill("SIGKILL"), 10_000);
    await ended;
    clearTimeout(timer);
  }
}

// Out of the project, so that its node_modules are out of reach.
const place = mkdtempSync(join(tmpdir(), "standalone-"));
cpSync(join(".next-standalone", "standalone"), place, { recursive: true });
standalone = join(place, "server.js");

const kinds = [
  ["standalone", undefined, {}],
  ["webpack, bundled", ["start"], { NEXT_DIST: ".next-webpack", NEXT_BUNDLED: "1" }],
  ["dev, bundled", ["dev"], { NEXT_DIST: ".next-dev", NEXT_BUNDLED: "1" }],
];
try {
  for (const [name, args, environment] of kinds) await check(name, args, environment);
} finally {
  rmSync(place, { recursive: true });
}
console.log(
  `ok next: ${kinds.map(([name]) => name).join("; ")}: 3 documents ranked with 2 models, the second first`,
);

// A registry on loopback, for the rehearsal of a release: ours are published to it, all others come from the registry
// that npm is configured for.
import { spawn } from "node:child_process";
import { mkdirSync, writeFileSync } from "node:fs";
import { createServer } from "node:net";
import path from "node:path";
import { nodeBinary, plainEnvironment, succeed } from "./commands.mjs";

const verdaccio = "6.10.4";
/** Verdaccio wants Node 22 or later. */
const nodeVersion = "26.10.0";

/** @returns {Promise<{ url: string, close: () => Promise<void> }>} */
export async function startRegistry(folder) {
  const tools = path.join(folder, "tools");
  mkdirSync(tools, { recursive: true });
  // One of its dependencies is named by a tag that not every mirror of the registry has.
  const manifest = {
    private: true,
    dependencies: { verdaccio },
    overrides: { "node-fetch": "2.7.0" },
  };
  writeFileSync(path.join(tools, "package.json"), `${JSON.stringify(manifest, null, 2)}\n`);
  await succeed("npm", ["install", "--ignore-scripts", "--no-audit", "--no-fund"], { cwd: tools });
  const { stdout } = await succeed("npm", ["config", "get", "registry"], { cwd: tools });
  const port = await freePort();
  const config = path.join(folder, "verdaccio.yaml");
  // JSON is YAML.
  writeFileSync(
    config,
    JSON.stringify({
      storage: path.join(folder, "storage"),
      uplinks: { upstream: { url: stdout.trim(), timeout: "120s", maxage: "60m", max_fails: 100 } },
      packages: {
        "@crossrank/*": { access: "$all", publish: "$all", unpublish: "$all" },
        crossrank: { access: "$all", publish: "$all", unpublish: "$all" },
        "**": { access: "$all", proxy: "upstream" },
      },
      max_body_size: "300mb",
      web: { enable: false },
      log: { type: "stdout", format: "json", level: "warn" },
    }),
  );
  const binary = await nodeBinary(nodeVersion);
  const child = spawn(
    binary,
    [
      path.join(tools, "node_modules/verdaccio/bin/verdaccio"),
      "--config",
      config,
      "--listen",
      `127.0.0.1:${port}`,
    ],
    { cwd: folder, env: plainEnvironment(), stdio: ["ignore", "pipe", "pipe"] },
  );
  let log = "";
  for (const stream of [child.stdout, child.stderr]) {
    stream.setEncoding("utf8").on("data", (text) => {
      log = (log + text).slice(-20_000);
    });
  }
  const ended = new Promise((resolve) => child.once("exit", resolve));
  const url = `http://127.0.0.1:${port}/`;
  for (let attempt = 0; ; attempt += 1) {
    if (await answers(`${url}-/ping`)) break;
    if (attempt > 240 || child.exitCode !== null) {
      child.kill();
      throw new Error(`Verdaccio does not start:\n${log}`);
    }
    await new Promise((resolve) => setTimeout(resolve, 250));
  }
  return {
    url,
    async close() {
      child.kill();
      await ended;
    },
  };
}

async function answers(url) {
  try {
    return (await fetch(url)).ok;
  } catch {
    return false;
  }
}

function freePort() {
  return new Promise((resolve, reject) => {
    const server = createServer();
    server.once("error", reject);
    server.listen(0, "127.0.0.1", () => {
      const { port } = server.address();
      server.close(() => resolve(port));
    });
  });
}

import { type ChildProcess, spawn, spawnSync } from "node:child_process";
import { once } from "node:events";
import { type AddressInfo, createServer } from "node:net";
import { setTimeout as sleep } from "node:timers/promises";
import { describe } from "vitest";

const program = ["redis-server", "valkey-server"].find((name) => spawnSync(name, ["--version"]).status === 0);

if (program === undefined) {
  const detail =
    "There is no redis-server and no valkey-server: apt-get install redis-server. CI installs it.";
  if (process.env["CROSSRANK_REQUIRE_REDIS"] === "1") throw new Error(detail);
  console.warn(`NOT TESTED: workers of a queue. ${detail}`);
}

/** `describe` of what needs a server of the queue; with CROSSRANK_REQUIRE_REDIS=1 it has to be there. */
export const describeWithRedis: typeof describe.skip = program === undefined ? describe.skip : describe;

export interface RedisServer {
  readonly url: string;
  /** SIGKILL, and a start with what the append-only file has. */
  killAndRestart(): Promise<void>;
  /** SIGSTOP: its connections stay, and nothing on them is answered. */
  freeze(): void;
  /** SIGCONT. */
  thaw(): void;
  stop(): Promise<void>;
}

/** A server of one's own, whose data lie in a folder. */
export async function startRedis(folder: string): Promise<RedisServer> {
  const port = await freePort();
  const start = async (): Promise<ChildProcess> => {
    const child = spawn(
      program ?? "redis-server",
      [
        ...["--port", String(port), "--bind", "127.0.0.1", "--dir", folder, "--save", ""],
        ...["--appendonly", "yes", "--appendfsync", "everysec"],
      ],
      { stdio: ["ignore", "pipe", "inherit"] },
    );
    let said = "";
    const ready = (async () => {
      for await (const piece of child.stdout) {
        said += piece;
        if (said.includes("Ready to accept connections")) return;
      }
      throw new Error(`the server of the queue ended: ${said}`);
    })();
    await ready;
    child.stdout.resume();
    return child;
  };
  let child = await start();
  return {
    url: `redis://127.0.0.1:${port}`,
    async killAndRestart() {
      const gone = once(child, "exit");
      child.kill("SIGKILL");
      await gone;
      await sleep(200);
      child = await start();
    },
    freeze: () => void child.kill("SIGSTOP"),
    thaw: () => void child.kill("SIGCONT"),
    async stop() {
      if (child.exitCode !== null || child.signalCode !== null) return;
      const gone = once(child, "exit");
      child.kill("SIGKILL");
      await gone;
    },
  };
}

/** A port of this machine that nobody has for now. */
export async function freePort(): Promise<number> {
  const server = createServer().listen(0, "127.0.0.1");
  await once(server, "listening");
  const { port } = server.address() as AddressInfo;
  await new Promise((resolve) => server.close(resolve));
  return port;
}

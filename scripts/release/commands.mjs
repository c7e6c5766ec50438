// Programs that the scripts of the release start.
import { spawn } from "node:child_process";
import { readFileSync } from "node:fs";
import path from "node:path";
import { fileURLToPath } from "node:url";

/** The repository's folder. */
export const repository = fileURLToPath(new URL("../..", import.meta.url));

/** Of a program that is to keep to itself. */
export const quiet = {
  TURBO_TELEMETRY_DISABLED: "1",
  NEXT_TELEMETRY_DISABLED: "1",
  DO_NOT_TRACK: "1",
  npm_config_update_notifier: "false",
  npm_config_fund: "false",
  npm_config_audit: "false",
};

/**
 * Variables of this process without what npm, pnpm and vitest put there for the program that they run: a package
 * manager reads those as its own settings.
 */
export function plainEnvironment(added = {}) {
  const own = Object.entries(process.env).filter(
    ([name]) =>
      !/^(npm_(?!config_(registry|cache|userconfig|globalconfig|cafile)$)|pnpm_|vitest|node_env$|init_cwd$)/i.test(
        name,
      ),
  );
  return { ...Object.fromEntries(own), ...quiet, ...added };
}

/**
 * Runs a program to its end; the whole group of processes is ended when the time is over, so that a server that a test
 * left behind does not hold it.
 *
 * @param {string} command
 * @param {readonly string[]} args
 * @param {{ cwd?: string, env?: Record<string, string | undefined>, seconds?: number, shown?: boolean }} [options] `shown`:
 *   the output is this process's, and not returned.
 * @returns {Promise<{ code: number, output: string, stdout: string, seconds: number }>} code 124 when the time was over
 */
export function execute(command, args, { cwd, env = plainEnvironment(), seconds = 600, shown = false } = {}) {
  const started = performance.now();
  return new Promise((resolve, reject) => {
    const isWindows = process.platform === "win32";
    const child = spawn(command, args, {
      cwd,
      env,
      detached: !isWindows,
      stdio: shown ? ["ignore", "inherit", "inherit"] : ["ignore", "pipe", "pipe"],
      // npm is a .cmd file on Windows, which only a shell can start.
      shell: isWindows && !command.endsWith(".exe"),
    });
    let output = "";
    let stdout = "";
    let isOver = false;
    const end = () => {
      try {
        if (isWindows || child.pid === undefined) child.kill("SIGKILL");
        else process.kill(-child.pid, "SIGKILL");
      } catch {
        // It has ended.
      }
    };
    const timer = setTimeout(() => {
      isOver = true;
      end();
    }, seconds * 1000);
    child.stdout?.setEncoding("utf8").on("data", (text) => {
      output += text;
      stdout += text;
    });
    child.stderr?.setEncoding("utf8").on("data", (text) => {
      output += text;
    });
    child.on("error", (error) => {
      clearTimeout(timer);
      reject(error);
    });
    // `exit`, since a process that was left behind holds the pipes and keeps `close` away.
    child.on("exit", (code) => {
      clearTimeout(timer);
      end();
      setTimeout(
        () =>
          resolve({
            code: isOver ? 124 : (code ?? 1),
            output,
            stdout,
            seconds: Math.round((performance.now() - started) / 100) / 10,
          }),
        50,
      );
    });
  });
}

/** The same, and an error with the end of its output where it fails. */
export async function succeed(command, args, options = {}) {
  const result = await execute(command, args, options);
  if (result.code !== 0) {
    throw new Error(
      `${[command, ...args].join(" ")} ended with ${result.code}${options.cwd === undefined ? "" : ` in ${options.cwd}`}:\n${result.output.slice(-4000)}`,
    );
  }
  return result;
}

/** The pinned pnpm, fetched through npm. */
export function pnpm(root, args, options = {}) {
  const { packageManager } = JSON.parse(readFileSync(path.join(repository, "package.json"), "utf8"));
  return succeed("npm", ["exec", "--yes", `--package=${packageManager}`, "--", "pnpm", ...args], {
    cwd: root,
    ...options,
  });
}

/** The program of another Node, fetched through npm. */
export async function nodeBinary(version) {
  const { stdout } = await succeed("npm", [
    "exec",
    "--yes",
    `--package=node@${version}`,
    "--",
    "node",
    "-p",
    "process.execPath",
  ]);
  return stdout.trim().split("\n").at(-1) ?? "";
}

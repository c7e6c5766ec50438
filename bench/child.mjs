/** @import { Contestant, RunAnswer, Setup } from "./types.js" */
import { spawn } from "node:child_process";
import { createInterface } from "node:readline";

/** Begins the lines that a contestant's process says to the bench. */
export const answerMark = "@crossrank-bench ";

/** Milliseconds to let a process end by itself. */
const patience = 10_000;

/** A contestant's process, loaded. */
export class Child {
  /** @type {string} */
  version = "";
  #process;
  /** @type {AsyncIterator<string>} */
  #lines;
  #errors = "";
  #exited;

  /** @param {Contestant} contestant */
  constructor({ command, args }) {
    const child = spawn(command, args, {
      stdio: ["pipe", "pipe", "pipe"],
      // NumPy's products are a contestant's smallest part, and its threads spin.
      env: { ...process.env, HF_HUB_OFFLINE: "1", OPENBLAS_NUM_THREADS: "1" },
    });
    this.#process = child;
    this.#lines = createInterface({ input: child.stdout })[Symbol.asyncIterator]();
    child.stderr.on("data", (/** @type {Buffer} */ data) => {
      this.#errors = `${this.#errors}${data}`.slice(-4000);
    });
    // Writing to a process that is gone; its end is reported when an answer is awaited.
    child.stdin.on("error", () => {});
    this.#exited = new Promise((resolve) => {
      child.on("error", (error) => resolve(error.message));
      child.on("close", (code, signal) => {
        // The bench itself sends SIGKILL only to a contestant that is done.
        const cause = signal === "SIGKILL" ? " (by the system, as a rule for lack of memory)" : "";
        resolve(`ended with ${signal ?? `code ${code}`}${cause}`);
      });
    });
  }

  /**
   * @param {Contestant} contestant
   * @param {Setup} setup
   */
  static async load(contestant, setup) {
    const child = new Child(contestant);
    try {
      const { version } = /** @type {{ version: string }} */ (await child.#ask(setup));
      child.version = version;
      return child;
    } catch (error) {
      await child.end();
      throw error;
    }
  }

  /** @returns {Promise<RunAnswer>} */
  async run() {
    return /** @type {RunAnswer} */ (await this.#ask("run"));
  }

  async end() {
    this.#process.stdin.end();
    const timer = setTimeout(() => this.#process.kill("SIGKILL"), patience);
    await this.#exited;
    clearTimeout(timer);
  }

  /**
   * @param {unknown} message
   * @returns {Promise<unknown>}
   */
  async #ask(message) {
    this.#process.stdin.write(`${JSON.stringify(message)}\n`);
    for (;;) {
      const { value, done } = await this.#lines.next();
      if (done) {
        const how = await this.#exited;
        const said = this.#errors.trim().split("\n").slice(-12).join("\n");
        throw new Error(said === "" ? `${how} without a word` : `${how}: ${said}`);
      }
      if (value.startsWith(answerMark)) {
        /** @type {Record<string, unknown>} */
        const answer = JSON.parse(value.slice(answerMark.length));
        if ("error" in answer) throw new Error(String(answer["error"]));
        return answer;
      }
    }
  }
}

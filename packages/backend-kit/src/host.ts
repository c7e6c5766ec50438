import { pathToFileURL } from "node:url";
import type { OptionNames } from "@crossrank/core";
import type { CallTable, Handlers, MortalClient } from "./calls.js";
import { ChildClient } from "./child-client.js";
import { type Deadlines, longestDeadline, startDeadline } from "./deadlines.js";
import { RuntimeStartError } from "./errors.js";
import { LocalClient } from "./local-client.js";
import { checkChoice, requireCount, requireOptions } from "./options.js";
import { bundleFix, findPackageFile, type PackageFile } from "./package-file.js";
import { RestartingHost } from "./restarting-host.js";
import { ThreadClient } from "./thread-client.js";

/**
 * Where a runtime runs. `"process"`: in a child process, so that a file that makes a native library crash, hang or take
 * all memory is an error and not the end of the program. `"thread"`: in this process, on a thread that is not the
 * caller's; for files that you trust.
 */
export type Isolation = "process" | "thread";

/** Options that every backend with a native runtime has. */
export interface HostOptions {
  /**
   * `"process"`: the runtime runs in a child process, so that a file that makes it crash or hang is an error and not the
   * end of the program; the next call after its death starts a new one. `"thread"`: in this process, on threads that are
   * not the caller's; for files that you trust.
   */
  readonly isolation?: Isolation | undefined;
  /**
   * How long the runtime may take, in milliseconds, before its process is killed and the call fails. Default:
   * `{ load: 300_000, run: 300_000, close: 30_000 }`. A thread cannot be ended: there only `close` holds, and what does
   * not end is left behind.
   */
  readonly deadlines?: Deadlines | undefined;
}

/** For a backend's own names of options. */
export const hostOptionNames: OptionNames<HostOptions> = { isolation: true, deadlines: true };

/** @throws {InvalidInputError} naming the option at fault. */
export function checkHostOptions({ isolation, deadlines }: HostOptions): void {
  checkChoice("isolation", isolation, ["process", "thread"]);
  if (deadlines !== undefined) requireOptions("deadlines", deadlines, { load: true, run: true, close: true });
  for (const name of ["load", "run", "close"] as const) {
    requireCount(`deadlines.${name}`, deadlines?.[name], longestDeadline);
  }
}

export interface HostFacts<Calls extends CallTable<Calls>> extends HostOptions {
  readonly isolation: Isolation;
  /** The program of the child process or worker thread: one that calls `serveCalls`. */
  readonly entry: URL | PackageFile;
  /** Milliseconds until the program has to be up. Default: 60,000. */
  readonly startsWithin?: number | undefined;
  /** The runtime's name, for messages. */
  readonly runtime: string;
  /**
   * Variables of a child process beside those of this process, of which NODE_EXTRA_CA_CERTS is left out: name it here for a
   * runtime that asks servers.
   */
  readonly environment?: Readonly<Record<string, string>> | undefined;
  /** A runtime that has threads of its own: with `"thread"` it is called here, and no worker thread is started. */
  readonly here?: (() => Handlers<Calls>) | undefined;
  /** Before a model is loaded once more. @throws where it is not what was loaded first. */
  readonly checkUnchanged?: (() => Promise<void>) | undefined;
}

/** A runtime in a child process or on a thread of this one. */
export class Host<Calls extends CallTable<Calls>> extends RestartingHost<Calls> {
  constructor(facts: HostFacts<Calls>) {
    const { runtime, deadlines, checkUnchanged } = facts;
    super({ runtime, deadlines, checkUnchanged, open: (limits) => openClient(facts, limits) });
  }
}

function openClient<Calls extends CallTable<Calls>>(
  { isolation, here, entry, runtime, environment, startsWithin = startDeadline }: HostFacts<Calls>,
  { load, run }: Readonly<Record<keyof Deadlines, number>>,
): MortalClient<Calls> {
  if (isolation === "thread" && here !== undefined) return new LocalClient<Calls>(here());
  const program = { entry: programOf(entry, runtime), runtime, fix: fixOf(entry) };
  const deadlines = { start: startsWithin, load, run };
  return isolation === "thread"
    ? new ThreadClient<Calls>({ ...program, deadlines })
    : new ChildClient<Calls>({ ...program, environment, deadlines });
}

/** @throws {RuntimeStartError} when there is no such file. */
function programOf(entry: HostFacts<never>["entry"], runtime: string): URL {
  if (entry instanceof URL) return entry;
  const found = findPackageFile(entry);
  if ("path" in found) return pathToFileURL(found.path);
  throw new RuntimeStartError({ runtime, problem: found.problem, fix: fixOf(entry) });
}

/** What to do about a program that does not start. */
function fixOf(entry: HostFacts<never>["entry"]): string {
  return entry instanceof URL ? "Check its program, and this machine's load." : bundleFix(entry.name);
}

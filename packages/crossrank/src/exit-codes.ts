/** Exit codes of every command. */
export const exitCodes = { success: 0, failed: 1, usage: 2, interrupted: 130, terminated: 143 } as const;

/** As `--help` prints them; README.md and a test have the same table. */
export const exitCodeTable: readonly (readonly [code: number, meaning: string])[] = [
  [exitCodes.success, "done; of a command that judges: passed"],
  [
    exitCodes.failed,
    "failed, or did not pass; also: what the command line names is not there or does not work",
  ],
  [exitCodes.usage, "wrong usage: the command line, or the configuration of ci, cannot be as it is written"],
  [exitCodes.interrupted, "interrupted with Ctrl-C"],
  [exitCodes.terminated, "terminated"],
];

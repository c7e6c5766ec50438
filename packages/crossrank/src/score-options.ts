import { readFile } from "node:fs/promises";
import type { CrossrankJson, ScoreCache } from "@crossrank/core";
import { InvalidArgumentError, Option } from "commander";
import { CommandError, describeSystemError } from "./failure.js";

/** What of the scores can be chosen on the command line. */
export interface ScoreChoices {
  readonly activation?: "model" | "probability";
  readonly threshold?: number;
  /** Path of a file with a calibration, as `crossrank calibrate` writes it. */
  readonly calibration?: string;
  /** Path of a score cache. */
  readonly scoreCache?: string;
}

/** Of the commands that give scores. */
export function scoreOptions(): Option[] {
  return [
    activationOption(),
    new Option(
      "--threshold <score>",
      "leave out documents that score below it, on the scale of the output",
    ).argParser(finiteNumber),
    calibrationOption("file with a calibration, as `crossrank calibrate` writes it; gives probabilities"),
    scoreCacheOption(),
  ];
}

export function activationOption(): Option {
  return new Option(
    "--activation <scores>",
    "model: as the model gives them (default); probability: calibrated where the model has a calibration",
  ).choices(["model", "probability"]);
}

export function calibrationOption(what: string): Option {
  return new Option("--calibration <file>", what);
}

export function scoreCacheOption(): Option {
  return new Option(
    "--score-cache <file>",
    "SQLite file that keeps scores from run to run; several processes may share it",
  );
}

/** {@link ScoreChoices}, ready for `openReranker`. */
export interface PreparedScores {
  /** With the calibration. */
  readonly profile: CrossrankJson | undefined;
  readonly activation: "model" | "probability" | undefined;
  readonly scoreCache: ScoreCache | undefined;
  /** Closes the score cache. */
  dispose(): Promise<void>;
}

/** @throws {CommandError} when a file cannot be used. */
export async function prepareScores(
  { activation, calibration, scoreCache }: ScoreChoices,
  profile: CrossrankJson | undefined,
): Promise<PreparedScores> {
  const own = calibration === undefined ? undefined : await readCalibrationFile(calibration);
  const cache = scoreCache === undefined ? undefined : await openScoreCacheFile(scoreCache);
  return {
    profile: own === undefined ? profile : { ...profile, calibration: own },
    activation: activation ?? (own === undefined ? undefined : "probability"),
    scoreCache: cache,
    dispose: async () => cache?.dispose(),
  };
}

/**
 * The calibration of a file in the form of a crossrank.json. Core checks what it says.
 * @throws {CommandError}
 */
export async function readCalibrationFile(path: string): Promise<NonNullable<CrossrankJson["calibration"]>> {
  const fail = (problem: string, cause?: unknown): CommandError =>
    new CommandError(
      `cannot read --calibration ${path}: ${problem}. Pass a file that \`crossrank calibrate\` has written`,
      { cause },
    );
  let value: unknown;
  try {
    value = JSON.parse((await readFile(path, "utf8")).replace(/^\ufeff/, ""));
  } catch (cause) {
    throw cause instanceof SyntaxError
      ? fail(`it is not JSON (${cause.message})`, cause)
      : fail(describeSystemError(cause), cause);
  }
  const calibration: unknown =
    typeof value === "object" && value !== null ? Reflect.get(value, "calibration") : undefined;
  if (calibration === undefined) throw fail('it has no "calibration"');
  return calibration as NonNullable<CrossrankJson["calibration"]>;
}

/**
 * The package is installed by those who want it.
 * @throws {CommandError} {ScoreCacheFileError}
 */
export async function openScoreCacheFile(path: string): Promise<ScoreCache & { dispose(): Promise<void> }> {
  const name = "@crossrank/score-cache-sqlite";
  try {
    const { openSqliteScoreCache } = (await import(
      /* webpackIgnore: true */ /* turbopackIgnore: true */ /* @vite-ignore */ name
    )) as typeof import("@crossrank/score-cache-sqlite");
    return await openSqliteScoreCache(path);
  } catch (cause) {
    // Loaded when it is asked for: --help has no use for it.
    const { isMissing } = await import("./registry.js");
    if (isMissing(cause, [name])) {
      throw new CommandError(`--score-cache needs a package. Install it: npm install ${name}`, { cause });
    }
    throw cause;
  }
}

function finiteNumber(value: string): number {
  const number = Number(value);
  if (value.trim() === "" || !Number.isFinite(number)) throw new InvalidArgumentError("It must be a number.");
  return number;
}

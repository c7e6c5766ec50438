import { realpath } from "node:fs/promises";
import { relative, resolve, sep } from "node:path";
import { ScoreJobError } from "./errors.js";
import { isObjectPlace } from "./queue-package.js";

/**
 * Whoever can write into the queue names folders: a worker goes into none but those that its own command line allows.
 *
 * @param allowed folders and prefixes of S3.
 * @throws {ScoreJobError} where a place is outside of all of them.
 */
export async function requireAllowed(place: string, allowed: readonly string[]): Promise<void> {
  for (const one of allowed) if (await isWithin(place, one)) return;
  throw new ScoreJobError(
    "output",
    place,
    `is not within what this worker may read and write (${allowed.join(", ")}). Start it with --files`,
  );
}

async function isWithin(place: string, allowed: string): Promise<boolean> {
  if (isObjectPlace(place) || isObjectPlace(allowed)) {
    return place === allowed || place.startsWith(allowed.endsWith("/") ? allowed : `${allowed}/`);
  }
  const [inner, outer] = await Promise.all([real(place), real(allowed)]);
  const way = relative(outer, inner);
  return way === "" || (way !== ".." && !way.startsWith(`..${sep}`) && resolve(outer, way) === inner);
}

/** Where links lead. What is not there is refused later, by who opens it. */
function real(path: string): Promise<string> {
  return realpath(path).catch(() => resolve(path));
}

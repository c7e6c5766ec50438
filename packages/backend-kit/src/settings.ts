import type { BackendSession, Capabilities } from "@crossrank/core";

/**
 * A session's settings: names whose value is undefined are left out, text stays as it is, anything else becomes JSON
 * with sorted keys, so that equal settings are equal strings.
 */
export function settingsOf(values: Readonly<Record<string, unknown>>): BackendSession["settings"] {
  const settings: Record<string, string> = {};
  for (const [name, value] of Object.entries(values)) {
    if (value !== undefined) settings[name] = typeof value === "string" ? value : canonicalJson(value);
  }
  return settings;
}

/**
 * How batches are cut, for a session's settings: where rows of a batch affect each other, and how many tokens and how
 * much padding they have only where there are several. Undefined where no number depends on it.
 */
export function batchSetting({
  rowsAffectScores,
  batchPreference: { rows, tokens, padding },
}: Pick<Capabilities, "rowsAffectScores" | "batchPreference">): Readonly<Record<string, number>> | undefined {
  if (!rowsAffectScores) return undefined;
  return rows === 1 ? { rows } : { rows, tokens, padding };
}

/** JSON with the keys of every object sorted. */
export function canonicalJson(value: unknown): string {
  return JSON.stringify(value, (_, part: unknown) =>
    typeof part === "object" && part !== null && !Array.isArray(part)
      ? Object.fromEntries(Object.entries(part).sort(([a], [b]) => (a < b ? -1 : 1)))
      : part,
  );
}

import type { BackendSession } from "@crossrank/core";

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

/** JSON with the keys of every object sorted. */
export function canonicalJson(value: unknown): string {
  return JSON.stringify(value, (_, part: unknown) =>
    typeof part === "object" && part !== null && !Array.isArray(part)
      ? Object.fromEntries(Object.entries(part).sort(([a], [b]) => (a < b ? -1 : 1)))
      : part,
  );
}

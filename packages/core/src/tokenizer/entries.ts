/**
 * Calls back for every entry of a vocabulary. `Object.entries` of an object with tens of thousands of names takes three
 * times as long, and loading a model reads its vocabulary several times.
 */
export function forEachEntry<Value>(
  record: Readonly<Record<string, Value>>,
  react: (name: string, value: Value) => void,
): void {
  for (const name of Object.keys(record)) react(name, record[name] as Value);
}

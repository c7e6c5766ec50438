/**
 * Damaged files for the suites of mutated artifacts: the same for the same seed, so that what fails can be made again.
 */
export interface Random {
  /** From 0 to `below`, not included. */
  below(below: number): number;
  pick<Item>(items: readonly Item[]): Item;
}

/** Mulberry32: 32 bits of state are enough to choose places. */
export function randomOf(seed: number): Random {
  let state = seed >>> 0;
  const next = (): number => {
    state = (state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
  const below = (limit: number): number => Math.floor(next() * limit);
  return { below, pick: (items) => items[below(items.length)] as (typeof items)[number] };
}

/** Numbers that sizes, places and counts of a file break at. */
export const hostileNumbers: readonly bigint[] = [
  0n,
  1n,
  -1n,
  2n,
  127n,
  128n,
  255n,
  65_535n,
  65_536n,
  1_000_000_000n,
  2n ** 31n - 1n,
  2n ** 31n,
  2n ** 32n - 1n,
  2n ** 32n,
  2n ** 53n,
  2n ** 62n,
  2n ** 63n - 1n,
  -(2n ** 63n),
  -(2n ** 31n),
  -7n,
];

const ways = ["bits", "bytes", "number32", "number64", "cut", "repeat", "remove", "zeros", "swap"] as const;

/**
 * One to four changes of a file, most of them in its first `head` bytes, where what it says of itself stands.
 *
 * @returns a copy, and what was done to it.
 */
export function mutate(
  bytes: Buffer,
  { random, head }: { readonly random: Random; readonly head: number },
): { readonly bytes: Buffer; readonly what: string } {
  let copy = Buffer.from(bytes);
  const done: string[] = [];
  for (let change = 0; change <= random.below(4); change += 1) {
    const area = random.below(10) < 8 ? Math.min(head, copy.length) : copy.length;
    const place = random.below(Math.max(1, area));
    const length = Math.min(1 + random.below(random.pick([1, 4, 16, 64, 1024])), copy.length - place);
    const way = random.pick(ways);
    const number = random.pick(hostileNumbers);
    const [before, there, after] = [
      copy.subarray(0, place),
      copy.subarray(place, place + length),
      copy.subarray(place + length),
    ];
    switch (way) {
      case "bits":
        copy[place] = (copy[place] ?? 0) ^ (1 << random.below(8));
        break;
      case "bytes":
        for (let index = 0; index < length; index += 1) copy[place + index] = random.below(256);
        break;
      case "number32":
        if (place + 4 <= copy.length) copy.writeInt32LE(Number(BigInt.asIntN(32, number)), place);
        break;
      case "number64":
        if (place + 8 <= copy.length) copy.writeBigInt64LE(number, place);
        break;
      case "cut":
        copy = Buffer.from(before);
        break;
      case "repeat":
        copy = Buffer.concat([before, there, there, after]);
        break;
      case "remove":
        copy = Buffer.concat([before, after]);
        break;
      case "zeros":
        copy.fill(0, place, place + length);
        break;
      case "swap": {
        const other = random.below(Math.max(1, area));
        const kept = copy[place] ?? 0;
        copy[place] = copy[other] ?? 0;
        copy[other] = kept;
        break;
      }
    }
    done.push(`${way} at ${place}`);
  }
  return { bytes: copy, what: done.join(", ") };
}

/** Whether the whole suite runs, and not its sample. */
export const isLong: boolean = process.env["CROSSRANK_LONG"] === "1";

/** What became of the tries: how many of each outcome. */
export class Counts {
  readonly #counts = new Map<string, number>();

  add(outcome: string): void {
    this.#counts.set(outcome, (this.#counts.get(outcome) ?? 0) + 1);
  }

  get total(): number {
    return [...this.#counts.values()].reduce((sum, count) => sum + count, 0);
  }

  toString(): string {
    const sorted = [...this.#counts].sort(([, a], [, b]) => b - a);
    return `${this.total} tries: ${sorted.map(([outcome, count]) => `${count} ${outcome}`).join(", ")}`;
  }
}

/** That the runtime's process died or was killed for it, where it was. */
function hostStage(error: unknown): string {
  const stage: unknown = Reflect.get(Object((error as { cause?: unknown }).cause), "stage");
  return stage === "crash" || stage === "deadline" ? ` (${stage})` : "";
}

/** Milliseconds after which a try counts as hanging: far beyond the deadlines that the suites give their backends. */
export const patience = 60_000;

/**
 * One try: what it ends in, as a word for {@link Counts}.
 *
 * @param work resolves with a word for what worked.
 * @param isTyped whether an error is one of this project's.
 * @throws what is no typed error, or where the work does not end.
 */
export async function outcomeOf(
  work: () => Promise<string>,
  {
    what,
    isTyped,
  }: { readonly what: string; readonly isTyped: (error: unknown) => error is { code: string } },
): Promise<string> {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<never>((_, reject) => {
    timer = setTimeout(() => reject(new Error(`${what}: no answer within ${patience / 1000} s`)), patience);
  });
  try {
    return await Promise.race([work(), late]);
  } catch (error) {
    if (isTyped(error)) return `${error.code}${hostStage(error)}`;
    throw new Error(`${what}: ${String((error as Error)?.stack ?? error)}`, { cause: error });
  } finally {
    clearTimeout(timer);
  }
}

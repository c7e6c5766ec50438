/**
 * Strings → numbers, read along a text one UTF-16 code unit at a time: the vocabulary of WordPiece and Unigram, and
 * the added tokens. One flat hash table instead of a map per node. Of a vocabulary only what begins as a text does is
 * laid in: a program that ranks a few documents meets a tenth of it.
 */
export class TokenTrie {
  /** What a string was given, by its last node; −1 where no string ends. Another array once the trie has grown. */
  values: Int32Array = new Int32Array(1 << 11).fill(-1);
  #count = 1;
  #capacity: number = 1 << 12;
  #parents: Int32Array = new Int32Array(this.#capacity);
  #units: Uint16Array = new Uint16Array(this.#capacity);
  #children: Int32Array = new Int32Array(this.#capacity);

  /** Strings that are not laid in yet, by their first two units: the place of the first in its list. */
  readonly #later = new Map<number, number>();
  #laterList: LaterList | undefined;

  /** Of two equal strings the later one counts. */
  set(text: string, value: number): void {
    this.#setAll([text], [value]);
  }

  /**
   * Strings that are laid in when {@link reach} comes to a text that begins as they do. For one call a trie, before any
   * other. Of two equal strings the later one counts.
   */
  setLater(texts: readonly string[], values: ArrayLike<number>): void {
    const next = new Int32Array(texts.length);
    const [shortTexts, shortValues]: [string[], number[]] = [[], []];
    // From the last on, so that each list begins with the first.
    for (let index = texts.length - 1; index >= 0; index -= 1) {
      const text = texts[index] as string;
      if (text.length < 2) {
        shortTexts.push(text);
        shortValues.push(values[index] as number);
        continue;
      }
      const key = (text.charCodeAt(0) << 16) | text.charCodeAt(1);
      next[index] = this.#later.get(key) ?? -1;
      this.#later.set(key, index);
    }
    this.#laterList = { texts, values, next };
    this.#setAll(shortTexts.reverse(), shortValues.reverse());
  }

  /** Lays in the strings that a text can match from a position on. To be called before the text is stepped along. */
  reach(text: string, position: number): void {
    if (position + 1 >= text.length) return;
    const key = (text.charCodeAt(position) << 16) | text.charCodeAt(position + 1);
    const first = this.#later.get(key);
    if (first === undefined || this.#laterList === undefined) return;
    this.#later.delete(key);
    const { texts, values, next } = this.#laterList;
    const [found, own]: [string[], number[]] = [[], []];
    for (let index = first; index >= 0; index = next[index] as number) {
      found.push(texts[index] as string);
      own.push(values[index] as number);
    }
    this.#setAll(found, own);
  }

  /** Over what does not change in a loop: most of it runs once, and is not compiled yet. */
  #setAll(texts: readonly string[], values: ArrayLike<number>): void {
    for (let index = 0; index < texts.length; ) {
      const [parents, units, children, ends] = [this.#parents, this.#units, this.#children, this.values];
      const mask = this.#capacity - 1;
      let count = this.#count;
      // Half of the table stays free, also behind the longest text.
      for (; index < texts.length; index += 1) {
        const text = texts[index] as string;
        const { length } = text;
        if (count + length > ends.length) break;
        let node = 0;
        for (let position = 0; position < length; position += 1) {
          const unit = text.charCodeAt(position);
          let slot = slotOf(node, unit) & mask;
          let child = children[slot] as number;
          while (child !== 0 && (parents[slot] !== node || units[slot] !== unit)) {
            slot = (slot + 1) & mask;
            child = children[slot] as number;
          }
          if (child === 0) {
            child = count;
            count += 1;
            parents[slot] = node;
            units[slot] = unit;
            children[slot] = child;
          }
          node = child;
        }
        ends[node] = values[index] as number;
      }
      this.#count = count;
      if (index < texts.length) this.#grow(count + (texts[index] as string).length);
    }
  }

  /** The node after `unit`, or 0 when no string goes on like this. The root is 0. */
  step(node: number, unit: number): number {
    const mask = this.#capacity - 1;
    let slot = slotOf(node, unit) & mask;
    while (this.#children[slot] !== 0 && (this.#parents[slot] !== node || this.#units[slot] !== unit)) {
      slot = (slot + 1) & mask;
    }
    return this.#children[slot] as number;
  }

  /** The node after a whole text, or −1. */
  walk(text: string): number {
    let node = 0;
    for (let position = 0; position < text.length; position += 1) {
      node = this.step(node, text.charCodeAt(position));
      if (node === 0) return -1;
    }
    return node;
  }

  /** Makes room for so many nodes, at twice as many slots. */
  #grow(nodes: number): void {
    const [parents, units, children, ends] = [this.#parents, this.#units, this.#children, this.values];
    while (this.#capacity < nodes * 2) this.#capacity *= 2;
    const mask = this.#capacity - 1;
    const [newParents, newUnits] = [new Int32Array(this.#capacity), new Uint16Array(this.#capacity)];
    const newChildren = new Int32Array(this.#capacity);
    for (let old = 0; old < children.length; old += 1) {
      const child = children[old] as number;
      if (child === 0) continue;
      const [parent, unit] = [parents[old] as number, units[old] as number];
      let slot = slotOf(parent, unit) & mask;
      while (newChildren[slot] !== 0) slot = (slot + 1) & mask;
      newParents[slot] = parent;
      newUnits[slot] = unit;
      newChildren[slot] = child;
    }
    this.#parents = newParents;
    this.#units = newUnits;
    this.#children = newChildren;
    this.values = new Int32Array(this.#capacity / 2).fill(-1);
    this.values.set(ends);
  }
}

/** Strings with their values; behind each the place of the next that begins like it, −1 behind the last. */
interface LaterList {
  readonly texts: readonly string[];
  readonly values: ArrayLike<number>;
  readonly next: Int32Array;
}

/** Where a node's child is looked for first, before it is cut to the table. */
function slotOf(node: number, unit: number): number {
  return (Math.imul(node, 0x9e3779b1) ^ Math.imul(unit, 0x85ebca6b)) >>> 7;
}

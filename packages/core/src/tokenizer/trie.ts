/**
 * Strings → numbers, read along a text one UTF-16 code unit at a time: the vocabulary of WordPiece and Unigram, and
 * the added tokens. One flat hash table instead of a map per node, so that a quarter of a million pieces load in a
 * fraction of a second.
 */
export class TokenTrie {
  /** What a string was given, by its last node; −1 where no string ends. */
  readonly values: number[] = [-1];
  #capacity = 1 << 12;
  #parents: Int32Array = new Int32Array(this.#capacity);
  #units: Uint16Array = new Uint16Array(this.#capacity);
  #children: Int32Array = new Int32Array(this.#capacity);

  /** Of two equal strings the later one counts. */
  set(text: string, value: number): void {
    let node = 0;
    for (let position = 0; position < text.length; position += 1) {
      const unit = text.charCodeAt(position);
      node = this.step(node, unit) || this.#add(node, unit);
    }
    this.values[node] = value;
  }

  /** The node after `unit`, or 0 when no string goes on like this. The root is 0. */
  step(node: number, unit: number): number {
    return this.#children[this.#slot(node, unit)] as number;
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

  #slot(node: number, unit: number): number {
    const mask = this.#capacity - 1;
    let slot = ((Math.imul(node, 0x9e3779b1) ^ Math.imul(unit, 0x85ebca6b)) >>> 7) & mask;
    while (this.#children[slot] !== 0 && (this.#parents[slot] !== node || this.#units[slot] !== unit)) {
      slot = (slot + 1) & mask;
    }
    return slot;
  }

  #add(parent: number, unit: number): number {
    const node = this.values.push(-1) - 1;
    if (node * 2 > this.#capacity) this.#grow();
    this.#place(parent, unit, node);
    return node;
  }

  #place(parent: number, unit: number, node: number): void {
    const slot = this.#slot(parent, unit);
    this.#parents[slot] = parent;
    this.#units[slot] = unit;
    this.#children[slot] = node;
  }

  #grow(): void {
    const [parents, units, children] = [this.#parents, this.#units, this.#children];
    this.#capacity *= 2;
    this.#parents = new Int32Array(this.#capacity);
    this.#units = new Uint16Array(this.#capacity);
    this.#children = new Int32Array(this.#capacity);
    for (let slot = 0; slot < children.length; slot += 1) {
      const child = children[slot] as number;
      if (child !== 0) this.#place(parents[slot] as number, units[slot] as number, child);
    }
  }
}

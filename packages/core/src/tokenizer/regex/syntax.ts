import type { CharacterSet } from "./character-set.js";

/** A regular expression, as read. Semantics are Oniguruma's. */
export type Node =
  | { readonly kind: "text"; readonly text: string }
  | { readonly kind: "set"; readonly set: CharacterSet }
  | { readonly kind: "sequence"; readonly parts: readonly Node[] }
  | { readonly kind: "choice"; readonly options: readonly Node[] }
  | {
      readonly kind: "repeat";
      readonly body: Node;
      readonly least: number;
      /** Infinity: without an end. */
      readonly most: number;
      readonly lazy: boolean;
    }
  | { readonly kind: "group"; readonly index: number; readonly body: Node }
  | { readonly kind: "atomic"; readonly body: Node }
  | { readonly kind: "look"; readonly behind: boolean; readonly negative: boolean; readonly body: Node }
  | { readonly kind: "assert"; readonly what: Assertion }
  | { readonly kind: "reference"; readonly index: number }
  | { readonly kind: "keep" };

export type Assertion =
  | "line-start"
  | "line-end"
  | "text-start"
  | "text-end"
  | "text-end-or-last-newline"
  | "search-start"
  | "word-boundary"
  | "no-word-boundary";

/** Fewest and most code points that a node matches. */
export function lengthOf(node: Node): readonly [least: number, most: number] {
  switch (node.kind) {
    case "text": {
      const count = [...node.text].length;
      return [count, count];
    }
    case "set":
      return [1, 1];
    case "sequence":
      return node.parts
        .map(lengthOf)
        .reduce(([least, most], [more, evenMore]) => [least + more, most + evenMore] as const, [
          0, 0,
        ] as const);
    case "choice": {
      const lengths = node.options.map(lengthOf);
      return [
        lengths.reduce((least, [length]) => Math.min(least, length), Number.POSITIVE_INFINITY),
        lengths.reduce((most, [, length]) => Math.max(most, length), 0),
      ];
    }
    case "repeat": {
      const [least, most] = lengthOf(node.body);
      return [least * node.least, most === 0 ? 0 : most * node.most];
    }
    case "group":
    case "atomic":
      return lengthOf(node.body);
    case "reference":
      return [0, Number.POSITIVE_INFINITY];
    default:
      return [0, 0];
  }
}

/** The nodes right below one. */
export function childrenOf(node: Node): readonly Node[] {
  switch (node.kind) {
    case "sequence":
      return node.parts;
    case "choice":
      return node.options;
    case "repeat":
    case "group":
    case "atomic":
    case "look":
      return [node.body];
    default:
      return [];
  }
}

/** Whether a node or one below it is of a kind. */
export function holds(node: Node, kind: Node["kind"]): boolean {
  return node.kind === kind || childrenOf(node).some((child) => holds(child, kind));
}

/** The table of an artifact from which a token's first vector is taken. */
export interface EmbeddingTable {
  /** As the artifact calls it. */
  readonly name: string;
  /** One a token. */
  readonly rows: number;
  /** Numbers of a row; undefined where they are packed. */
  readonly width?: number | undefined;
}

/** `vocab_size`, and what a class calls the width of its table; some have one narrower than the model. */
const widthNames = ["embedding_size", "hidden_size", "d_model", "dim", "n_embd"];

/** Narrower ones are no model's, and hold something else than its tokens. */
const leastWidth = 8;

/**
 * Holds the table of an artifact against the config.json that it stands beside, which may be another model's: that of the
 * option `base`, or a file that was put there. Its numbers would be a score all the same.
 *
 * @param config the parsed config.json; undefined where there is none.
 * @returns what is wrong, as clauses; undefined where nothing is, or the configuration does not say.
 */
export function embeddingTableProblem(
  { name, rows, width }: EmbeddingTable,
  config: unknown,
): { readonly problem: string; readonly fix: string } | undefined {
  if (width !== undefined && width < leastWidth) return undefined;
  const wanted = numberIn(config, ["vocab_size"]);
  const isOther =
    rows !== wanted?.value
      ? wanted && `${rows} rows, and config.json has ${wanted.name} ${wanted.value}`
      : undefined;
  const wide = numberIn(config, widthNames);
  const isWider =
    width !== undefined && width !== wide?.value
      ? wide && `${width} numbers a token, and config.json has ${wide.name} ${wide.value}`
      : undefined;
  const found = isWider ?? isOther;
  if (found === undefined) return undefined;
  return {
    problem: `its embedding table ${JSON.stringify(name.slice(0, 80).replace(/[^\x20-\x7e]+/g, "?"))} has ${found}: it is not the model of this configuration`,
    fix: "Name the model that it was made from by the option `base`, or put that model's config.json and tokenizer beside it",
  };
}

function numberIn(
  config: unknown,
  names: readonly string[],
): { readonly name: string; readonly value: number } | undefined {
  if (typeof config !== "object" || config === null) return undefined;
  for (const name of names) {
    const value: unknown = Object.hasOwn(config, name) ? Reflect.get(config, name) : undefined;
    if (typeof value === "number") return { name, value };
  }
  return undefined;
}

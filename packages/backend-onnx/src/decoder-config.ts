/** What a decoder's config.json says that its graph does not. */
export interface DecoderFacts {
  /** Numbers of a head's key; undefined where it does not say. */
  readonly headSize: number | undefined;
  /** Whether rotary frequencies depend on how long the whole sequence is. */
  readonly rotatesByLength: boolean;
}

/** As config.json calls rotations whose frequencies depend on the length. */
const rotationsByLength: readonly unknown[] = ["dynamic", "longrope", "su"];
const rotationKeys = ["rope_scaling", "rope_parameters"];

/** @param config the parsed config.json; anything, where there is none. */
export function decoderFacts(config: unknown): DecoderFacts {
  const places = isRecord(config) ? [config, config["text_config"]].filter(isRecord) : [];
  return {
    headSize: places.map(headSizeOf).find((size) => size !== undefined),
    rotatesByLength: places.some((place) => rotationKeys.some((key) => dependsOnLength(place[key], 1))),
  };
}

function headSizeOf(config: Readonly<Record<string, unknown>>): number | undefined {
  const { head_dim: said, hidden_size: hidden, num_attention_heads: heads } = config;
  const size = said ?? Number(hidden) / Number(heads);
  return typeof size === "number" && Number.isSafeInteger(size) && size > 0 ? size : undefined;
}

/** @param depth some files say it for each kind of layer. */
function dependsOnLength(rotation: unknown, depth: number): boolean {
  if (!isRecord(rotation)) return false;
  if (rotationsByLength.includes(rotation["rope_type"] ?? rotation["type"])) return true;
  return depth > 0 && Object.values(rotation).some((one) => dependsOnLength(one, depth - 1));
}

function isRecord(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

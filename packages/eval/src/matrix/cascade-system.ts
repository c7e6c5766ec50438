/** A cascade in a matrix: a backend of the large model, behind a small model that is the same for all of them. */
export interface CascadeStageName {
  readonly name: string;
  readonly keep: number;
}

/** E.g. `"onnx:int8 after nano keep 30"`. */
export function cascadeSystem(backend: string, { name, keep }: CascadeStageName): string {
  return `${backend} after ${name} keep ${keep}`;
}

/**
 * The backend in the name of a system, and whether it stands behind the small model.
 *
 * @param cascade of the model whose system it is; undefined for none.
 */
export function readCascadeSystem(
  system: string,
  cascade: CascadeStageName | undefined,
): { readonly backend: string; readonly isCascade: boolean } {
  const ending = cascade === undefined ? undefined : cascadeSystem("", cascade);
  return ending !== undefined && system.endsWith(ending)
    ? { backend: system.slice(0, -ending.length), isCascade: true }
    : { backend: system, isCascade: false };
}

/** The two kinds of repository on the hub that are read here. They differ in their addresses and folder names only. */
export type RepositoryKind = "model" | "dataset";

/**
 * A repository's place below the endpoint: `owner/name` of a model, `datasets/owner/name` of a dataset. Its page is
 * there, and its files below `/resolve`. The rule is that of Python's huggingface_hub (`REPO_TYPES_URL_PREFIXES`).
 */
export function pagePath(kind: RepositoryKind, id: string): string {
  return kind === "dataset" ? `datasets/${id}` : id;
}

/** A repository's place in the API, e.g. `api/datasets/owner/name`. */
export function apiPath(kind: RepositoryKind, id: string): string {
  return `api/${kind}s/${id}`;
}

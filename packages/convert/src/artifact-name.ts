/**
 * What is moved and replaced as one: a file, or the package that it is a part of: the first folder whose name has an
 * ending.
 * @param path relative to the model.
 */
export function unitOf(path: string): string {
  const [, folder] = /^(.*?[^/.][^/]*\.[^/]+)\//.exec(path) ?? [];
  return folder ?? path;
}

/**
 * The name that a model has one artifact of. Core ML packages of one length each (`model_128.mlpackage` …) and the
 * package of several lengths are forms of the same one.
 * @param path of its main file or of its package, relative to the model.
 */
export function artifactOf(path: string): string {
  return unitOf(path).replace(/_\d+\.mlpackage$/, ".mlpackage");
}

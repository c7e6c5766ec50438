/**
 * Whether a path that git ignores (of `git ls-files --others --ignored --directory`) was built: a package's `dist/`, an
 * addon, or the folder of the libraries that the addon is linked to. A copy of a clone takes these along.
 */
export function isBuilt(file) {
  return /^packages\/[^/]+\/(dist\/|native\/[^/]+(\.node|-(linux|darwin|win32)-[^/]+\/))$/.test(file);
}

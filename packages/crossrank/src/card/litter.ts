/** What file managers leave in every folder that they show, also within a package. */
export function isLitter(path: string): boolean {
  return /(?:^|\/)(?:\.DS_Store|\._[^/]*|Thumbs\.db|desktop\.ini)$/i.test(path);
}

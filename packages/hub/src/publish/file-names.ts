import { checkRelativePath } from "../safe-path.js";
import { PublishFilesError } from "./errors.js";

/** As many files as the hub takes in one commit without asking questions, and far more than a model has. */
const mostFiles = 10_000;
/** In characters. */
const longestPath = 500;

/** Names that Windows keeps for devices, whatever follows behind a dot. */
const device = /^(?:con|prn|aux|nul|com\d|lpt\d)(?:\.|$)/i;
/** Controls, marks of direction and width, halves of characters: two names could look alike. */
const unprintable = /[\p{C}\p{Zl}\p{Zp}\ufffd]/u;

/**
 * Refuses names that some machine could not hold, or would put somewhere else: what is published is downloaded on all
 * of them.
 * @throws {UnsafePathError} {PublishFilesError}
 */
export function checkFileNames(model: string, paths: readonly string[]): void {
  const refuse = (path: string, problem: string, fix = "Rename it"): never => {
    throw new PublishFilesError({ model, path, problem, fix });
  };
  if (paths.length === 0)
    refuse("", "is all there is: there is no file to publish", "Name a folder with a model");
  if (paths.length > mostFiles)
    refuse(paths[mostFiles] as string, `is one of more than ${mostFiles} files`, "Publish fewer");
  const folded = new Map<string, string>();
  for (const path of paths) {
    checkRelativePath(model, path);
    if (path.length > longestPath) refuse(path, `is a path of more than ${longestPath} characters`);
    if (unprintable.test(path)) refuse(path, "has characters in its name that are not shown");
    if (/[\\:*?"<>|]/.test(path)) refuse(path, "has characters in its name that Windows does not allow");
    const segments = path.split("/");
    for (const segment of segments) {
      if (/^\.git$/i.test(segment)) refuse(path, "lies where git keeps its own files");
      if (/[. ]$/.test(segment) || segment.startsWith(" "))
        refuse(path, "has a name that begins with a space, or ends in a space or a dot");
      if (device.test(segment)) refuse(path, "has a name that Windows keeps for a device");
    }
    // Folders count too: a/x and A/y are one folder where the case does not count.
    for (let depth = 1; depth <= segments.length; depth += 1) {
      const place = segments.slice(0, depth).join("/");
      const isFile = depth === segments.length;
      const key = place.normalize("NFC").toLowerCase();
      const entry = `${isFile ? "file" : "folder"} ${place}`;
      const other = folded.get(key);
      if (other !== undefined && (other !== entry || isFile))
        refuse(
          path,
          `and ${JSON.stringify(other.replace(/^\w+ /, ""))} are one name on machines where the case does not count`,
        );
      folded.set(key, entry);
    }
  }
}

import { realpath } from "node:fs/promises";
import { dirname, join, relative, sep } from "node:path";
import type { Problem } from "@crossrank/backend-kit";
import type { ExternalData } from "@crossrank/formats/onnx/read";
import { shortened } from "./graph-plan.js";

/** Weights that the graph has in a file of their own. */
export interface WeightFile extends ExternalData {
  /** Relative to the model. */
  readonly path: string;
}

/** A hostile file may name any number; what is published in parts has some dozens. */
const mostFiles = 4096;

/**
 * Where a graph's weights lie, by the names that the graph itself gives, whatever they are.
 *
 * @param graphPath relative to the model.
 * @returns what is wrong, where a name leads out of the graph's folder.
 */
export function weightFiles(
  graphPath: string,
  external: readonly ExternalData[],
): readonly WeightFile[] | Problem {
  if (external.length > mostFiles) {
    return { problem: `its weights lie in ${external.length} files`, fix: outsideFix };
  }
  const files: WeightFile[] = [];
  const folder = graphPath.slice(0, graphPath.lastIndexOf("/") + 1);
  for (const { location, bytes } of external) {
    const path = insidePath(location);
    if (path === undefined) {
      const name = JSON.stringify(shortened(location));
      return { problem: `its weights lie in ${name}, which is no place within its folder`, fix: outsideFix };
    }
    files.push({ location, bytes, path: folder + path });
  }
  return files.sort((a, b) => (a.path < b.path ? -1 : 1));
}

const outsideFix = "Take the model from somebody whom you trust, with its weights beside the .onnx.";

/** The location without `.`, relative to the graph's folder; undefined where it leads out of it. */
function insidePath(location: string): string | undefined {
  const steps = location.split("/");
  const isOutside =
    location === "" ||
    location.includes("\0") ||
    location.includes("\\") ||
    /^[A-Za-z]:/.test(location) ||
    location.startsWith("/") ||
    location.endsWith("/") ||
    steps.includes("..");
  const path = steps.filter((step) => step !== "" && step !== ".").join("/");
  return isOutside || path === "" ? undefined : path;
}

/**
 * ONNX Runtime follows symbolic links and then refuses external data outside of the model's real folder
 * ("External data path escapes model directory"); and it looks for it under the name that the graph uses.
 *
 * @param modelPath absolute, as is `dataPath`.
 */
export async function isDetached(modelPath: string, dataPath: string, location: string): Promise<boolean> {
  if (join(dirname(modelPath), ...location.split("/")) !== dataPath) return true;
  const inside = relative(dirname(await realpath(modelPath)), await realpath(dataPath));
  return inside === ".." || inside.startsWith(`..${sep}`);
}

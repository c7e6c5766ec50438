import { readFileSync } from "node:fs";
import { join } from "node:path";
import { root } from "./blocks.js";

interface Manifest {
  readonly dependencies?: Readonly<Record<string, string>>;
  readonly devDependencies?: Readonly<Record<string, string>>;
}

/** Packages with a framework that a reader has beside ours. */
const adapters = ["ai-sdk", "langchain", "mastra", "lancedb", "genkit", "mcp"];

/** The frameworks that the documents show, by the names that they are imported by, with the folders they lie in. */
export const frameworks: ReadonlyMap<string, string> = new Map(
  adapters.flatMap((folder) => {
    const path = join(root, "packages", folder);
    const manifest: Manifest = JSON.parse(readFileSync(join(path, "package.json"), "utf8"));
    return Object.keys({ ...manifest.dependencies, ...manifest.devDependencies })
      .filter((name) => !/^(@crossrank\/|crossrank$)/.test(name))
      .map((name) => [name, join(path, "node_modules", name)] as const);
  }),
);

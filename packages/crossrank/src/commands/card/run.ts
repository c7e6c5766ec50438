import type { EvidencePaths } from "../../card/evidence.js";
import { writeCard } from "../../card/write-card.js";
import { type Context, print } from "../../context.js";
import { toSingleLine } from "../../text.js";

export interface CardCommandOptions extends EvidencePaths {
  readonly output?: string;
}

export async function runCardCommand(
  folder: string,
  options: CardCommandOptions,
  { signal }: Context,
): Promise<void> {
  const { path, changed, missing } = await writeCard(folder, { ...options, signal });
  const left = missing.length === 0 ? "" : `; not measured: ${missing.join(", ")}`;
  await print(`${toSingleLine(`${path} ${changed ? "written" : "says all this already"}${left}`)}\n`);
}

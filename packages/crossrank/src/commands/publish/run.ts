import type { EvidencePaths } from "../../card/evidence.js";
import { type Context, print } from "../../context.js";
import { translateInputError } from "../../failure.js";
import { createProgress } from "../../progress.js";
import { planPublication, publishModel } from "../../publish/publish-model.js";
import { planTable, publicationTable } from "./table.js";

export interface PublishCommandOptions extends EvidencePaths {
  readonly repo: string;
  readonly variant: string;
  readonly tag: string;
  readonly file?: string;
  readonly dtype?: string;
  readonly card?: string;
  readonly check: "content" | "listing";
  readonly dryRun?: true;
  readonly confirm?: true;
  readonly format: "table" | "json";
}

export async function runPublishCommand(
  folder: string,
  { repo, check, dryRun, confirm, format, ...plan }: PublishCommandOptions,
  { signal }: Context,
): Promise<void> {
  const asked = { ...plan, repository: repo, signal };
  const translate = (error: unknown): never => {
    throw translateInputError(error, {
      repository: "--repo",
      variant: "--variant",
      tag: "--tag",
      source: "the folder",
      "options.endpoint": "the hub's address",
    });
  };
  if (dryRun === true) {
    const found = await planPublication(folder, asked).catch(translate);
    await print(format === "json" ? `${JSON.stringify(found, undefined, 2)}\n` : planTable(found));
    return;
  }
  const progress = createProgress(process.stderr);
  try {
    const published = await publishModel(folder, {
      ...asked,
      check,
      confirm: confirm === true,
      onProgress: ({ phase, bytes }) =>
        progress.step(bytes === 0 ? phase : `${phase}, ${Math.round(bytes / 1e6)} MB`),
    }).catch(translate);
    progress.clear();
    await print(
      format === "json"
        ? `${JSON.stringify({ repository: repo, ...published }, undefined, 2)}\n`
        : publicationTable(repo, published),
    );
  } finally {
    progress.clear();
  }
}

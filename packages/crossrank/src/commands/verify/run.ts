import { loadModel, type ModelFiles } from "@crossrank/core";
import { verifyLoaded } from "@crossrank/core/verify";
import { type Context, print } from "../../context.js";
import { CommandError, translateInputError } from "../../failure.js";
import { findGoldens, type GoldensOptions } from "../../goldens.js";
import { openModelFiles, readProfileFile } from "../../model.js";
import { openBackend } from "../../open-reranker.js";
import type { BackendChoice, ProfiledModelOptions } from "../../options.js";
import { createProgress } from "../../progress.js";
import { hashSideFiles } from "../../publish/side-files.js";
import { type Outcome, verificationJson, verificationTable } from "./table.js";

export interface VerifyCommandOptions extends ProfiledModelOptions, GoldensOptions {
  readonly backend?: BackendChoice;
  readonly file?: string;
  readonly tolerance?: number;
  readonly format: "table" | "json";
}

export async function runVerifyCommand(
  source: string,
  options: VerifyCommandOptions,
  context: Context,
): Promise<void> {
  const { outcomes, files } = await compareAll(source, options, context);
  await print(
    options.format === "json"
      ? verificationJson(outcomes, await hashSideFiles(files, context.signal))
      : verificationTable(outcomes),
  );
  const failed = outcomes.find(({ verification }) => !verification.passed);
  if (failed === undefined) return;
  const { model, backend, reason } = failed.verification;
  throw new CommandError(
    `${model.id}, ${backend.name} ${model.artifact.dtype}, does not agree with ${failed.found.source}: ${reason}`,
  );
}

async function compareAll(
  source: string,
  options: VerifyCommandOptions,
  { signal, log }: Context,
): Promise<{ readonly outcomes: readonly Outcome[]; readonly files: ModelFiles }> {
  const progress = createProgress(process.stderr);
  try {
    const profile = await readProfileFile(options.profile);
    const found = await openModelFiles(source, options, signal);
    // Several publications about one model: it is loaded once.
    const asked = {
      backend: options.backend?.name,
      dtype: options.backend?.dtype,
      file: options.file,
      profile,
    };
    const choice = await openBackend(found, { ...asked, onConversion: progress.conversion }, signal);
    // A model that was converted brings what its weights give.
    const { files: model } = choice;
    const sets = await findGoldens(model, options, signal);
    progress.step(`loading ${source}`);
    const translate = (error: unknown, goldens: string): never => {
      const file = options.profile && `--profile ${options.profile}`;
      throw translateInputError(error, { dtype: "--backend", goldens, profile: file });
    };
    const { backend, dtype } = choice;
    const loading = { model, backend, dtype, profile, signal, onProgress: progress.download };
    const loaded = await loadModel(loading).catch((error: unknown) => translate(error, "goldens"));
    try {
      const outcomes: Outcome[] = [];
      for (const found of sets) {
        log(`comparing ${model.id} with ${found.source}`);
        const verification = await verifyLoaded(loaded, {
          goldens: found.goldens,
          tolerance: options.tolerance,
          signal,
          onScored: progress.scoring,
        }).catch((error: unknown) =>
          translate(error, options.goldens === undefined ? found.source : `--goldens ${options.goldens}`),
        );
        outcomes.push({ found, verification });
      }
      return { outcomes, files: model };
    } finally {
      await loaded.dispose();
    }
  } finally {
    progress.clear();
  }
}

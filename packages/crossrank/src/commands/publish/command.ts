import { type Command, Option } from "commander";
import type { Context } from "../../context.js";
import { UsageError } from "../../failure.js";
import { tableOrJson } from "../../options.js";
import type { PublishCommandOptions } from "./run.js";

const help = `
One commit holds exactly one variant: its artifact, configuration, tokenizer, goldens, licence and
provenance, flat at the root, and the card as README.md. What the hub has afterwards is read back
and held against the sha256 of what was sent; then the tag is made, e.g. v0.1-ane. A tag never
moves. Documents, pictures, examples and licences of main stay, and all else that is not of this
variant is removed in the same commit; README.md becomes the card. A run that was stopped or killed is run again: nothing is sent twice, and nothing is half
published.

Refused without a passing verify, a passing eval and a card that are of exactly these files (by
sha256), without --confirm, with HF_HUB_OFFLINE=1, and where the tag exists. Reports that are not named are looked for in
evidence/verify*.json, evidence/eval* and evidence/bench*.json of the folder.

The token is read as the hub's own tools read it (HF_TOKEN, or the file that they keep), the
address from HF_ENDPOINT, and proxies from HTTPS_PROXY and its like.

Examples:
  $ crossrank publish ./my-model --repo me/my-model-coreml --variant ane --tag v0.1 --dry-run
  $ crossrank publish ./my-model --repo me/my-model-coreml --variant ane --tag v0.1 --confirm
  $ crossrank publish ./my-model --repo me/my-model --variant int8 --tag v0.1 --confirm

Exit code: 0 published, or shown; 1 refused or failed; 2 wrong usage; 130 interrupted.`;

export function addPublishCommand(program: Command, context: Context): void {
  const collect = (value: string, before: readonly string[] = []): readonly string[] => [...before, value];
  program
    .command("publish")
    .summary("publish one variant of a model on the hub, under a tag of its own")
    .description("Commits a variant's files, checks what the hub has of them, and tags them last.")
    .argument("<folder>", "the model's folder")
    .requiredOption("--repo <id>", "repository on the hub, owner/name; it must exist")
    .requiredOption("--variant <name>", "the variant, which ends the tag: ane, cpugpu, int8")
    .requiredOption("--tag <version>", "the version, which begins the tag: v0.1")
    .option("--file <path>", "the artifact, relative to the folder (default: as the variant says)")
    .option("--dtype <name>", "the artifact's precision, in place of --file")
    .option("--card <file>", "the card (default: MODEL_CARD.md in the folder)")
    .option("--verify <file>", "what verify --format json printed; may be repeated", collect)
    .option("--eval <report>", "folder that eval --report wrote; may be repeated", collect)
    .option("--bench <file>", "what bench --format json printed; may be repeated", collect)
    .addOption(
      new Option("--check <how>", "hold the content against what was sent, or the hub's listing alone")
        .choices(["content", "listing"])
        .default("content"),
    )
    .addOption(new Option("--dry-run", "show the commit, and send nothing").conflicts("confirm"))
    .option("--confirm", "publish: a tag is for good")
    .addOption(tableOrJson())
    .addHelpText("after", help)
    .action(async (folder: string, options: PublishCommandOptions) => {
      if (options.confirm !== true && options.dryRun !== true) {
        throw new UsageError("say --confirm to publish, or --dry-run to see what would be published");
      }
      // Loaded when it is asked for: --help has no use for it.
      const { runPublishCommand } = await import("./run.js");
      await runPublishCommand(folder, options, context);
    });
}

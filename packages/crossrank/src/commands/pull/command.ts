import { type Command, Option } from "commander";
import type { Context } from "../../context.js";
import { defaultModel } from "../../model.js";
import { backendOption, conversionOption, fileOption } from "../../options.js";
import type { PullCommandOptions } from "./run.js";

const help = `
What is fetched is what a run with the same options reads: configuration, tokenizer, the
head's weights and one artifact. The other precisions of the repository are left where
they are. Of a model that has weights alone the weights are fetched, and the first run
converts them. A download that was stopped goes on where it was.

The cache is that of huggingface_hub; HF_HOME and HF_HUB_CACHE choose its folder.

Examples:
  $ crossrank pull cross-encoder/ms-marco-MiniLM-L6-v2
  $ crossrank pull BAAI/bge-reranker-base --dtype int8 --json
  $ crossrank pull gpustack/bge-reranker-v2-m3-GGUF:Q8_0
  $ crossrank rerank --query "…" --documents corpus.jsonl --model BAAI/bge-reranker-base --offline

Exit code: 0 all is there, 1 failed, 2 wrong usage, 130 interrupted.`;

export function addPullCommand(program: Command, context: Context): void {
  program
    .command("pull")
    .summary("download a model before it is needed")
    .description("Downloads what a run of the model needs, and says what it is and where.")
    .argument("[model]", "repository id, also with @revision or :precision", defaultModel)
    .addOption(backendOption())
    .option("--dtype <name>", "precision, e.g. fp32, int8, or Q8_0 of a GGUF (default: the model's own)")
    .addOption(fileOption())
    .addOption(conversionOption())
    .option("--revision <name>", "branch, tag or commit of the repository")
    .option("--lock <file>", "lock file that pins the model's revision and hashes")
    .option("--base <model>", "model whose configuration and tokenizer belong to an artifact that has none")
    .option("--profile <file>", "crossrank.json whose facts override the model's own")
    .addOption(new Option("--json", "for programs"))
    .addHelpText("after", help)
    .action(async (source: string, options: PullCommandOptions) => {
      // Loaded when it is asked for: --help has no use for it.
      const { runPullCommand } = await import("./run.js");
      await runPullCommand(source, options, context);
    });
}

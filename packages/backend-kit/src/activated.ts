import type { Head, ModelFiles, ModelProfile } from "@crossrank/core";
import type { Problem } from "./problem.js";

/** What a graph does to its logits before it gives them out. */
export interface Activated {
  readonly by: "sigmoid" | "hard sigmoid" | "softmax" | "log-softmax" | "softplus" | "tanh";
  /** The value of the graph that holds the logits. */
  readonly logits: string;
  /** Whether it was scaled or shifted after that. */
  readonly scaled: boolean;
}

/** Whether a head reads the output as it is meant, although something was done to the logits. */
export function isRead(activated: Activated, head: Head, statesIdentity: boolean): boolean {
  const { by, scaled } = activated;
  switch (head.kind) {
    case "logit":
      return statesIdentity;
    case "pooled-chain": {
      const last = head.modules.at(-1);
      return statesIdentity || (last?.kind === "dense" && last.activation === by && !scaled);
    }
    case "two-class":
    case "class":
      // What was taken off all of them does not change the difference.
      return by === "log-softmax" && !scaled;
    case "answer-tokens":
      return by === "log-softmax" && !scaled && head.negative !== undefined;
    default:
      return true;
  }
}

/** What the output of logits is called in a file of a format, and how `crossrank convert` names the format. */
const forms = {
  onnx: { to: "onnx", output: "logits" },
  mlpackage: { to: "mlpackage", output: "logit" },
  mnn: { to: "mnn", output: "logits" },
} as const;

/** What to say of an output that is no logit. */
export function activatedProblem(
  output: string,
  { by, logits, scaled }: Activated,
  head: Head,
  form: keyof typeof forms,
): Problem {
  const asItIs =
    head.kind === "logit"
      ? '. Where that output is the score that is wanted, say so in a crossrank.json beside the model: "activation": "identity"'
      : "";
  const named = JSON.stringify(printable(logits));
  return {
    problem:
      `its output ${JSON.stringify(printable(output))} is the ${by} of the logits${scaled ? ", scaled" : ""}, and the ` +
      `model's score is computed from the logits themselves, which the graph has as ${named}`,
    fix:
      `Export the graph with its tensor ${named} as the output "${forms[form].output}", or convert the model's weights with ` +
      `\`crossrank convert --to ${forms[form].to}\`${asItIs}`,
  };
}

/**
 * Whether it is said of this model that its output is its score. An activation that sentence-transformers' own files name
 * is one of the logits, and says nothing of a graph.
 */
export async function statesIdentity({
  files,
  profile,
  signal,
}: {
  readonly files: Pick<ModelFiles, "list" | "readText">;
  readonly profile: Pick<ModelProfile, "activation">;
  readonly signal?: AbortSignal | undefined;
}): Promise<boolean> {
  if (profile.activation !== "identity") return false;
  const listed = (await files.list({ signal })).map(({ path }) => path);
  const read = async (path: string): Promise<string> =>
    listed.includes(path) ? files.readText(path, { signal }) : "";
  if (/"activation"\s*:\s*"identity"/.test(await read("crossrank.json"))) return true;
  const named = await Promise.all(["config.json", "config_sentence_transformers.json"].map(read));
  return !named.some((text) => /activation_f[\w]*"\s*:\s*"[\w.]*Identity"/.test(text));
}

/** A name of a stranger's file, fit for a message. */
function printable(name: string): string {
  return name.replace(/[^\x20-\x7e]/g, "?").slice(0, 80);
}

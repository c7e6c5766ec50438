import { batchSizeProblem, type Problem } from "@crossrank/backend-kit";
import type { OutputKind } from "@crossrank/core";
import type { CoreMlModel, Feature, MultiArrayType } from "@crossrank/formats/mlpackage";

export type InputSource = "inputIds" | "attentionMask" | "segmentIds";

export interface PlannedInput {
  readonly name: string;
  readonly source: InputSource;
  /** 4: (rows, 1, 1, columns). 2: (rows, columns). */
  readonly rank: 2 | 4;
}

/** How a batch is fed to a package, and which output is read. */
export interface PackagePlan {
  readonly inputs: readonly PlannedInput[];
  /** The only number of rows. */
  readonly rows: number;
  /** The lengths that it takes, ascending. */
  readonly lengths: readonly number[];
}

/** The output that is read, by name, as core's kind. */
export interface PlannedOutput {
  readonly name: string;
  readonly kind: OutputKind;
}

/** Names of the seed's contract, and of Hugging Face's models. */
const sources: Readonly<Record<string, InputSource>> = {
  input_ids: "inputIds",
  attention_mask: "attentionMask",
  token_type_ids: "segmentIds",
};

const fix =
  "Convert the model with `crossrank convert --to mlpackage`, or with inputs input_ids, attention_mask and, if need " +
  "be, token_type_ids, int32 of one batch size and of fixed or enumerated lengths, (rows, 1, 1, length) or (rows, length)";

/** @returns how to feed it, from the shapes that the package itself declares. */
export function planPackage({ inputs }: CoreMlModel): PackagePlan | Problem {
  const wanted = inputs.map(describeFeature).join(", ") || "nothing";
  const refuse = (problem: string): Problem => ({ problem: `${problem}; it wants ${wanted}`, fix });
  const planned: PlannedInput[] = [];
  const shapes: (readonly string[])[] = [];
  for (const { name, type } of inputs) {
    const source = Object.hasOwn(sources, name) ? sources[name] : undefined;
    if (source === undefined) return refuse(`unknown input "${name}"`);
    if (type.kind !== "multi-array" || type.element !== "int32") {
      return refuse(`input "${name}" is no int32 array`);
    }
    const declared = shapesOf(type);
    if (declared === undefined) return refuse(`input "${name}" has a range of shapes`);
    const rank = declared[0]?.length;
    const isFlat = declared.every((shape) => shape.length === 4 && shape[1] === 1 && shape[2] === 1);
    if (!isFlat && !declared.every((shape) => shape.length === 2)) {
      return refuse(`input "${name}" is neither (rows, 1, 1, length) nor (rows, length)`);
    }
    planned.push({ name, source, rank: rank === 4 ? 4 : 2 });
    shapes.push(declared.map((shape) => `${shape[0]} × ${shape.at(-1)}`).sort());
  }
  for (const name of ["input_ids", "attention_mask"]) {
    if (!planned.some((input) => input.name === name)) {
      const why = name === "input_ids" ? "" : ", without which padding would change scores";
      return refuse(`there is no input "${name}"${why}`);
    }
  }
  if (shapes.some((list) => list.join() !== shapes[0]?.join())) return refuse("its inputs differ in shape");
  const pairs = (shapes[0] ?? []).map((text) => text.split(" × ").map(Number));
  const rows = [...new Set(pairs.map(([count]) => count as number))];
  const lengths = [...new Set(pairs.map(([, length]) => length as number))].sort((a, b) => a - b);
  const [only, ...others] = rows;
  if (only === undefined || others.length > 0) return refuse(`it has batches of ${rows.join(" and ")} rows`);
  if (![only, ...lengths].every((size) => Number.isInteger(size) && size > 0)) {
    return refuse("its shapes are not fixed");
  }
  for (const columns of lengths) {
    const problem = batchSizeProblem({ rows: only, columns });
    if (problem !== undefined) return refuse(problem);
  }
  return { inputs: planned, rows: only, lengths };
}

/** Names of the outputs, by what core asks for. */
const outputNames: Readonly<Partial<Record<OutputKind, string>>> = {
  "class-logits": "logit",
  pooled: "pooled_output",
};

/** @returns the first of `kinds` that the package gives; undefined when it gives none. */
export function planOutput(
  { outputs }: CoreMlModel,
  kinds: readonly OutputKind[],
): PlannedOutput | Problem | undefined {
  for (const kind of kinds) {
    const output = outputs.find(({ name }) => name === outputNames[kind]);
    if (output === undefined) continue;
    if (output.type.kind !== "multi-array" || output.type.element !== "float32") {
      return {
        problem: `output ${describeFeature(output)} is not a float32 array`,
        fix: "Convert the model with outputs in float32",
      };
    }
    return { name: output.name, kind };
  }
  return undefined;
}

/** All shapes that an input takes; undefined where they are a range. */
function shapesOf({ shape, flexibility }: MultiArrayType): readonly (readonly number[])[] | undefined {
  if (flexibility === undefined) return [shape];
  return flexibility.kind === "enumerated" ? flexibility.shapes : undefined;
}

export function describeFeature({ name, type }: Feature): string {
  if (type.kind !== "multi-array") return `${name} (${type.as})`;
  const shapes = shapesOf(type);
  const text = shapes === undefined ? "a range" : shapes.map((shape) => `(${shape.join(", ")})`).join(" or ");
  return `${name} ${type.element} ${text}`;
}

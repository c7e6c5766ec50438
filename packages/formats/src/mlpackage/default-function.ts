import type { CoreMlModel } from "./model.js";
import type { Block, FunctionDefinition } from "./program.js";

/** Name of the function that runs where a model's description names none (Model.proto, `defaultFunctionName`). */
export const mainFunction = "main";

/**
 * The function that an application gets which asks for none by name. The model's inputs and outputs are this one's.
 *
 * @returns undefined where the model is no ML Program, or its program lacks that function.
 */
export function defaultFunctionOf({ program, defaultFunction }: CoreMlModel): FunctionDefinition | undefined {
  const name = defaultFunction ?? mainFunction;
  // A program's names come from a file: "toString" is none of its functions.
  return program !== undefined && Object.hasOwn(program.functions, name)
    ? program.functions[name]
    : undefined;
}

/** What a function runs. @returns undefined where it has no body for its operation set. */
export function bodyOf({ blocks, opset }: FunctionDefinition): Block | undefined {
  return Object.hasOwn(blocks, opset) ? blocks[opset] : undefined;
}

/**
 * Characters of a template. Those of published models have less than 20,000, tools and all; it is read by regular
 * expressions that are quadratic in a run of white space.
 */
const longestTemplate = 100_000;
const longestSpace = 1000;
/** Of a string that a template makes, in UTF-16 code units. */
const longestText = 10_000;
const largestNumber = 100_000;
/** Elements of a list and of the lists in it. */
const mostElements = 5000;
/** Expressions and statements of one rendering, elements of the lists that it looks at counted. */
const mostSteps = 20_000;

/** What runtime values have in common in every version of the library. */
interface RuntimeValue {
  readonly type: string;
  readonly value: unknown;
}

/** The classes of the library; its own types lack the endings that ESM asks for in their paths, and so their members. */
interface Library {
  readonly Environment: new () => { set(name: string, value: unknown): unknown };
  readonly Interpreter: new (
    environment: unknown,
  ) => {
    run(program: unknown): RuntimeValue;
    /** Of every statement and expression, also of those inside of another. */
    evaluate(statement: unknown, environment: unknown): RuntimeValue;
  };
  readonly Template: new (template: string) => { readonly parsed: unknown };
}

/**
 * Compiles a Jinja template of a stranger. What is returned renders it within bounds of steps, sizes and numbers, so
 * that neither a loop nor a doubled string outlives a fraction of a second, in any runtime.
 *
 * @throws {Error} when the template is malformed or too long.
 */
export async function compileTemplate(
  template: string,
): Promise<(variables: Readonly<Record<string, unknown>>) => string> {
  if (template.length > longestTemplate || new RegExp(`\\s{${longestSpace + 1}}`).test(template))
    throw new Error(`it is too long, with ${template.length} characters`);
  // Loaded where it is needed: most models have no chat template.
  const library: unknown = await import("@huggingface/jinja");
  const { Environment, Interpreter, Template } = library as Library;

  class BoundedInterpreter extends Interpreter {
    #steps = 0;

    override evaluate(statement: unknown, environment: unknown): RuntimeValue {
      this.#spend(1);
      const result = super.evaluate(statement, environment);
      this.#spend(weigh(result));
      return result;
    }

    #spend(steps: number): void {
      this.#steps += steps;
      if (this.#steps > mostSteps) throw new Error(`it takes more than ${mostSteps} steps`);
    }
  }

  const { parsed } = new Template(template);
  return (variables) => {
    const environment = new Environment();
    const constants = { true: true, false: false, none: null, True: true, False: false, None: null };
    for (const [name, value] of Object.entries({ ...constants, ...functions, ...variables }))
      environment.set(name, value);
    return new BoundedInterpreter(environment).run(parsed).value as string;
  };
}

/** The library's own functions, with bounds. */
const functions = {
  raise_exception(message: unknown): never {
    throw new Error(String(message));
  },
  range(first: number, second?: number, step = 1): number[] {
    const [start, stop] = second === undefined ? [0, first] : [first, second];
    const count = Math.max(0, Math.ceil((stop - start) / step));
    if (!(count <= mostElements)) throw new Error(`range() of ${count} numbers`);
    return Array.from({ length: count }, (_, index) => start + index * step);
  },
  strftime_now(): never {
    throw new Error("it asks for today's date, and a score may not depend on the day");
  },
};

/** The size of a value, in steps. */
function weigh(value: RuntimeValue): number {
  const open: unknown[] = [value];
  let weight = 0;
  for (let next = open.pop(); next !== undefined; next = open.pop()) {
    const { value: content } = (next ?? {}) as Partial<RuntimeValue>;
    if (typeof content === "string") {
      if (content.length > longestText) throw new Error(`it makes a text of ${content.length} characters`);
      weight += content.length >> 6;
    } else if (typeof content === "number") {
      if (!(Math.abs(content) <= largestNumber)) throw new Error(`it makes the number ${content}`);
    } else if (Array.isArray(content) || content instanceof Map) {
      weight += 1 + (Array.isArray(content) ? content.length : content.size);
      if (weight > mostElements) throw new Error(`it makes a list of more than ${mostElements} elements`);
      for (const element of content.values()) open.push(element);
    }
  }
  return weight;
}

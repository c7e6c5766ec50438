import { formatsWith, type WriterDescriptor, type WriterOption, writers } from "@crossrank/convert/writers";
import { InvalidArgumentError } from "commander";
import { outsiderOf, parseBackend } from "../../backend-names.js";
import { CommandError, UsageError } from "../../failure.js";
import { wholeNumber } from "../../options.js";
import { findBackend, importOutsider } from "../../registry.js";

/** A format that was asked for, and who judges what is written in it. */
export interface ChosenWriter {
  readonly descriptor: WriterDescriptor;
  /** Names of the backends that judge an artifact of the precision; each has to agree. Never empty. */
  readonly judgesOf: (dtype: string) => readonly string[];
}

/**
 * The writer of a format: one of ours, or one of the file or package that `--backend` names.
 *
 * @throws {UsageError} there is no such format or backend, or the two do not go together.
 * @throws {CommandError} the backend cannot be loaded.
 */
export async function chooseWriter(to: string, asked: string | undefined): Promise<ChosenWriter> {
  const own = writers.find(({ format }) => format === to);
  if (asked === undefined) {
    if (own === undefined) throw unknownFormat(to, writers);
    return { descriptor: own, judgesOf: (dtype) => own.judges?.(dtype) ?? [] };
  }
  const { outsiders, backendFormat, name } = await openBackend(asked);
  const descriptor = outsiders.find(({ format }) => format === to) ?? own;
  if (descriptor === undefined) throw unknownFormat(to, [...writers, ...outsiders]);
  return {
    descriptor,
    judgesOf: (dtype) => {
      if (backendFormat === to) return [name];
      const judges = descriptor === own ? [] : (descriptor.judges?.(dtype) ?? []);
      if (judges.length > 0) return judges;
      const has = backendFormat === undefined ? "has no backend" : `loads ${backendFormat}`;
      throw new UsageError(
        `--backend ${asked} ${has}, and --to is ${to}. Name a backend that loads ${to}, or pass --no-verify`,
      );
    },
  };
}

/** What a backend's name brings to a conversion. */
async function openBackend(asked: string): Promise<{
  readonly name: string;
  /** Formats that its file or package writes. */
  readonly outsiders: readonly WriterDescriptor[];
  /** The format that it loads; undefined where it writes only. */
  readonly backendFormat: string | undefined;
}> {
  const named = parseBackend(asked);
  if (named === undefined) {
    throw new UsageError(
      `there is no backend ${asked}. Name one that crossrank doctor lists, the file of one (./mine.mjs), or an npm package`,
    );
  }
  if (named.dtype !== undefined) {
    throw new UsageError(
      `--backend ${asked} names a precision, which --dtype is for. Pass --backend ${named.name} --dtype ${named.dtype}`,
    );
  }
  const { name } = named;
  try {
    const exports = outsiderOf(name) === undefined ? {} : await importOutsider(name);
    const outsiders = writersIn(name, exports);
    const onlyWrites =
      outsiders.length > 0 && !["backends", "backend", "default"].some((key) => key in exports);
    const backendFormat = onlyWrites ? undefined : (await findBackend(name)).backend.descriptor.format;
    return { name, outsiders, backendFormat };
  } catch (cause) {
    if (cause instanceof UsageError || cause instanceof CommandError) throw cause;
    throw new CommandError((cause as Error).message, { cause });
  }
}

function writersIn(
  name: string,
  { writers: found }: Readonly<Record<string, unknown>>,
): readonly WriterDescriptor[] {
  if (found === undefined) return [];
  if (Array.isArray(found) && found.every(isWriter)) return found;
  throw new CommandError(
    `the \`writers\` of ${name} are no writers. Export an array of descriptors, objects with \`format\`, \`dtypes\` and ` +
      "`create`, as @crossrank/convert describes them",
  );
}

function isWriter(value: unknown): value is WriterDescriptor {
  const { format, dtypes, create } = (value ?? {}) as Partial<Record<keyof WriterDescriptor, unknown>>;
  return typeof format === "string" && Array.isArray(dtypes) && typeof create === "function";
}

function unknownFormat(to: string, known: readonly WriterDescriptor[]): UsageError {
  const formats = known.map(({ format }) => format).join(", ");
  return new UsageError(
    `nothing writes the format ${to}. Convert to one of ${formats}, or name with --backend the file or package that writes it`,
  );
}

/**
 * What is set about a format: flags of our own formats, and `--set name=value` of any.
 *
 * @throws {UsageError} an option that the format does not have, that is set twice, or that cannot be read.
 */
export function readWriterOptions(
  { format, options = {} }: WriterDescriptor,
  flags: Readonly<Record<string, unknown>>,
  assignments: readonly string[],
): Readonly<Record<string, unknown>> {
  for (const name of Object.keys(flags)) {
    if (Object.hasOwn(options, name)) continue;
    const owners = formatsWith(name).join(", ");
    throw new UsageError(
      `--${name} is an option of ${owners}, and --to is ${format}. Leave it out, or convert to ${owners}`,
    );
  }
  const set = new Map(Object.entries(flags));
  for (const assignment of assignments) {
    const [, name = "", value = ""] = /^([^=]+)=(.*)$/s.exec(assignment) ?? [];
    const option = Object.hasOwn(options, name) ? options[name] : undefined;
    if (option === undefined) {
      const known = Object.keys(options).join(", ");
      const has = known === "" ? "nothing can be set" : `these can be set: ${known}`;
      throw new UsageError(
        `--set ${assignment} sets nothing of ${format}. Write name=value; of ${format} ${has}`,
      );
    }
    if (set.has(name)) throw new UsageError(`${name} is set twice. Set it once`);
    set.set(name, readSetting(`--set ${name}`, option, value));
  }
  return Object.fromEntries(set);
}

function readSetting(name: string, { value: kind }: WriterOption, text: string): unknown {
  if (typeof kind !== "string") {
    if (kind.includes(text)) return text;
    throw new UsageError(`${name} must be one of ${kind.join(", ")}, not ${text}`);
  }
  try {
    return readValue(kind, text);
  } catch (cause) {
    if (!(cause instanceof InvalidArgumentError)) throw cause;
    throw new UsageError(`${name} cannot be ${text}. ${cause.message}`, { cause });
  }
}

/** @throws {InvalidArgumentError} */
export function readValue(kind: "text" | "count" | "counts", text: string): unknown {
  if (kind === "text") return text;
  return kind === "count" ? wholeNumber(text) : text.split(",").map((one) => wholeNumber(one.trim()));
}

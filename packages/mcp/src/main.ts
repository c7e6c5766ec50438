// The command crossrank-mcp: the server over standard input and output.
import { Writable } from "node:stream";
import { parseArgs } from "node:util";
import { defaultLimits } from "./limits.js";
import type { RerankServer } from "./rerank-server.js";
import { version } from "./version.js";

const help = `Usage: crossrank-mcp [options]

A server of the Model Context Protocol over standard input and output, with one tool: rerank.

  --model <model>            nano, a folder, or a repository id; CROSSRANK_MODEL. Default: nano
  --backend <backend>        onnx, llamacpp, mnn, coreml, a file or a package, also with a precision as in onnx:int8;
                             CROSSRANK_BACKEND. Default: the first that works here
  --threads <count>          threads of the runtime; CROSSRANK_THREADS
  --offline                  never download; so does HF_HUB_OFFLINE=1
  --max-documents <count>    most documents of a call. Default: ${defaultLimits.maxDocuments}
  --max-characters <count>   most characters of a call's query and documents. Default: ${defaultLimits.maxCharacters}
  --help, --version
`;

/** Bytes of JSON that a character takes at most: an escape such as \\u0000, or two of them for a pair. */
const bytesOfCharacter = 6;

class UsageError extends Error {}

async function serve(): Promise<void> {
  const { values } = readArguments();
  if (values.help === true) {
    process.stdout.write(help);
    return;
  }
  if (values.version === true) {
    process.stdout.write(`${version}\n`);
    return;
  }
  const { env } = process;
  const maxCharacters =
    readCount("--max-characters", values["max-characters"]) ?? defaultLimits.maxCharacters;
  const maxDocuments = readCount("--max-documents", values["max-documents"]) ?? defaultLimits.maxDocuments;
  const threads =
    values.threads === undefined
      ? readCount("CROSSRANK_THREADS", env["CROSSRANK_THREADS"] || undefined)
      : readCount("--threads", values.threads);
  const output = claimStandardOutput();
  // Loaded behind the flags: help and a wrong flag wait for nothing.
  const [{ StdioServerTransport }, { createRerankServer }] = await Promise.all([
    import("@modelcontextprotocol/sdk/server/stdio.js"),
    import("./rerank-server.js"),
  ]);
  const server = createRerankServer(values.model ?? (env["CROSSRANK_MODEL"] || "nano"), {
    backend: values.backend ?? (env["CROSSRANK_BACKEND"] || undefined),
    threads,
    offline: values.offline === true ? true : undefined,
    maxDocuments,
    maxCharacters,
  });
  const transport = new StdioServerTransport(process.stdin, output, {
    // Texts that are too long are refused by the tool, which can say so; this bounds what is held in memory.
    maxBufferSize: 2 * bytesOfCharacter * maxCharacters + 65_536 + 16 * maxDocuments,
  });
  endWithInput(server, output);
  server.server.server.onerror = (error) => process.stderr.write(`crossrank-mcp: ${error.message}\n`);
  await server.server.connect(transport);
}

function readArguments(): { values: ReturnType<typeof parse>["values"] } {
  try {
    return parse();
  } catch (error) {
    throw new UsageError(`${(error as Error).message.split("\n")[0]}`);
  }
}

const parse = () =>
  parseArgs({
    options: {
      model: { type: "string" },
      backend: { type: "string" },
      threads: { type: "string" },
      offline: { type: "boolean" },
      "max-documents": { type: "string" },
      "max-characters": { type: "string" },
      help: { type: "boolean", short: "h" },
      version: { type: "boolean", short: "v" },
    },
  });

function readCount(name: string, text: string | undefined): number | undefined {
  if (text === undefined) return undefined;
  const count = Number(text);
  if (/^\d+$/.test(text) && count > 0 && count <= 2 ** 31 - 1) return count;
  throw new UsageError(`${name} must be a whole number above 0, not ${text}`);
}

/** The protocol alone writes to standard output: whatever else would, a library's console.log too, goes to errors. */
function claimStandardOutput(): Writable {
  const write = process.stdout.write.bind(process.stdout);
  process.stdout.write = process.stderr.write.bind(process.stderr);
  return new Writable({
    write(chunk: Buffer, _encoding, done) {
      write(chunk, (error) => done(error ?? undefined));
    },
  });
}

/** Ends with the client: when it closes our input, no longer reads, or asks by a signal. */
function endWithInput(server: RerankServer, output: Writable): void {
  let isEnding = false;
  const end = (): void => {
    if (isEnding) return;
    isEnding = true;
    process.exitCode ??= 0;
    // What keeps the process up after that is none of the client's concern.
    server.dispose().then(() => process.exit(), fail);
  };
  process.stdin.on("end", end).on("close", end);
  output.on("error", end);
  process.stdout.on("error", end);
  // Closed by the transport, behind a message that is too long.
  server.server.server.onclose = () => {
    if (!isEnding) process.exitCode = 1;
    end();
  };
  for (const signal of ["SIGINT", "SIGTERM", "SIGHUP"] as const) process.on(signal, end);
}

function fail(error: unknown): void {
  process.stderr.write(`crossrank-mcp: ${error instanceof Error ? error.message : String(error)}\n`);
  process.exit(1);
}

serve().catch((error: unknown) => {
  if (!(error instanceof UsageError)) return fail(error);
  process.stderr.write(`crossrank-mcp: ${error.message}\ncrossrank-mcp --help lists the options.\n`);
  process.exitCode = 2;
});

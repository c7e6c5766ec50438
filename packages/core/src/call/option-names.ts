import { InvalidInputError } from "../contract/errors.js";
import { type OptionType, requireOptionsObject, requireOptionType } from "./option-types.js";

/**
 * Every option of a call, by name, with the type of its value, or true where the call looks at that itself. An interface
 * that gains an option does not compile without it here, nor with a type that its values do not have.
 */
export type OptionNames<Options> = {
  readonly [Name in keyof Required<Options>]: true | TypeOf<Exclude<Options[Name], undefined>>;
};

type TypeOf<Value> = [Value] extends [boolean]
  ? "boolean"
  : [Value] extends [number]
    ? "number"
    : [Value] extends [string]
      ? "string" | "name"
      : [Value] extends [AbortSignal]
        ? "AbortSignal"
        : [Value] extends [(...given: never[]) => unknown]
          ? "function"
          : [Value] extends [object]
            ? "object"
            : never;

/** What others call an option, in small letters without `_` and `-`: on the left our name. */
const otherNames: Readonly<Record<string, string>> = {
  topK: "topn k n top limit",
  topN: "topk k n top limit topnresults numresults maxresults numdocuments resultcount",
  maxLength:
    "maxtokens maxlen maxseqlength maxsequencelength modelmaxlength maxinputlength maxtokensperdoc sequencelength",
  truncation: "truncate truncationstrategy",
  returnDocuments: "includedocuments returndocs withdocuments returntext returninput includetext",
  returnCacheKey: "includecachekey",
  query: "question search q",
  queries: "questions searches query",
  text: "textfield textfields fields rankfields textkey",
  longDocuments: "longdocument longtexts chunk chunks chunking longdocs",
  aggregate: "aggregation pooling",
  passageTokens: "chunksize chunktokens chunklength maxtokens windowsize passagelength size",
  overlapTokens: "overlap chunkoverlap stride",
  maxPassages: "maxchunks maxchunksperdoc mostchunks mostpassages",
  spans: "maxspans relevantspans",
  documents: "docs passages texts corpus candidates inputs sentences contents",
  dtype: "precision quantized quantised quantization quantisation quant torchdtype weightsdtype bits",
  backend: "engine device provider runtimename",
  workers: "concurrency replicas instances copies processes poolsize parallelism",
  contexts: "workers worker numworkers copies sequences",
  sessions: "workers worker numworkers copies",
  threads: "intraopnumthreads nthreads cpus cores cputhreads",
  executionProviders: "device providers ep eps accelerator gpu cuda",
  sessionOptions: "graphoptimizationlevel graphoptimisationlevel executionmode interopnumthreads",
  gpu: "device gpulayers usegpu cuda",
  computeUnits: "device units",
  signal: "abortsignal abort abortcontroller controller canceltoken cancellationtoken",
  timeBudget: "timeout timeoutms timelimit deadline maxtime budget",
  milliseconds: "ms millis timeout time duration",
  whenExceeded: "onexceeded onexceed then mode",
  whenAborted: "onabort onaborted",
  whenExhausted: "onexhausted",
  cacheFolder: "cachedir cachepath cache cachedirectory",
  offline: "localfilesonly localonly nonetwork",
  revision: "branch tag commit",
  lock: "lockfile lockpath",
  lockFile: "lock lockpath",
  token: "apikey hftoken accesstoken auth",
  endpoint: "baseurl url host",
  retry: "retries maxretries",
  instruction: "prompt instruct task systemprompt",
  batch: "batchsize batching",
  batches: "batch batchsize",
  rows: "size batchsize maxrows",
  tokens: "maxtokens maxbatchtokens",
  onProgress: "progress progresscallback onprogressevent callback",
  onNotice: "onwarning log logger",
  model: "modelid modelname modelpath modelfolder repo repoid files modelfiles",
  file: "modelfile filename modelfilename artifact onnxfile",
  probe: "check warmup validate selftest",
  profile: "config overrides configuration",
  variants: "fallbacks fallback chain",
  isolation: "sandbox isolate process",
  deadlines: "timeouts timeout",
  as: "type kind inputtype task mode",
};

/** Where an option belongs that is none of the call's. */
const homes: readonly (readonly [names: string, where: string])[] = [
  ["query documents topN returnDocuments text", "rerank"],
  ["queries", "rerankMany"],
  ["timeBudget whenAborted returnCacheKey signal", "rerank and score"],
  ["longDocuments", "rerank, score and createReranker"],
  ["model dtype maxLength truncation profile probe instruction backend", "createReranker and openReranker"],
  ["revision offline cacheFolder", "openModel and openReranker"],
  ["whenExhausted onFallback", "openReranker with variants"],
];

/** Of backends, by one that has them; `@` stands for the option. */
const homesInBackends: typeof homes = [
  ["threads workers file batch isolation deadlines executionProviders sessionOptions", "onnx"],
  ["gpu contexts flashAttention", "llamacpp"],
  ["sessions", "mnn"],
  ["computeUnits", "coreml"],
].map(([names = "", maker]) => [names, `the backend, as in ${maker}({ @: … })`]);

/** Longer names are no misspelling of any. */
const longestName = 40;

/**
 * Refuses options that a call does not know, and values of another type than the option's, so that nothing is misspelt
 * in silence. A value that is undefined is none.
 *
 * @param known its options. One with a type is read here, and so once more than by the call.
 * @param call its name, for the message.
 * @param path where the options are in the arguments, if not at their top, e.g. `"timeBudget"`.
 * @param form what to write in place of what holds no options, for the message; `@` stands for the call.
 * @throws {InvalidInputError} that says what to write.
 */
export function requireKnownOptions(
  given: object,
  known: Readonly<Record<string, true | OptionType>>,
  call: string,
  path?: string,
  form?: string,
): void {
  requireOptionsObject(given, path ?? "options", form?.replace("@", call));
  const at = (name: string): string => (path === undefined ? name : `${path}.${name}`);
  const values = given as Readonly<Record<string, unknown>>;
  for (const name of Object.keys(given)) {
    if (Object.hasOwn(known, name) || values[name] === undefined) continue;
    const shown = name.length > longestName ? `${name.slice(0, longestName)}…` : name;
    throw new InvalidInputError(
      at(shown),
      `is not an option of ${call}: ${advice(name, Object.keys(known), call)}`,
    );
  }
  for (const name in known) {
    const type = known[name];
    if (type !== undefined && type !== true) requireOptionType(values[name], type, at(name));
  }
}

function advice(name: string, known: readonly string[], call: string): string {
  const opening = /^open\w+/.exec(call)?.[0];
  // A backend's own call has told which are its options: another's are of no use there.
  const places = call.endsWith("()") ? homes : [...homes, ...homesInBackends];
  const home = (find: (all: readonly string[]) => string | undefined): string | undefined => {
    for (const [names, where] of places) {
      const there = find(names.split(" "));
      if (there !== undefined)
        return `${there === name ? "it" : there} is an option of ${where.replace("@", there)}`;
    }
    return undefined;
  };
  // What is written as elsewhere is no other name of an option here.
  const isOwn =
    (opening !== undefined && name === "model") ||
    known.some((one) => otherNames[one]?.split(" ").includes(name.toLowerCase()));
  const elsewhere = isOwn ? undefined : home((all) => all.find((one) => one === name));
  if (elsewhere !== undefined) return elsewhere;
  const right = nearest(name, known);
  if (right === "dtype") return 'write dtype, e.g. dtype: "int8"';
  if (right === "sessionOptions") return `write sessionOptions: { ${name}: … }`;
  if (right !== undefined) return `write ${right}`;
  if (opening !== undefined && nearest(name, ["model"]) !== undefined) {
    return name === "files"
      ? "each file is loaded when it is needed"
      : `the model stands before the options, as in ${opening}(model, { … })`;
  }
  return home((all) => nearest(name, all)) ?? `there are ${known.join(", ")}`;
}

/** The option that somebody means who writes `name`. */
function nearest(name: string, known: readonly string[]): string | undefined {
  if (name.length > longestName) return undefined;
  const plain = plainName(name);
  const same = known.find((one) => plainName(one) === plain);
  if (same !== undefined) return same;
  const synonym = known.find((one) =>
    otherNames[one]?.split(" ").some((other) => plainName(other) === plain),
  );
  if (synonym !== undefined) return synonym;
  let best: string | undefined;
  let least = Number.POSITIVE_INFINITY;
  for (const one of known) {
    const distance = editDistance(plain, plainName(one));
    if (distance < least && distance <= Math.min(2, Math.floor(Math.min(one.length, plain.length) / 3))) {
      [best, least] = [one, distance];
    }
  }
  return best;
}

/** `max_length`, `max-length` and `maxlength` are one; so are singular and plural, also with `num`. */
function plainName(name: string): string {
  return name
    .toLowerCase()
    .replace(/[_-]/g, "")
    .replace(/^num(?=[a-z])|s$/g, "");
}

/** Letters to insert, remove, replace or swap with the next. */
function editDistance(a: string, b: string): number {
  let before: number[] = [];
  let row = Array.from({ length: b.length + 1 }, (_, index) => index);
  for (let i = 1; i <= a.length; i += 1) {
    const next = [i];
    for (let j = 1; j <= b.length; j += 1) {
      const cost = a[i - 1] === b[j - 1] ? 0 : 1;
      let best = Math.min((next[j - 1] ?? 0) + 1, (row[j] ?? 0) + 1, (row[j - 1] ?? 0) + cost);
      if (i > 1 && j > 1 && a[i - 1] === b[j - 2] && a[i - 2] === b[j - 1]) {
        best = Math.min(best, (before[j - 2] ?? 0) + 1);
      }
      next.push(best);
    }
    [before, row] = [row, next];
  }
  return row[b.length] ?? 0;
}

import { InvalidInputError } from "../contract/errors.js";

/** Every option of a call, by name; a type that gains one does not compile without it here. */
export type OptionNames<Options> = { readonly [Name in keyof Required<Options>]: true };

/** What others call an option, in small letters without `_` and `-`: on the left our name. */
const otherNames: Readonly<Record<string, string>> = {
  topN: "topk k n top limit topnresults numresults maxresults numdocuments resultcount",
  maxLength:
    "maxtokens maxlen maxseqlength maxsequencelength modelmaxlength maxinputlength maxtokensperdoc sequencelength",
  truncation: "truncate truncationstrategy",
  returnDocuments: "includedocuments returndocs withdocuments returntext returninput includetext",
  returnCacheKey: "includecachekey",
  query: "question search q",
  documents: "docs passages texts corpus candidates inputs sentences contents",
  dtype: "precision quantized quantization quantisation quant torchdtype weightsdtype bits",
  backend: "engine device provider runtimename",
  workers: "concurrency replicas instances copies processes poolsize parallelism",
  contexts: "workers worker numworkers copies sequences",
  sessions: "workers worker numworkers copies",
  threads: "intraopnumthreads nthreads cpus cores cputhreads",
  executionProviders: "device providers ep eps accelerator",
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
  model: "modelid modelname modelpath modelfolder repo repoid",
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
  ["query documents topN returnDocuments", "is an option of rerank"],
  ["timeBudget whenAborted returnCacheKey", "is an option of rerank and score"],
  [
    "model dtype maxLength truncation profile probe instruction",
    "is an option of createReranker and openReranker",
  ],
  ["backend", "is an option of createReranker and openReranker"],
  ["revision offline cacheFolder", "is an option of openModel and openReranker"],
  [
    "threads workers file batch isolation deadlines executionProviders gpu",
    "is an option of the backend, as in onnx({ threads: 2 })",
  ],
];

/** Longer names are no misspelling of any. */
const longestName = 40;

/**
 * Refuses options that a call does not know, so that none is misspelt in silence. A value that is undefined is none.
 *
 * @param known its options.
 * @param call its name, for the message.
 * @param path where the options are in the arguments, if not at their top, e.g. `"timeBudget"`.
 * @throws {InvalidInputError} that says what to write.
 */
export function requireKnownOptions(
  given: object,
  known: Readonly<Record<string, true>>,
  call: string,
  path?: string,
): void {
  for (const name of Object.keys(given)) {
    if (Object.hasOwn(known, name) || (given as Record<string, unknown>)[name] === undefined) continue;
    const shown = name.length > longestName ? `${name.slice(0, longestName)}…` : name;
    const place = path === undefined ? shown : `${path}.${shown}`;
    throw new InvalidInputError(place, `is not an option of ${call}: ${advice(name, Object.keys(known))}`);
  }
}

function advice(name: string, known: readonly string[]): string {
  const right = nearest(name, known);
  if (right !== undefined) return `write ${right}${right === "dtype" ? ', e.g. dtype: "int8"' : ""}`;
  for (const [names, where] of homes) {
    const there = nearest(name, names.split(" "));
    if (there !== undefined) return `${there === name ? "it" : there} ${where}`;
  }
  return `there are ${known.join(", ")}`;
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

// What the bench's files pass to each other. Types only; nothing here runs.

/** Size of a BERT encoder. */
export interface Shape {
  readonly layers: number;
  readonly hidden: number;
  readonly heads: number;
  readonly intermediate: number;
  readonly positions: number;
  /** Rows of the embedding table, at least; more where the tokenizer has more tokens. */
  readonly vocabulary: number;
}

/** A model on disk, as Hugging Face lays it out. */
export interface BenchModel {
  readonly name: string;
  readonly folder: string;
  /** The .onnx file, relative to the folder. */
  readonly file: string;
  /** Precision by transformers.js's name. */
  readonly dtype: string;
  /** Whether model.safetensors holds the same weights, for torch. */
  readonly safetensors: boolean;
}

/** What a contestant is told when it loads. */
export interface Setup {
  readonly model: BenchModel;
  readonly query: string;
  readonly documents: readonly string[];
  readonly options: ContestantOptions;
}

/** How raw onnxruntime is used, or which backend and precision of crossrank or of sentence-transformers. */
export interface ContestantOptions {
  /** Rows of a batch, sorted by length; "all" puts everything into one batch, in input order. */
  readonly rows?: number | "all";
  /** Worker threads with a session each; 0 is one session in the main thread. */
  readonly workers?: number;
  /** Threads of a session; undefined leaves it to ONNX Runtime. */
  readonly threads?: number | undefined;
  readonly backend?: "torch" | "onnx" | "llamacpp" | "mnn" | "ctranslate2" | "mlx";
  /** What crossrank's {@link backend} is told; nothing leaves it at its defaults. */
  readonly settings?: Readonly<Record<string, unknown>>;
  /** Most tokens of a pair, where the contestant does not read it from the model. */
  readonly positions?: number;
  /** By the backend's name, e.g. "int8", "Q8_0", "bf16"; undefined leaves it to the contestant. */
  readonly dtype?: string | undefined;
}

/** A model in the memory of a contestant. */
export interface Loaded {
  /** What ran, e.g. "onnxruntime-node 1.30.0". */
  readonly version: string;
  /** Whether some of the work is in child processes, so that their memory counts too. */
  readonly hasChildren?: boolean;
  score(query: string, documents: readonly string[]): Promise<Scored>;
  dispose(): Promise<void>;
}

export interface Scored {
  /** In the order of the documents. */
  readonly logits: readonly number[];
  /** Whether the document was cut; undefined when the contestant does not say. */
  readonly truncated?: readonly boolean[] | undefined;
  /** Real tokens of each pair, where the contestant says. */
  readonly tokens?: readonly number[] | undefined;
}

/** Milliseconds by which timers of the event loop came late. */
export interface EventLoopDelay {
  readonly p50: number;
  readonly p99: number;
  readonly max: number;
}

export interface RunAnswer extends Scored {
  readonly seconds: number;
  /** Seconds of processor time, of the process and its children; undefined where the platform does not tell. */
  readonly processorSeconds?: number | undefined;
  /** Undefined outside Node. */
  readonly delay?: EventLoopDelay | undefined;
  /** Peak resident memory of the process and its children so far, in bytes; undefined where the platform does not tell. */
  readonly peakMemory?: number | undefined;
}

/** Who competes, and how its process is started. */
export interface Contestant {
  readonly name: string;
  readonly title: string;
  readonly command: string;
  readonly args: readonly string[];
  readonly options: ContestantOptions;
  readonly sweep: boolean;
  /** What it is told in place of what all are told. */
  readonly setup?: Partial<Pick<Setup, "model" | "documents">>;
}

export interface Skipped {
  readonly title: string;
  readonly reason: string;
}

export interface Result {
  readonly name: string;
  readonly title: string;
  readonly version: string;
  /** Documents a second, median over the runs. */
  readonly rate: number;
  /** Seconds of each timed run. */
  readonly seconds: readonly number[];
  readonly delay: EventLoopDelay | undefined;
  readonly peakMemory: number | undefined;
  /** Largest difference in logits to crossrank's, over documents that crossrank did not cut; undefined without crossrank. */
  readonly difference: number | undefined;
  /** Speed over crossrank's, in the rounds that both ran in; undefined without crossrank, and for one whose logits disagree. */
  readonly ratio: number | undefined;
}

/** One cell of the raw sweep, timed once to choose the finalists. */
export interface SweepCell {
  readonly workers: number;
  readonly threads: number;
  readonly rows: number;
  readonly rate: number;
}

export interface Aim {
  readonly text: string;
  /** Undefined when a contestant that it needs did not run. */
  readonly met: boolean | undefined;
}

export interface ModelReport {
  readonly model: string;
  readonly dtype: string;
  readonly bytes: number;
  readonly documents: {
    readonly count: number;
    readonly truncated: number;
    readonly tokens: { readonly least: number; readonly mean: number; readonly most: number };
  };
  /** Spread of crossrank's logits, so that an agreement means something. */
  readonly logits: { readonly least: number; readonly most: number };
  readonly results: readonly Result[];
  readonly sweep: readonly SweepCell[];
  readonly skipped: readonly Skipped[];
  readonly aims: readonly Aim[];
}

export interface Machine {
  readonly processor: string;
  /** Of those that decide about bf16 and int8, which the processor has; undefined where the platform does not tell. */
  readonly features: readonly string[] | undefined;
  readonly threads: number;
  readonly memory: number;
  readonly platform: string;
  readonly node: string;
}

/** Kinds of numbers whose products have a floor. */
export type FloorKind = "fp32" | "bf16" | "int8";

/** Multiply-adds that a thread does in a second of its time, by kind; kinds that the processor lacks are missing. */
export type Floor = Partial<Record<FloorKind, { readonly instruction: string; readonly perSecond: number }>>;

/** Of processor times in rounds that two had in turn. */
export interface Ratio {
  /** Geometric mean of the rounds. */
  readonly value: number;
  /** The two-sided interval of 95 %, by bootstrap over the rounds. */
  readonly lower: number;
  readonly upper: number;
  /** One-sided, of 95 %. */
  readonly upperBound: number;
  readonly rounds: number;
}

/** An engine in a table of engines. */
export interface EngineResult {
  readonly name: string;
  readonly title: string;
  readonly version: string;
  /** Bytes of the artifact; undefined where the weights are read from model.safetensors. */
  readonly bytes: number | undefined;
  /** Milliseconds of processor time of a document, median over the rounds; undefined where the platform does not tell. */
  readonly processor: number | undefined;
  /** Wall-clock milliseconds of a document, median over the rounds. */
  readonly wall: number;
  /** Its processor time over the reference's; undefined for the reference itself. */
  readonly ratio: Ratio | undefined;
  /** Time at the floor over its processor time, median over the rounds, 0 to 1. */
  readonly share: number | undefined;
  readonly peakMemory: number | undefined;
  /** Largest difference in logits to crossrank's in fp32; undefined without that one. */
  readonly difference: number | undefined;
  readonly rounds: number;
}

/** Engines that ran one after the other in every round. */
export interface EngineTable {
  readonly title: string;
  readonly reference: string;
  readonly results: readonly EngineResult[];
  /** Engines that the table should have and has not, each with its reason. */
  readonly missing: readonly Skipped[];
  /** Median over the rounds. */
  readonly floor: Floor;
  /** Why there is no floor. */
  readonly noFloor: string | undefined;
  readonly load: readonly [before: number, after: number];
}

/** What a part of the bench puts on the page, and what of it is kept. */
export interface PartReport {
  /** Markdown, without a title. */
  readonly page: string;
  /** Small numbers by name, for the history. */
  readonly kept: Readonly<Record<string, unknown>>;
  /** Everything, for --json. */
  readonly report: unknown;
}

/** What a part is asked for. */
export interface PartOptions {
  readonly documents: number;
  readonly rounds: number;
  readonly only: readonly string[] | undefined;
  /** Shape of the model, for the tests. */
  readonly shape: "minilm" | "tiny";
}

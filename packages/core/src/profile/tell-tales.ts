// What models and files look like that crossrank does not read, so that a refusal says what they are.

import { lfsPointer, pointerProblem } from "../files/model-reader.js";
import { quantisedTensorAmong, quantiserOf } from "./quantised.js";

/** What the table looks at. Everything is there or stands for nothing: no tell-tale fails on a file that is missing. */
export interface Evidence {
  readonly paths: readonly string[];
  /** config.json; empty where there is none that can be read. So are the others. */
  readonly config: Readonly<Record<string, unknown>>;
  /** config_sentence_transformers.json. */
  readonly settings: Readonly<Record<string, unknown>>;
  /** adapter_config.json. */
  readonly adapter: Readonly<Record<string, unknown>>;
  /** Class paths of modules.json. */
  readonly modules: readonly string[];
  /** The beginnings of files that are at hand, by their paths. */
  readonly heads: ReadonlyMap<string, Uint8Array>;
  /** Names and types of the tensors of safetensors that are at hand, by the files' paths. */
  readonly tensors: ReadonlyMap<string, ReadonlyMap<string, string>>;
}

/** What a tell-tale found: the files that show it, and what they are, as a sentence without its period. */
export interface Sign {
  readonly files: readonly string[];
  readonly what: string;
}

export interface TellTale {
  /** Short, for lists. */
  readonly name: string;
  readonly find: (evidence: Evidence) => Sign | undefined;
  /** What to do, where the model that it was made from is known or not: a sentence without its period. */
  readonly fix: (base: string | undefined) => string;
  /** It is no reranker of any family here, though its files may read like one of them. */
  readonly misleads?: boolean;
}

/** The bytes of a file's beginning that tell-tales look at. */
export const headBytes = 512;

const useBase =
  (otherwise: string) =>
  (base: string | undefined): string =>
    base === undefined ? otherwise : `Use the model that it was made from: ${base}`;

const useWeights = useBase(
  "Use the model that it was made from, with files of a format that is read (its card may name it)",
);

const choose = (): string => "Choose a reranker of another kind";

function strings(value: unknown): readonly string[] {
  return Array.isArray(value) ? value.filter((one) => typeof one === "string") : [];
}

function isObject(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

/** A string of a file; an object that calls itself one is none. */
function wordOf(value: unknown): string {
  return typeof value === "string" ? value : "";
}

/** Of the file's own words, no more than a message can hold. */
function shown(value: unknown): string {
  const word = typeof value === "number" || typeof value === "boolean" ? `${value}` : wordOf(value);
  const text = word.slice(0, 200).replace(/[^\x20-\x7e]+/g, "?");
  return text.length > 60 ? `${text.slice(0, 60)}…` : text;
}

/** How architectures of config.json is shown. */
function architectureOf({ config }: Evidence): string {
  return shown(strings(config["architectures"])[0] ?? config["model_type"] ?? "nothing");
}

function hasArchitecture({ config }: Evidence, pattern: RegExp): boolean {
  return strings(config["architectures"]).some((name) => pattern.test(name));
}

function fromConfig(when: boolean, what: string): Sign | undefined {
  return when ? { files: ["config.json"], what } : undefined;
}

/** Weights that belong to an adapter; a repository that also has its model's own is whole. */
const adapterWeights = /^adapter_model\.(safetensors|bin)$/;
const weightEndings = /\.(safetensors|bin|pt|pth|onnx|gguf|mnn|h5|msgpack)$/i;

/** `model_type`s of encoder-decoders that say it by nothing else in their files. */
const encoderDecoders = new Set([
  "bart",
  "blenderbot",
  "fsmt",
  "longt5",
  "m2m_100",
  "marian",
  "mbart",
  "mt5",
  "mvp",
  "nllb-moe",
  "pegasus",
  "prophetnet",
  "switch_transformers",
  "t5",
  "t5gemma",
  "t5gemma2",
  "umt5",
]);

/** Modules of sentence-transformers whose vectors have an entry a word of the vocabulary. */
const sparseModules = /(?:^|\.)(MLMTransformer|SpladePooling|SparseAutoEncoder|SparseStaticEmbedding|IDF)$/;

/** A kind of model, and a form of weights. */
const adapter: TellTale = {
  name: "adapter",
  find: ({ paths, adapter }) => {
    const files = paths.filter((path) => path === "adapter_config.json" || adapterWeights.test(path));
    const others = paths.some((path) => weightEndings.test(path) && !adapterWeights.test(path));
    if (files.length === 0 || others) return undefined;
    const kind = typeof adapter["peft_type"] === "string" ? ` (${shown(adapter["peft_type"])})` : "";
    return { files, what: `it is an adapter${kind}: changes to another model's weights, and no model` };
  },
  fix: (base) =>
    `Merge it into ${base ?? "the model that adapter_config.json names"} with PEFT's merge_and_unload, save that with its tokenizer, and use the result`,
};

/** Kinds of models, whatever their format. The first that fits is named. */
export const modelTellTales: readonly TellTale[] = [
  adapter,
  {
    name: "MNN-LLM",
    find: ({ paths, config }) => {
      const files = paths.filter((path) =>
        /(?:^|\/)(llm\.mnn(\.json|\.weight)?|llm_config\.json)$/.test(path),
      );
      const isNamed = "llm_model" in config && "llm_weight" in config;
      return files.length === 0 && !isNamed
        ? undefined
        : {
            files: files.length === 0 ? ["config.json"] : files,
            what: "it is an export for MNN-LLM, which generates text and gives no scores",
          };
    },
    fix: useBase(
      "Use the model that it was made from, and make an MNN file of it with crossrank convert --to mnn",
    ),
  },
  {
    name: "late interaction",
    misleads: true,
    find: (evidence) => {
      const { paths, config, settings, modules } = evidence;
      // In one of the two forms that are read: what is wrong with it is said by whoever reads it.
      const isRead =
        modules.length === 0
          ? config["model_type"] === "bert" && paths.includes("artifact.metadata")
          : modules.length > 1 &&
            modules.every((name, at) => name.endsWith(at === 0 ? ".Transformer" : ".Dense"));
      if (isRead && (modules.length > 0 || hasArchitecture(evidence, /^HF_ColBERT$/))) return undefined;
      const what =
        "it is a late interaction model (ColBERT), which compares a vector a token by MaxSim, in a form that is not read: " +
        "neither PyLate's (modules.json: Transformer, Dense) nor the original's (HF_ColBERT and artifact.metadata)";
      if (modules.some((name) => name.startsWith("pylate."))) return { files: ["modules.json"], what };
      const similarity = settings["similarity_fn_name"];
      if (
        (typeof similarity === "string" && similarity.toLowerCase() === "maxsim") ||
        "do_query_expansion" in settings ||
        "skiplist_words" in settings
      )
        return { files: ["config_sentence_transformers.json"], what };
      if (
        hasArchitecture(evidence, /colbert/i) ||
        /colbert|colpali|colqwen/i.test(wordOf(config["model_type"]))
      )
        return { files: ["config.json"], what };
      return paths.includes("artifact.metadata") ? { files: ["artifact.metadata"], what } : undefined;
    },
    fix: choose,
  },
  {
    name: "sparse encoder",
    misleads: true,
    find: ({ settings, modules }) => {
      const what =
        "it is a sparse encoder (SPLADE and its kind), whose vectors have an entry a word of its vocabulary";
      if (modules.some((name) => sparseModules.test(name))) return { files: ["modules.json"], what };
      return settings["model_type"] === "SparseEncoder"
        ? { files: ["config_sentence_transformers.json"], what }
        : undefined;
    },
    fix: choose,
  },
  {
    name: "vision",
    find: (evidence) => {
      const { paths, config, modules } = evidence;
      const files = [
        ...(isObject(config["vision_config"]) ||
        hasArchitecture(evidence, /VL(?=For|Model)|Vision|CLIP|Siglip|Llava|PaliGemma|Idefics|^ViT/i) ||
        /(^|_)vl(_|$)|vision|^clip|^siglip|^llava|^paligemma|^idefics/.test(wordOf(config["model_type"]))
          ? ["config.json"]
          : []),
        ...(modules.some((name) => /(?:^|\.)CLIPModel$/.test(name)) ? ["modules.json"] : []),
        ...paths.filter((path) =>
          /^((?:video_)?preprocessor_config\.json|processor_config\.json|image_processor[^/]*)$/.test(path),
        ),
        ...paths.filter((path) => /mmproj[^/]*\.gguf$/i.test(path)),
      ];
      return files.length === 0
        ? undefined
        : { files, what: `it is a vision model, of images and text (${architectureOf(evidence)})` };
    },
    fix: () =>
      "Choose a reranker of texts: images are not read, and its texts stand in a prompt made for both",
  },
  {
    name: "layer-wise",
    find: (evidence) =>
      fromConfig(
        hasArchitecture(evidence, /^(LayerWise|CostWise)/) ||
          "start_layer" in evidence.config ||
          "layer_wise" in evidence.config,
        `architectures says ${architectureOf(evidence)}, which scores after any of several layers, by Python code of its own (auto_map)`,
      ),
    fix: choose,
  },
  {
    name: "encoder-decoder",
    find: (evidence) => {
      const { config } = evidence;
      const is =
        config["is_encoder_decoder"] === true ||
        encoderDecoders.has(wordOf(config["model_type"])) ||
        hasArchitecture(evidence, /ForConditionalGeneration$/);
      // A classifier on it, or its encoder alone, needs no decoder.
      const isPart = hasArchitecture(evidence, /(ForSequenceClassification|EncoderModel)$/);
      return fromConfig(
        is && !isPart,
        `it is an encoder-decoder (${architectureOf(evidence)}), which answers with a word that its decoder writes, as MonoT5 does`,
      );
    },
    fix: choose,
  },
  {
    name: "own code",
    find: (evidence) => {
      const map = evidence.config["auto_map"];
      const code = isObject(map) ? Object.keys(map).filter((name) => name.startsWith("AutoModel")) : [];
      const isLanguageModel = hasArchitecture(evidence, /ForCausalLM$/);
      return fromConfig(
        code.length > 0 && !isLanguageModel && !hasArchitecture(evidence, /ForSequenceClassification$/),
        `Python code of its repository decides how it scores (auto_map ${code.map(shown).join(", ")}, architectures ${architectureOf(evidence)})`,
      );
    },
    fix: () =>
      "Choose another model, or say what it is in a crossrank.json (family, head, activation and pairTemplate), from what its code does",
  },
  {
    name: "masked language model",
    find: (evidence) =>
      fromConfig(
        hasArchitecture(evidence, /ForMaskedLM$/) && evidence.modules.length === 0,
        `architectures says ${architectureOf(evidence)}: it fills gaps in a text, or is a sparse encoder (SPLADE), and has no score for a pair`,
      ),
    fix: () =>
      "Choose a reranker that was trained from it, or say what it is in a crossrank.json (family, head, activation)",
  },
];

/** A format by the names of its files, and by how they begin where that is at hand. */
interface FileTellTale extends TellTale {
  /** It says so before anything else that may be wrong with the model: nothing helps but other weights. */
  readonly goesFirst?: boolean;
}

/**
 * @param begins whether a file of such a name is of the format; content decides where it is at hand.
 * @param anyName whether content alone shows it, whatever the name.
 */
function ofFiles(
  names: RegExp,
  what: string,
  { begins, anyName }: { begins?: (head: Uint8Array) => boolean; anyName?: boolean } = {},
): TellTale["find"] {
  return ({ paths, heads }) => {
    const files = paths.filter((path) => {
      const head = heads.get(path);
      if (head === undefined || head.length === 0 || begins === undefined) return names.test(path);
      return begins(head) && (anyName === true || names.test(path));
    });
    return files.length === 0 ? undefined : { files, what };
  };
}

function text(head: Uint8Array): string {
  return String.fromCharCode(...head);
}

function startsWith(...starts: readonly string[]): (head: Uint8Array) => boolean {
  return (head) => starts.some((start) => text(head.subarray(0, start.length)) === start);
}

/** A pickle of protocol 2 to 5, or the archive that torch.save makes of one. */
function isPickle(head: Uint8Array): boolean {
  return startsWith("PK\x03\x04")(head) || (head[0] === 0x80 && (head[1] ?? 0) >= 2 && (head[1] ?? 0) <= 5);
}

/** The version in four bytes, a length in two, and the name of the model's specification. */
function isCTranslate2(head: Uint8Array): boolean {
  return (
    (head[0] ?? 0) < 32 && head[1] === 0 && /^[A-Za-z]\w*(Spec|Config)\0/.test(text(head.subarray(6, 80)))
  );
}

function isOpenVino(head: Uint8Array): boolean {
  const plain = text(head)
    .replace(/^\xef\xbb\xbf/, "")
    .replace(/<!--[\s\S]*?-->/g, "");
  return /^\s*(?:<\?xml[^>]*\?>)?\s*<net[\s/>]/.test(plain);
}

/** Files that say nothing of the weights: texts, tables, settings, tokenizers, pictures. */
const besides =
  /(?:^|\/)(?:\.[^/]*|LICEN[CS]E[^/]*|[^/]*\.(?:json|jsonl|txt|md|jinja|model|py|ipynb|ya?ml|toml|lock|sh|png|jpe?g|svg|gif|webp|pdf|csv|tsv|html|metadata|spm|vocab|tiktoken|bpe|log|dat))$/i;

/** Formats of weights. Several may be found at once. */
export const fileTellTales: readonly FileTellTale[] = [
  adapter,
  {
    name: "Git LFS pointer",
    goesFirst: true,
    find: ({ heads }) => {
      const files = [...heads].filter(([, head]) => startsWith(lfsPointer)(head)).map(([path]) => path);
      return files.length === 0 ? undefined : { files, what: `it ${pointerProblem[0]}` };
    },
    fix: () => pointerProblem[1],
  },
  {
    name: "quantised safetensors",
    goesFirst: true,
    find: ({ paths, config, tensors }) => {
      const files = paths.filter((path) => path.endsWith(".safetensors") && !path.includes("/"));
      const how = files.length === 0 ? undefined : quantiserOf(config);
      if (how !== undefined)
        return { files, what: `its weights are quantised by ${how}, and are no floats to convert` };
      for (const path of files) {
        const found = quantisedTensorAmong(tensors.get(path) ?? new Map());
        if (found === undefined) continue;
        const by = found.program ?? "another program";
        const kind = found.numbers === undefined ? "" : ` to ${found.numbers}`;
        const what = `its weights are quantised${kind} by ${by} (tensor ${shown(found.tensor)}), and are no floats to convert`;
        return { files: [path], what };
      }
      return undefined;
    },
    fix: useBase("Use the model that it was made from (its card may name it)"),
  },
  {
    name: "GGUF by another name",
    find: ({ heads }) => {
      const files = [...heads]
        .filter(([path, head]) => startsWith("GGUF")(head) && !/\.gguf$/i.test(path))
        .map(([path]) => path);
      return files.length === 0 ? undefined : { files, what: "it is a GGUF file by its content" };
    },
    fix: () => "Give it a name that ends in .gguf",
  },
  {
    name: "OpenVINO",
    goesFirst: true,
    find: (evidence) => {
      const { paths } = evidence;
      const found = ofFiles(/(?:^|\/)openvino_[^/]*\.xml$/i, "OpenVINO files are not read", {
        begins: isOpenVino,
        anyName: true,
      })(evidence);
      if (found === undefined) return undefined;
      const stems = new Set(found.files.map((path) => path.replace(/\.xml$/i, "")));
      return {
        ...found,
        files: [
          ...found.files,
          ...paths.filter((path) => /\.bin$/i.test(path) && stems.has(path.slice(0, -4))),
        ],
      };
    },
    fix: useWeights,
  },
  {
    name: "CTranslate2",
    goesFirst: true,
    find: (evidence) => {
      const { paths, heads } = evidence;
      const what =
        "CTranslate2's converter leaves out the model's configuration and what makes a score of its vector";
      const byContent = [...heads].filter(([, head]) => isCTranslate2(head)).map(([path]) => path);
      if (byContent.length > 0) return { files: byContent, what };
      const besideIt = [
        "vocabulary.json",
        "vocabulary.txt",
        "shared_vocabulary.json",
        "shared_vocabulary.txt",
      ];
      const head = heads.get("model.bin");
      const isSilent = head === undefined || head.length === 0;
      return isSilent && paths.includes("model.bin") && besideIt.some((path) => paths.includes(path))
        ? { files: ["model.bin"], what }
        : undefined;
    },
    fix: useBase(
      "Put it as a folder of its own into the model that it was made from (an encoder), beside config.json, tokenizer.json " +
        "and model.safetensors, and take the backend ctranslate2",
    ),
  },
  {
    name: "old GGML",
    find: ofFiles(/(?:^|\/)ggml[^/]*\.bin$|\.ggml$|\.ggjt$/i, "it is a GGML file of the time before GGUF", {
      begins: startsWith("lmgg", "fmgg", "tjgg", "algg"),
      anyName: true,
    }),
    fix: useBase("Convert the model that it was made from with crossrank convert --to gguf"),
  },
  {
    name: "PyTorch pickle",
    find: ofFiles(
      /\.(?:bin|pt|pth|ckpt|pkl)$/i,
      "it is a Python pickle, which can run code and is not opened here",
      { begins: isPickle },
    ),
    fix: () =>
      "Use a revision that has model.safetensors (on the hub often refs/pr/N, made by its conversion bot), or load the " +
      "model with transformers once and save it again: AutoModelForSequenceClassification.from_pretrained(model)" +
      ".save_pretrained(folder)",
  },
  {
    name: "TensorFlow",
    find: ofFiles(/(?:\.(?:h5|hdf5|keras)|(?:^|\/)saved_model\.pb)$/i, "TensorFlow files are not read", {
      begins: (head) => startsWith("\x89HDF", "PK\x03\x04")(head) || (head[0] ?? 0) === 8,
    }),
    fix: () =>
      "Load it with transformers (from_tf=True) once, and save it as safetensors with save_pretrained(folder)",
  },
  {
    name: "Flax",
    find: ofFiles(/\.msgpack$/i, "Flax files are not read"),
    fix: () =>
      "Load it with transformers (from_flax=True) once, and save it as safetensors with save_pretrained(folder)",
  },
  {
    name: "rust-bert",
    goesFirst: true,
    find: ofFiles(/(?:^|\/)[^/]*\.ot$/i, "rust-bert's files are not read"),
    fix: useWeights,
  },
  {
    name: "TensorRT",
    goesFirst: true,
    find: ofFiles(
      /\.(?:engine|plan|trt)$/i,
      "a TensorRT engine is made for one graphics card and one version of TensorRT, and is not read",
    ),
    fix: useWeights,
  },
  {
    name: "TensorFlow Lite",
    goesFirst: true,
    find: ofFiles(/\.tflite$/i, "TensorFlow Lite files are not read"),
    fix: useWeights,
  },
  {
    name: "Core ML before packages",
    find: ({ paths }) => {
      const files = paths
        .filter((path) => !/\.mlpackage\//.test(path))
        .flatMap((path) => /^.*?\.(?:mlmodelc(?=\/)|mlmodel$)/.exec(path)?.[0] ?? []);
      return files.length === 0
        ? undefined
        : {
            files: [...new Set(files)],
            what: "a compiled or older Core ML model (.mlmodelc, .mlmodel) is not read, only .mlpackage",
          };
    },
    fix: useBase("Write a package of the model that it was made from with crossrank convert --to mlpackage"),
  },
  {
    name: "ExecuTorch",
    goesFirst: true,
    find: ofFiles(/\.pte$/i, "ExecuTorch files are not read"),
    fix: useWeights,
  },
  {
    name: "a chip's own format",
    goesFirst: true,
    find: ofFiles(/\.(?:rknn|hef|axmodel|dlc|nb|ncnn\.param)$/i, "files for one kind of chip are not read"),
    fix: useWeights,
  },
  {
    name: "PaddlePaddle",
    goesFirst: true,
    find: ofFiles(/\.(?:pdparams|pdmodel|pdiparams)$/i, "PaddlePaddle files are not read"),
    fix: useWeights,
  },
  {
    name: "NumPy archive",
    goesFirst: true,
    find: ofFiles(/\.(?:npz|npy)$/i, "NumPy archives (older MLX models) are not read"),
    fix: useWeights,
  },
  {
    name: "archive",
    find: ofFiles(/\.(?:zip|tar|tgz|tar\.gz|tar\.zst|7z|rar)$/i, "an archive is not unpacked here"),
    fix: () => "Unpack it, and pass the folder that comes of it",
  },
];

/** Files that are neither text and tables nor of a format above: one of them may be what a backend runs. */
export function isBesides(path: string): boolean {
  return besides.test(path);
}

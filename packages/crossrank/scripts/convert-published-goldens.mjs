// Turns a transcription of published reference scores into src/published-goldens.json.
// Usage: node packages/crossrank/scripts/convert-published-goldens.mjs path/to/goldens.json
//
// Kept are scores of a reference implementation. Left out are scores of quantised or converted artifacts, which are
// what somebody's runtime gave and not what the model gives, some of them known to be wrong.
import { execFileSync } from "node:child_process";
import { readFileSync, writeFileSync } from "node:fs";
import { fileURLToPath } from "node:url";

const [path] = process.argv.slice(2);
if (path === undefined) throw new Error("pass the path of the transcription");
const from = JSON.parse(readFileSync(path, "utf8"));

/**
 * How far bfloat16 arithmetic itself is off: an encoder of two layers computed in it differs from float32 by up to .24
 * at logits up to 8 (torch 2.15, 52 pairs each of this repository's BERT, RoBERTa, XLM-RoBERTa, DeBERTa and ModernBERT
 * fixtures), so a source's tolerance, which is for repeating its run, says too little. A sigmoid's slope is at most a
 * quarter.
 */
const bfloat16 = { logits: 0.25, squashed: 0.0625 };

const squashed = (scores) => scores.every((score) => Math.abs(score) <= 1);
const pairs = ({ query, documents }) => documents.map((document) => [query, document]);
const mapValues = (object, change) =>
  Object.fromEntries(Object.entries(object).map(([key, value]) => [key, change(value)]));

const { sentence_transformers: st, fastembed, st_docs_berlin: berlin, flagembedding_panda: panda } = from;
const sources = [
  {
    name: "sentence-transformers 6.1.0.dev0, tests/cross_encoder/test_pretrained.py",
    url: "https://github.com/huggingface/sentence-transformers/blob/cad21198/tests/cross_encoder/test_pretrained.py",
    dtype: "bfloat16",
    measure: "score",
    sourceTolerance: st.atol,
    note:
      "On the model's default scale: sigmoid, or raw logits where its config says Identity. Where transformers 4 and 5 " +
      `differ, transformers 5's. Run in ${st.dtype}; the tolerance is what that arithmetic is good to against float32: ` +
      `${bfloat16.logits} for logits, ${bfloat16.squashed} for scores between -1 and 1`,
    pairs: pairs(st),
    models: mapValues(st.models, (model) => {
      const expected = model.expected ?? model.expected_transformers_v5;
      return { tolerance: squashed(expected) ? bfloat16.squashed : bfloat16.logits, expected };
    }),
  },
  {
    name: "fastembed, tests/test_text_cross_encoder.py",
    url: "https://github.com/qdrant/fastembed/blob/c48247f/tests/test_text_cross_encoder.py",
    dtype: "float32",
    measure: "logit",
    sourceTolerance: fastembed.atol,
    note: "Raw logits of the models' own ONNX files in onnxruntime",
    pairs: pairs(fastembed),
    models: mapValues(fastembed.models, (expected) => ({ tolerance: fastembed.atol, expected })),
  },
  {
    name: "sentence-transformers, documentation of CrossEncoder",
    url: "https://www.sbert.net/docs/cross_encoder/pretrained_models.html",
    dtype: "float32",
    measure: "logit",
    sourceTolerance: null,
    note: "Raw logits. The source names no precision; the digits are float32's",
    pairs: pairs(berlin),
    models: { [berlin.model]: { tolerance: 1e-3, expected: berlin.expected } },
  },
  {
    name: "FlagEmbedding, issue 987",
    url: "https://github.com/FlagOpen/FlagEmbedding/issues/987",
    dtype: "float16",
    measure: "logit",
    sourceTolerance: null,
    note: "Raw logits, computed in half precision, which has an eighth of bfloat16's error",
    pairs: panda.pairs,
    models: {
      [panda.model.replace(" (fp16)", "")]: { tolerance: bfloat16.logits / 8, expected: panda.expected },
    },
  },
];
for (const { name, pairs: given, models } of sources) {
  for (const [model, { expected }] of Object.entries(models)) {
    if (expected.length !== given.length) throw new Error(`${name}: ${model} has ${expected.length} scores`);
  }
}

const output = fileURLToPath(new URL("../src/published-goldens.json", import.meta.url));
writeFileSync(output, `${JSON.stringify(sources)}\n`);
// In the form that the repository's check wants.
execFileSync("npx", ["biome", "check", "--write", output], { stdio: "inherit" });

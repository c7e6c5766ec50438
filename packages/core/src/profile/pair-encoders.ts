/**
 * `model_type`s of encoders, which read a pair of texts as their tokenizer writes it: the encoders and encoder-decoders
 * of texts in `MODEL_FOR_SEQUENCE_CLASSIFICATION_MAPPING_NAMES` of transformers 4.57.6 and 5.24.0
 * (lab/tokenizers/sequence-classifiers.py), and those that published rerankers bring as code of their own.
 */
const encoders = new Set([
  "albert",
  "bart",
  "bert",
  "big_bird",
  "bigbird_pegasus",
  "camembert",
  "canine",
  "convbert",
  "data2vec-text",
  "deberta",
  "deberta-v2",
  "distilbert",
  "electra",
  "ernie",
  "ernie_m",
  "esm",
  "eurobert",
  "flaubert",
  "fnet",
  "funnel",
  "gte",
  "ibert",
  "jina_embeddings_v3",
  "layoutlm",
  "layoutlmv2",
  "layoutlmv3",
  "led",
  "lilt",
  "longformer",
  "luke",
  "markuplm",
  "mbart",
  "mega",
  "megatron-bert",
  "mobilebert",
  "modernbert",
  "mpnet",
  "mra",
  "mt5",
  "mvp",
  "nezha",
  "nomic_bert",
  "nystromformer",
  "plbart",
  "qdqbert",
  "rembert",
  "roberta",
  "roberta-prelayernorm",
  "roc_bert",
  "roformer",
  "squeezebert",
  "t5",
  "tapas",
  "ultrabert",
  "umt5",
  "xlm",
  "xlm-roberta",
  "xlm-roberta-xl",
  "xlnet",
  "xmod",
  "yoso",
  // Of code of their own: gte, jina, m2, neobert.
  "new",
  "jina_bert",
  "jina_bert_v2",
  "xlm-roberta-flash",
  "m2_bert",
  "neobert",
]);

/**
 * Whether what a model's tokenizer puts around two texts is what the model was trained on. It is an encoder's; a language
 * model's tokenizer writes something around two texts as well, which no model saw. Of what is not known nothing is
 * guessed.
 *
 * @param model `model_type` of config.json.
 */
export function readsPairsOfItsTokenizer(model: string | null | undefined): boolean {
  return encoders.has(model ?? "");
}

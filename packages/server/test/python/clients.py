"""Clients of PyPI against a rerank server: python clients.py ADDRESS [which].

Prints one JSON object a line: the client, and its ranking as pairs of index and score (null where the client gives
none), or what it threw. `which` is "all" (the default), "new" for the packages that other clients pin older, or
"replayed" for the requests that need no package.
"""

import json
import logging
import os
import sys
import urllib.request
import warnings

warnings.filterwarnings("ignore")
logging.disable(logging.CRITICAL)

base = sys.argv[1]
which = sys.argv[2] if len(sys.argv) > 2 else "all"
for name in ("COHERE", "CO", "JINA", "JINAAI", "VOYAGE", "HUGGINGFACE", "INFINITY", "VLLM"):
    os.environ[f"{name}_API_KEY"] = "k"
os.environ["HF_TOKEN"] = "k"
# Read when cohere is imported.
os.environ["CO_API_URL"] = base
os.environ["LITELLM_LOCAL_MODEL_COST_MAP"] = "True"

query = "What is deep learning?"
documents = [
    "Apples are red and sweet fruits that grow on trees.",
    "Deep learning is a subset of machine learning.",
    'What is deep? Learning: naïve 🤖 "quotes"\nand lines.',
]


def place(text):
    return documents.index(text)


def post(path, body, authorization):
    request = urllib.request.Request(
        base + path,
        data=json.dumps(body).encode(),
        headers={"content-type": "application/json", "authorization": authorization},
    )
    with urllib.request.urlopen(request) as answer:
        return json.load(answer)


def open_webui():
    body = {"model": "nano", "query": query, "documents": documents, "top_n": 3}
    results = post("/v1/rerank", body, "Bearer ")["results"]
    return [(one["index"], one["relevance_score"]) for one in results]


def dify():
    body = {"model": "nano", "query": query, "documents": documents, "top_n": 3}
    results = post("/v1/rerank", body, "")["results"]
    return [(one["index"], one["relevance_score"]) for one in results]


def voyage_without_limit():
    body = {"query": query, "documents": documents, "model": "nano", "top_k": None, "truncation": True}
    return [(one["index"], one["relevance_score"]) for one in post("/v1/rerank", body, "Bearer k")["data"]]


def cohere_2():
    import cohere

    client = cohere.ClientV2(api_key="k", base_url=base)
    answer = client.rerank(model="nano", query=query, documents=documents, top_n=2, max_tokens_per_doc=256)
    return [(one.index, one.relevance_score) for one in answer.results]


def cohere_1():
    import cohere

    client = cohere.Client(api_key="k", base_url=base)
    answer = client.rerank(model="nano", query=query, documents=documents, return_documents=True)
    assert [one.document.text for one in answer.results] == [documents[one.index] for one in answer.results]
    return [(one.index, one.relevance_score) for one in answer.results]


def cohere_by_environment():
    import cohere

    answer = cohere.Client(api_key="k").rerank(model="nano", query=query, documents=documents)
    return [(one.index, one.relevance_score) for one in answer.results]


def voyage():
    import voyageai

    answer = voyageai.Client(api_key="k", base_url=base + "/v1").rerank(query, documents, model="nano")
    assert answer.total_tokens > 0
    assert [one.document for one in answer.results] == [documents[one.index] for one in answer.results]
    return [(one.index, one.relevance_score) for one in answer.results]


def langchain_cohere():
    from langchain_cohere import CohereRerank
    from langchain_core.documents import Document

    compressor = CohereRerank(model="nano", top_n=2, base_url=base, cohere_api_key="k")
    ranked = compressor.compress_documents([Document(page_content=text) for text in documents], query)
    return [(place(one.page_content), one.metadata["relevance_score"]) for one in ranked]


def langchain_jina():
    import langchain_community.document_compressors.jina_rerank as module
    from langchain_core.documents import Document

    module.JINA_API_URL = base + "/v1/rerank"
    compressor = module.JinaRerank(model="nano", top_n=2, jina_api_key="k")
    ranked = compressor.compress_documents([Document(page_content=text) for text in documents], query)
    return [(place(one.page_content), one.metadata["relevance_score"]) for one in ranked]


def llama_index(make):
    from llama_index.core.schema import NodeWithScore, TextNode

    nodes = [NodeWithScore(node=TextNode(text=text), score=0.1) for text in documents]
    return [(place(one.node.text), one.score) for one in make().postprocess_nodes(nodes, query_str=query)]


def llama_index_tei():
    from llama_index.postprocessor.tei_rerank import TextEmbeddingInference

    return llama_index(lambda: TextEmbeddingInference(base_url=base, top_n=2, model_name="nano"))


def llama_index_jina():
    from llama_index.postprocessor.jinaai_rerank import JinaRerank

    return llama_index(lambda: JinaRerank(base_url=base + "/v1", api_key="k", top_n=2, model="nano"))


def llama_index_cohere():
    from llama_index.postprocessor.cohere_rerank import CohereRerank

    return llama_index(lambda: CohereRerank(base_url=base, api_key="k", top_n=2, model="nano"))


def llama_index_xinference():
    from llama_index.postprocessor.xinference_rerank import XinferenceRerank

    return llama_index(lambda: XinferenceRerank(base_url=base, top_n=2, model="nano"))


def haystack(ranker):
    from haystack import Document

    ranked = ranker.run(query=query, documents=[Document(content=text) for text in documents])["documents"]
    return [(place(one.content), one.score) for one in ranked]


def haystack_cohere():
    from haystack_integrations.components.rankers.cohere import CohereRanker

    return haystack(CohereRanker(model="nano", api_base_url=base, top_k=2))


def haystack_jina():
    from haystack_integrations.components.rankers.jina import JinaRanker

    return haystack(JinaRanker(model="nano", top_k=2, base_url=base + "/v1/rerank"))


def haystack_vllm():
    from haystack_integrations.components.rankers.vllm import VLLMRanker

    return haystack(VLLMRanker(model="nano", api_base_url=base + "/v1", top_k=2))


def haystack_tei():
    from haystack_integrations.components.rankers.huggingface_api import HuggingFaceTEIRanker

    return haystack(HuggingFaceTEIRanker(url=base, top_k=2))


def litellm(provider, address, **options):
    def call():
        import litellm as library

        library.suppress_debug_info = True
        answer = library.rerank(
            model=f"{provider}/nano", query=query, documents=documents, top_n=2, api_key="k", api_base=address, **options
        )
        return [(one["index"], one["relevance_score"]) for one in answer.results]

    return call


def rerankers(provider):
    def call():
        from rerankers.models.api_rankers import APIRanker

        ranked = APIRanker("nano", "k", provider, url=base + "/v1/rerank").rank(query, documents)
        return [(one.doc_id, one.score) for one in ranked.results]

    return call


replayed = {
    "Open WebUI, replayed": open_webui,
    "Dify, replayed": dify,
    "voyageai without a limit, replayed": voyage_without_limit,
}
new = {
    "cohere 2": cohere_2,
    "cohere 1": cohere_1,
    "cohere by CO_API_URL": cohere_by_environment,
    "voyageai": voyage,
}
others = {
    "langchain-cohere": langchain_cohere,
    "langchain-community Jina": langchain_jina,
    "llama-index TEI": llama_index_tei,
    "llama-index Jina": llama_index_jina,
    "llama-index Cohere": llama_index_cohere,
    "llama-index Xinference": llama_index_xinference,
    "haystack Cohere": haystack_cohere,
    "haystack Jina": haystack_jina,
    "haystack vLLM": haystack_vllm,
    "haystack TEI": haystack_tei,
    "litellm cohere": litellm("cohere", base),
    "litellm cohere without documents": litellm("cohere", base, return_documents=False),
    "litellm jina_ai": litellm("jina_ai", base),
    "litellm infinity": litellm("infinity", base + "/infinity"),
    "litellm hosted_vllm": litellm("hosted_vllm", base + "/v1"),
    "litellm huggingface": litellm("huggingface", base),
    "litellm voyage": litellm("voyage", base),
    "litellm together_ai": litellm("together_ai", base + "/v1"),
    "litellm litellm_proxy": litellm("litellm_proxy", base),
    "rerankers jina": rerankers("jina"),
    "rerankers cohere": rerankers("cohere"),
    "rerankers voyage": rerankers("voyage"),
}
out_of_scope = {
    "litellm deepinfra": litellm("deepinfra", base),
    "litellm nvidia_nim": litellm("nvidia_nim", base),
}
chosen = {"replayed": replayed, "new": new, "all": {**replayed, **new, **others, **out_of_scope}}[which]

for name, call in chosen.items():
    try:
        line = {"client": name, "ranking": call()}
    except Exception as error:  # what a client throws is the answer
        line = {"client": name, "threw": f"{type(error).__name__}: {str(error)[:200]}"}
    print(json.dumps(line), flush=True)

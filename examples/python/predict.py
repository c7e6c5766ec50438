"""Scores query and document with a Core ML package. Written by "crossrank consumer"; do not edit it.

    python predict.py --folder MODEL_FOLDER --query "..." --document "..."
    python predict.py --repo OWNER/NAME --revision v0.1-ane

Without a query it holds the token ids, and on macOS the logits, against the model's golden.json.
Needs transformers and coremltools; --repo also huggingface_hub. Core ML predicts on macOS only: elsewhere the
program ends before the prediction, and says so.
"""

import argparse
import json
import math
import sys
from pathlib import Path

from transformers import AutoTokenizer

# What the artifact and the model's tokenizer promise.
MODEL = "xlm-roberta-logit"
FAMILY = "cross-encoder"
TEMPLATE = [
    {"ids": [0], "segment": 0},
    {"parts": [{"text": "query", "trim": False}], "segment": 0},
    {"ids": [2, 2], "segment": 0},
    {"parts": [{"text": "document", "trim": False}], "segment": 0},
    {"ids": [2], "segment": 0},
]
INSTRUCTED_TEMPLATE = None
INSTRUCTION = ""
QUERY_PREFIX = ""
DOCUMENT_PREFIX = ""
MAX_LENGTH = 64
PADDING_ID = 1
ACTIVATION = "sigmoid"
ARTIFACT = {
    "path": "mlpackage/model.mlpackage",
    "inputs": [
        {"name": "input_ids", "source": "ids", "rank": 4},
        {"name": "attention_mask", "source": "mask", "rank": 4},
    ],
    "rows": 20,
    "lengths": [16, 32, 64],
    "output": {"name": "logit", "columns": 1},
    "reading": {"kind": "logit"},
}


class Encoder:
    """Texts to token ids, by the template above. Of a pair that is too long the document is cut, from the right."""

    def __init__(self, folder):
        self.tokenizer = AutoTokenizer.from_pretrained(folder)

    def tokens(self, text):
        # Half of a character becomes the replacement character, and texts hold no special token, whatever they spell.
        text = text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
        found = self.tokenizer(text, add_special_tokens=False, split_special_tokens=True, verbose=False)
        return found["input_ids"]

    def pair(self, query, document, instruction=INSTRUCTION):
        """Ids and segments; None where the query leaves no token for the document."""
        template = TEMPLATE if instruction == "" or INSTRUCTED_TEMPLATE is None else INSTRUCTED_TEMPLATE
        texts = {"query": QUERY_PREFIX + query, "document": DOCUMENT_PREFIX + document, "instruction": instruction}
        sections = []
        own = None
        for section in template:
            if "ids" in section:
                sections.append((section["ids"], section["segment"]))
                continue
            before, inside, after = "", None, ""
            for part in section["parts"]:
                text = part["literal"] if "literal" in part else texts[part["text"]]
                if part.get("trim"):
                    text = text.strip()
                if part.get("text") == "document":
                    inside = text
                elif inside is None:
                    before += text
                else:
                    after += text
            if inside is None:
                sections.append((self.tokens(before), section["segment"]))
                continue
            own = len(sections)
            whole = self.tokens(before + inside + after)
            start, end = self.tokens(before) if before else [], self.tokens(after) if after else []
            head = 0
            while head < min(len(start), len(whole)) and start[head] == whole[head]:
                head += 1
            sections.append((whole, section["segment"]))
        room = MAX_LENGTH - sum(len(ids) for index, (ids, _) in enumerate(sections) if index != own)
        room -= head + len(end)
        if room <= 0:
            return None
        if room < len(whole) - head - len(end):
            sections[own] = (whole[: head + room] + end, sections[own][1])
        return flatten(sections)

    def single(self, text):
        sections = []
        fixed = sum(len(section["ids"]) for section in TEMPLATE if "ids" in section)
        for section in TEMPLATE:
            ids = section["ids"] if "ids" in section else self.tokens(text)[: MAX_LENGTH - fixed]
            sections.append((ids, section["segment"]))
        return flatten(sections)

    def sequences(self, query, document, instruction=INSTRUCTION):
        """The rows of a pair: one, or those of query and document; None where it is not scored."""
        if FAMILY == "bi-encoder":
            return [self.single(QUERY_PREFIX + query), self.single(DOCUMENT_PREFIX + document)]
        pair = self.pair(query, document, instruction)
        return None if pair is None else [pair]


def flatten(sections):
    ids = [token for tokens, _ in sections for token in tokens]
    return ids, [segment for tokens, segment in sections for _ in tokens]


def feeds(rows):
    """The tensors of a prediction: each row filled up with padding, and the batch with rows of padding."""
    import numpy as np

    longest = max(len(ids) for ids, _ in rows)
    length = next((length for length in ARTIFACT["lengths"] if length >= longest), None)
    if length is None:
        raise SystemExit(f"a sequence of {longest} tokens is longer than the artifact takes")
    tensors = {}
    for port in ARTIFACT["inputs"]:
        fill = PADDING_ID if port["source"] == "ids" else 0
        array = np.full((ARTIFACT["rows"], length), fill, dtype=np.int32)
        for row, (ids, segments) in enumerate(rows):
            values = {"ids": ids, "mask": [1] * len(ids), "segments": segments}[port["source"]]
            array[row, : len(ids)] = values
        shape = (ARTIFACT["rows"], 1, 1, length) if port["rank"] == 4 else (ARTIFACT["rows"], length)
        tensors[port["name"]] = array.reshape(shape)
    return tensors


def logit_of(output, count):
    reading = ARTIFACT["reading"]
    if reading["kind"] == "cosine":
        query, document = (list(map(float, output[row])) for row in range(2))
        norms = math.sqrt(sum(x * x for x in query)) * math.sqrt(sum(x * x for x in document))
        return sum(a * b for a, b in zip(query, document)) / norms
    values = [float(value) for value in output[0]]
    if reading["kind"] == "logit":
        return values[0]
    others = [value for index, value in enumerate(values) if index != reading["positive"]]
    most = max(others)
    return values[reading["positive"]] - most - math.log(sum(math.exp(value - most) for value in others))


def score_of(logit):
    if ACTIVATION == "sigmoid":
        return 1 / (1 + math.exp(-logit))
    return math.tanh(logit) if ACTIVATION == "tanh" else logit


def open_model(folder):
    """The model; None where Core ML is not. The package is held against what is promised here in any case."""
    import coremltools

    path = str(Path(folder) / ARTIFACT["path"])
    description = coremltools.utils.load_spec(path).description
    found = sorted(port.name for port in description.input) + sorted(port.name for port in description.output)
    promised = sorted(port["name"] for port in ARTIFACT["inputs"]) + [ARTIFACT["output"]["name"]]
    if found != promised:
        raise SystemExit(f"{path} has {', '.join(found)}, and this program was written for {', '.join(promised)}")
    print(f"tensors as promised: {', '.join(found)}")
    if sys.platform != "darwin":
        return None
    return coremltools.models.MLModel(path, compute_units=coremltools.ComputeUnit.CPU_AND_NE)


def check_goldens(encoder, model, path):
    """Ticks off each case of the golden file: ids, segments, and on macOS the logit."""
    goldens = json.loads(Path(path).read_text(encoding="utf-8"))
    tolerance = goldens.get("tolerance", 0.01)
    wrong = 0
    scored = 0
    cases = goldens["cases"]
    for case in cases:
        expected = case["expected"].get("document-only", {})
        instruction = case.get("instruction", INSTRUCTION)
        rows = encoder.sequences(case["query"], case["document"], instruction)
        found = {} if rows is None else {"ids": rows[-1][0], "queryIds": rows[0][0]}
        if rows is not None and any(port["source"] == "segments" for port in (ARTIFACT or {"inputs": []})["inputs"]):
            found["segmentIds"] = rows[-1][1]
        problems = [name for name in found if name in expected and expected[name] != found[name]]
        if (rows is None) != bool(expected.get("queryOverflow", False)):
            problems.append("queryOverflow")
        if model is not None and rows is not None and not problems and expected.get("logit") is not None:
            logit = logit_of(model.predict(feeds(rows))[ARTIFACT["output"]["name"]], len(rows))
            scored += 1
            if abs(logit - expected["logit"]) > tolerance:
                problems.append(f"logit {logit} for {expected['logit']}")
        if problems:
            wrong += 1
            print(f"{case['name']}: {', '.join(problems)} not as in the golden file")
    print(f"ids as in {path}: {len(cases) - wrong} of {len(cases)} cases")
    if scored:
        print(f"logits within {tolerance}: {scored} cases")
    return wrong


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--folder", help="folder of the model")
    parser.add_argument("--repo", help="repository of the model, in place of a folder")
    parser.add_argument("--revision", help="its tag, e.g. v0.1-ane")
    parser.add_argument("--goldens", help="a golden file (default: the model's golden.json)")
    parser.add_argument("--query")
    parser.add_argument("--document")
    options = parser.parse_args()
    if (options.folder is None) == (options.repo is None):
        parser.error("give --folder or --repo")
    folder = options.folder
    if folder is None:
        from huggingface_hub import snapshot_download

        folder = snapshot_download(repo_id=options.repo, revision=options.revision)
    encoder = Encoder(folder)
    model = None if ARTIFACT is None else open_model(folder)
    if options.query is None:
        goldens = options.goldens or Path(folder) / "golden.json"
        wrong = check_goldens(encoder, model, goldens)
    else:
        wrong = 0
        rows = encoder.sequences(options.query, options.document or "")
        if rows is None:
            raise SystemExit("the query leaves no token for the document: there is no score")
        print(json.dumps({"ids": [ids for ids, _ in rows]}))
        if model is not None:
            logit = logit_of(model.predict(feeds(rows))[ARTIFACT["output"]["name"]], len(rows))
            print(json.dumps({"logit": logit, "score": score_of(logit)}))
    if ARTIFACT is None:
        print("The model has no Core ML package: stopped before the prediction.")
    elif model is None:
        rows = encoder.sequences("query", "document")
        shapes = {name: list(array.shape) for name, array in feeds(rows).items()}
        print(f"Core ML predicts on macOS only: stopped before the prediction, with the inputs {json.dumps(shapes)}.")
    sys.exit(1 if wrong else 0)


if __name__ == "__main__":
    main()

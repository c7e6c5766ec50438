"""Writes packages/crossrank/src/commands/models/known-models.json: published models of which something certain is held.

    python lab/published/known_models.py ../shared/published/repositories.json

A model is listed for one of three reasons: its scores are published and `crossrank verify` holds it against them; the
catalogue of core has the prompt that its files leave out; or the survey of published repositories saw its files, and a
model of this form runs here. Of its facts those that the survey saw are taken, each with the place; what the survey
only remembers or infers is left out. Languages and sizes are those that its publisher wrote into its name.
"""

import json
import re
import sys

GOLDENS = "packages/crossrank/src/published-goldens.json"
CATALOGUE = "packages/core/src/profile/catalogue-facts.ts"
OUTPUT = "packages/crossrank/src/commands/models/known-models.json"

# Words of names, in small letters, as ISO 639-1; what stands behind a name's other words alone.
LANGUAGES = {
    "en": ["en"], "english": ["en"], "zh": ["zh"], "japanese": ["ja"], "ruri": [], "ko": ["ko"], "german": ["de"],
    "de": ["de"], "russian": ["ru"], "ru": ["ru"], "polish": ["pl"], "turkish": ["tr"], "italian": ["it"],
    "multilingual": ["multilingual"], "mmarco": [],
}
FORMATS = [("onnx", r"\.onnx$|^onnx/$"), ("safetensors", r"\.safetensors$"), ("gguf", r"\.gguf$"),
           ("mnn", r"\.mnn$"), ("mlpackage", r"\.mlpackage/?$")]


def seen(model, fact):
    found = model.get(fact)
    return found if isinstance(found, dict) and found.get("basis") == "seen" else None


def languages_of(name):
    words = re.split(r"[-_/.]", name.lower())
    found = [language for word in words for language in LANGUAGES.get(word, [])]
    return sorted(set(found)) or None


def parameters_of(name):
    """Millions, where the name says them as 0.6B, 150m or 310m."""
    found = re.findall(r"(?<![\w.])(\d+(?:\.\d+)?)([bm])(?![a-z\d])", name.split("/")[-1].lower().replace("_", "-"))
    sizes = [float(number) * (1000 if unit == "b" else 1) for number, unit in found]
    return sizes[0] if len(sizes) == 1 else None


def catalogue():
    """Repository → the entry's name and source."""
    text = open(CATALOGUE, encoding="utf8").read()
    found = {}
    for entry in re.findall(r'\n  \{\n    name: (".*?"),\n    source: (".*?"|"[^"]*")[\s\S]*?repositories: \[([\s\S]*?)\],\n', text):
        name, source, repositories = json.loads(entry[0]), json.loads(entry[1]), entry[2]
        for pattern, sizes in re.findall(r'sizes\("([^"]+)"((?:, "[^"]+")+)\)', repositories):
            for size in re.findall(r'"([^"]+)"', sizes):
                found[pattern.replace("*", size)] = source
        for single in re.findall(r'(?<!sizes\()(?<![, ] )"([\w.-]+/[\w.-]+)"', re.sub(r"sizes\(.*?\)", "", repositories)):
            found[single] = source
    return found


def main(survey):
    surveyed = {m["id"]: m for m in json.load(open(survey, encoding="utf8"))["models"] if re.fullmatch(r"[\w.-]+/[\w.-]+", m["id"])}
    scores = {}
    for source in json.load(open(GOLDENS, encoding="utf8")):
        for model in source["models"]:
            scores.setdefault(model, source["url"])
    prompts = catalogue()
    works = {i for i, m in surveyed.items() if m["crossrank_today"].startswith("works") and seen(m, "files")}
    models = []
    for name in sorted({*scores, *prompts, *works}, key=str.lower):
        if name.startswith("cross-encoder-testing/"):
            continue
        facts = surveyed.get(name, {})
        licence, files, length = seen(facts, "license"), seen(facts, "files"), seen(facts, "max_length")
        value = length["value"] if length else None
        if isinstance(value, dict):
            value = value.get("usable", value.get("card"))
        formats = None
        if files and isinstance(files["value"], list):
            formats = [kind for kind, ending in FORMATS if any(re.search(ending, f) for f in files["value"])] or None
        evidence = []
        if name in scores:
            evidence.append({"what": "scores", "source": scores[name]})
        if name in prompts:
            evidence.append({"what": "catalogue", "source": prompts[name]})
        if name in works:
            evidence.append({"what": "form", "source": files["where"]})
        models.append({
            "id": name,
            "languages": languages_of(name),
            "parameters": parameters_of(name),
            "licence": {"value": licence["value"].lower(), "source": licence["where"]} if licence else None,
            "maxLength": {"value": value, "source": length["where"]} if isinstance(value, int) else None,
            "formats": formats,
            "evidence": evidence,
        })
    with open(OUTPUT, "w", encoding="utf8") as out:
        out.write("[\n" + ",\n".join("  " + json.dumps(m, ensure_ascii=False) for m in models) + "\n]\n")
    print(len(models))


main(sys.argv[1])

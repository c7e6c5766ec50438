import { describe, expect, it } from "vitest";
import { readCard } from "../src/tasks/dataset-card.js";
import { beir, jsonl, plain, useFolders } from "./task-data/scene.js";

const folders = useFolders();

function configs(yaml: string): unknown {
  const card = readCard(`---\n${yaml}\n---\n`);
  return Object.fromEntries([...card.configs].map(([name, splits]) => [name, Object.fromEntries(splits)]));
}

describe("a dataset card", () => {
  it.each([
    ["license: cc-by-4.0", "cc-by-4.0"],
    ["license: [mit, apache-2.0]", "mit, apache-2.0"],
    ["license: other\nlicense_name: my-terms", "my-terms"],
    ["language: en", undefined],
    ["license: [unclosed", undefined],
    ["license: 3", undefined],
  ])("with %j is of licence %s", (yaml, license) => {
    expect(readCard(`---\n${yaml}\n---\n# Title\n`).license).toBe(license);
  });

  it("without front matter says nothing", () => {
    expect(readCard("# Title\n\nlicense: mit\n---\n")).toMatchObject({ license: undefined, name: undefined });
  });

  it("has its citation in the first block of BibTeX", () => {
    const text =
      "---\nlicense: mit\n---\n```python\n@decorator\n```\n\n```\n@inproceedings{a,\n}\n```\n```bibtex\n@misc{b}\n```\n";
    expect(readCard(text).citation).toBe("@inproceedings{a,\n}");
    expect(readCard("# Title\n@misc{b}\n").citation).toBeUndefined();
  });

  it("lists files of configs in every form that the hub takes", () => {
    expect(
      configs(
        [
          "configs:",
          "- config_name: one",
          "  data_files: a.jsonl",
          "- config_name: list",
          "  data_files: [a.jsonl, ./b.jsonl]",
          "- config_name: splits",
          "  data_files:",
          "  - split: test",
          "    path: [x/test-*, y.parquet]",
          "  - split: dev",
          "    path: dev/**",
          "- config_name: folder",
          "  data_dir: data",
          "- config_name: both",
          "  data_dir: data",
          "  data_files:",
          "  - split: test",
          "    path: t.jsonl",
          "- data_files: nameless.jsonl",
        ].join("\n"),
      ),
    ).toEqual({
      one: { train: ["a.jsonl"] },
      list: { train: ["a.jsonl", "b.jsonl"] },
      splits: { test: ["x/test-*", "y.parquet"], dev: ["dev/**"] },
      folder: { train: ["data/**"] },
      both: { test: ["data/t.jsonl"] },
    });
  });

  it("decides over the names of files, with patterns", async () => {
    const readme = [
      "---",
      "configs:",
      "- config_name: corpus",
      "  data_files: texts/**/part?.jsonl",
      "- config_name: query",
      "  data_files: asked.jsonl",
      "- config_name: default",
      "  data_files:",
      "  - {split: test, path: judged/test*.tsv}",
      "---",
    ].join("\n");
    const [first = "", ...rest] = beir["corpus.jsonl"].split(/(?<=\n)/);
    const task = await folders.open({
      "README.md": readme,
      "texts/part1.jsonl": first,
      "texts/deep/er/part2.jsonl": rest.join(""),
      "texts/part10.jsonl": jsonl({ _id: "not this", text: "x" }),
      "asked.jsonl": beir["queries.jsonl"],
      "judged/test-a.tsv": "q1\td1\t2\n",
      "judged/test-b.tsv": "q2\td2\t1\n",
      "judged/more/test.tsv": "q2\td1\t1\n",
      "corpus.jsonl": jsonl({ _id: "nor this", text: "x" }),
    });
    expect([...task.documents.ids()].sort()).toEqual(["d1", "d2", "d3"]);
    expect(plain(task).qrels).toEqual({ q1: { d1: 2 }, q2: { d2: 1 } });
  });
});

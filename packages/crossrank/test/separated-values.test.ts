import { describe, expect, it } from "vitest";
import { readSeparatedValues, SeparatedValuesError } from "../src/separated-values.js";
import { crossrankInTurn as crossrank, temporaryFolder } from "./run-command.js";

const rows = (text: string, separator: "," | "\t" = ","): (readonly string[])[] =>
  [...readSeparatedValues(text, separator)].map(({ values }) => values);

/** As RFC 4180 writes it. */
const quoted = (value: string, separator: string): string =>
  new RegExp(`["\r\n${separator}]`).test(value) ? `"${value.replaceAll('"', '""')}"` : value;

describe("separated values", () => {
  it.each<[string, string, string[][]]>([
    [
      "lines",
      "a,b\n1,2\n",
      [
        ["a", "b"],
        ["1", "2"],
      ],
    ],
    [
      "CRLF, without an end of the last line",
      "a,b\r\n1,2",
      [
        ["a", "b"],
        ["1", "2"],
      ],
    ],
    [
      "empty values",
      ",\n,,\n",
      [
        ["", ""],
        ["", "", ""],
      ],
    ],
    ["an empty value at the end", "a,", [["a", ""]]],
    ["quotes", '"a, b","say ""hi""",""\n', [["a, b", 'say "hi"', ""]]],
    ["lines within quotes", '"a\r\nb\nc",d\n', [["a\r\nb\nc", "d"]]],
    ["blank lines", "a\n\n \n\r\nb\n", [["a"], ["b"]]],
    ["a quoted blank", '""\n', [[""]]],
    ["spaces", " a , b \n", [[" a ", " b "]]],
    ["nothing", "", []],
  ])("have %s", (_, text, expected) => {
    expect(rows(text)).toEqual(expected);
  });

  it.each<[string, number]>([
    ['a\n"b', 2],
    ['a"b', 1],
    ['"a"b', 1],
    ['x\n"a\nb" ,c', 3],
    ["a\rb", 1],
    [`${",".repeat(5000)}`, 1],
  ])("refuse %j", (text, line) => {
    expect(() => rows(text)).toThrow(SeparatedValuesError);
    try {
      rows(text);
    } catch (error) {
      expect((error as SeparatedValuesError).line).toBe(line);
    }
  });

  // Of MS MARCO's and TREC's kind, without any quoting; Python's csv reads them alike.
  it.each<[string, string[][]]>([
    ['1\tHe said "hello".\n', [["1", 'He said "hello".']]],
    [
      'a 5" pipe\tb\n6" c\td',
      [
        ['a 5" pipe', "b"],
        ['6" c', "d"],
      ],
    ],
    ['a"\t"b, c"\t d "e"\r\n', [['a"', "b, c", ' d "e"']]],
    ["it's\t''\"\n", [["it's", "''\""]]],
  ])("of TSV may have quotes within: %j", (text, expected) => {
    expect(rows(text, "\t")).toEqual(expected);
  });

  // One reader takes the quotes off, another leaves them on, or reads on over lines.
  it.each(['"Deep" learning\tx\n', 'a\t"b\n', 'a\t"b"c\n', '"a\tb\n"c\td\n'])(
    "of TSV that begin with a quote and end otherwise are refused: %j",
    (text) => {
      expect(() => rows(text, "\t")).toThrow(SeparatedValuesError);
    },
  );

  it("come back as they were written", () => {
    let seed = 7;
    const random = (most: number): number => {
      seed = (seed * 1103515245 + 12345) % 2 ** 31;
      return seed % most;
    };
    const parts = ["a", '"', ",", "\t", "\n", "\r\n", " ", "é", "😀", "long words"];
    for (let round = 0; round < 300; round += 1) {
      const separator = round % 2 === 0 ? "," : "\t";
      const table = Array.from({ length: 1 + random(4) }, () =>
        Array.from({ length: 2 + random(3) }, () =>
          Array.from({ length: random(6) }, () => parts[random(parts.length)]).join(""),
        ),
      );
      const text = table
        .map((row) => row.map((value) => quoted(value, separator)).join(separator))
        .join(round % 3 === 0 ? "\r\n" : "\n");
      expect(rows(text, separator), text).toEqual(table);
    }
  });

  it("are read in a time that grows with their size", () => {
    const started = performance.now();
    expect(rows(`${'"a""b",'.repeat(4000)}x\n`.repeat(40)).length).toBe(40);
    expect(rows(`"${"a\n".repeat(1_000_000)}"`).length).toBe(1);
    expect(performance.now() - started).toBeLessThan(10_000);
  });
});

describe("rerank", () => {
  const folder = temporaryFolder();
  const query = "how many people live in berlin";
  const run = async (args: readonly string[]) => crossrank(["rerank", "--query", query, ...args]);

  it("reads CSV and TSV, and joins their fields as JSON Lines'", async () => {
    const csv = await folder.write(
      "notes.csv",
      'id,title,body\r\n1,Berlin,"Berlin had a population of 3,520,031\r\ninhabitants"\r\n\r\n2,,"Roses"\r\n',
    );
    const tsv = await folder.write(
      "notes.tsv",
      'title\tbody\nBerlin\t"Berlin had a population of 3,520,031\r\ninhabitants"\n\tRoses\n',
    );
    const jsonl = await folder.write(
      "notes.jsonl",
      '{"title":"Berlin","body":"Berlin had a population of 3,520,031\\r\\ninhabitants"}\n{"title":null,"body":"Roses"}\n',
    );
    const answers = [];
    for (const file of [csv, tsv, jsonl]) {
      const args = ["--documents", file, "--text-field", "title,body", "--format", "json"];
      const { code, stdout, stderr } = await run([...args, "--return-documents"]);
      expect({ code, stderr }).toEqual({ code: 0, stderr: "" });
      answers.push(JSON.parse(stdout));
    }
    const [first, ...others] = answers;
    expect(first.text).toEqual({ kind: "fields", fields: ["title", "body"], separator: " " });
    expect(first.results[0].document).toMatchObject({ id: "1", title: "Berlin" });
    const logits = (answer: typeof first): number[] =>
      answer.results.map((one: { logit: number }) => one.logit);
    for (const answer of others) expect(logits(answer)).toEqual(logits(first));
  }, 60_000);

  it.each<[string, string, string[], RegExp]>([
    ["a.csv", "a,b\n1,2,3\n", ["--text-field", "a"], /a\.csv:2: 3 values/],
    ["b.csv", "a,b\n1,2\n", [], /b\.csv:1: no column "text"/],
    ["c.csv", "a,b\n1,2\n", ["--text-field", "c"], /c\.csv:1: no column "c"/],
    ["d.csv", "a,a\n1,2\n", ["--text-field", "a"], /d\.csv:1: two columns/],
    ["e.csv", 'a\n"1\n', ["--text-field", "a"], /e\.csv:2: a quote that does not end/],
    ["f.txt", "one\n", ["--text-field", "a"], /--input/],
    ["g.csv", "text\n1\n", ["--aggregate", "max"], /--long-documents chunk/],
    ["h.csv", "text\n1\n", ["--text-field", "a,,b"], /commas/],
  ])(
    "refuses %s",
    async (name, content, args, problem) => {
      const { code, stdout, stderr } = await run(["--documents", await folder.write(name, content), ...args]);
      expect(stdout).toBe("");
      expect(code).toBeGreaterThan(0);
      expect(stderr).toMatch(problem);
    },
    60_000,
  );

  it("finds the answer at the end of 4,000 words by its passages", async () => {
    const filler = [
      "The museum opened in 1897 and keeps a collection of maps.",
      "Trains leave the station every hour on weekdays.",
      "Most of the houses were rebuilt after the flood.",
    ];
    const words = Array.from({ length: 440 }, (_, index) => filler[index % 3]).join(" ");
    expect(words.split(" ").length).toBeGreaterThan(3900);
    const answer =
      "Berlin had a population of 3,520,031 registered inhabitants in an area of 891.82 square kilometers.";
    const unrelated = "The number of inhabitants of New York City.";
    const file = await folder.write("long.txt", `${words} ${answer}\n${unrelated}\n`);
    const cut = await run(["--documents", file, "--format", "json"]);
    expect(JSON.parse(cut.stdout).results[0].index).toBe(1);
    const chunked = await run(["--documents", file, "--format", "json", "--long-documents", "chunk"]);
    const { results, longDocuments, warnings } = JSON.parse(chunked.stdout);
    expect(longDocuments).toMatchObject({ aggregate: "max" });
    expect(warnings).toEqual([]);
    expect(results[0].index).toBe(0);
    expect(results[0].passages).toBeGreaterThan(15);
    const [span] = results[0].relevantSpans;
    expect(`${words} ${answer}`.slice(span.start, span.end)).toContain(answer);
    expect(results[1].score).toBe(JSON.parse(cut.stdout).results[0].score);
  }, 120_000);
});

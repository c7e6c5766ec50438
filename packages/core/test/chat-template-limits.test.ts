import { expect, it } from "vitest";
import { readChatTemplate } from "../src/profile/chat-template.js";

const settings = { format: "flat", arguments: {} } as const;
const texts = "{{ messages[-2].content }}{{ messages[-1].content }}";
const doubled = (operation: string): string =>
  `{% set ns = namespace(x=${operation.startsWith("[") ? "[1]" : '"ab"'}) %}` +
  `{% for i in range(60) %}{% set ns.x = ${operation} %}{% endfor %}{{ ns.x }}`;

/** Each would hold the process for seconds to years, or end it. */
const hostile: readonly (readonly [what: string, template: string])[] = [
  ["a thousand million rounds", "{% for i in range(1000000000) %}{% endfor %}{{messages[0].content}}"],
  ["ten million rounds", "{% for i in range(10000000) %}{% endfor %}"],
  ["a range of fractions", "{% for i in range(0, 100000, 0.000001) %}{% endfor %}"],
  ["a range backwards", "{% for i in range(1000000000, 0, -1) %}{% endfor %}"],
  ["an endless range", "{% for i in range(0, 10, 0) %}{% endfor %}"],
  [
    "a range kept in a variable",
    "{% set r = range(10000) %}{% for a in r %}{% for b in r %}{% endfor %}{% endfor %}",
  ],
  [
    "loops in loops",
    "{% for a in range(999) %}{% for b in range(999) %}{% for c in range(999) %}x{% endfor %}{% endfor %}{% endfor %}",
  ],
  ["a doubled text", doubled("ns.x ~ ns.x")],
  ["an added text", doubled("ns.x + ns.x")],
  ["a doubled list", doubled("[ns.x] + [ns.x]")],
  ["a list of itself", doubled("[ns.x, ns.x]")],
  [
    "a list of itself, as JSON",
    "{% set ns = namespace(x=[1]) %}{% for i in range(60) %}{% set ns.x = [ns.x, ns.x] %}{% endfor %}{{ ns.x | tojson }}",
  ],
  ["a replacement that grows", doubled('ns.x.replace("", ns.x)')],
  ["a filter that grows", doubled('ns.x | replace("a", "aa") | replace("b", "bb")')],
  [
    "joined rounds",
    '{% set ns = namespace(x="ab") %}{% for i in range(9000) %}{% set ns.x = [ns.x, ns.x] | join(ns.x) %}{% endfor %}',
  ],
  ["a wide indent", '{{ "a\\nb" | indent(1000000000) }}'],
  ["a wide indent of JSON", "{{ [1, [2, [3]]] | tojson(indent=500000000) }}"],
  [
    "a product of numbers",
    "{% set ns = namespace(x=2) %}{% for i in range(60) %}{% set ns.x = ns.x * ns.x %}{% endfor %}{{ ns.x }}",
  ],
  ["an endless macro", "{% macro m(x) %}{{ m(x) }}{% endmacro %}{{ m(1) }}"],
  [
    "macros of macros",
    `${Array.from({ length: 40 }, (_, i) => `{% macro m${i + 1}() %}{{ m${i}() }}{{ m${i}() }}{% endmacro %}`).join("")}{% macro m0() %}x{% endmacro %}{{ m40() }}`,
  ],
  ["a macro that is passed on", "{% macro m(f) %}{{ f(f) }}{{ f(f) }}{% endmacro %}{{ m(m) }}"],
  ["much output", "{% for a in range(90) %}{% for b in range(90) %}0123456789{% endfor %}{% endfor %}"],
  [
    "a sort of much",
    "{% for a in range(9000) %}{{ range(9000) | sort | reverse | list | length }}{% endfor %}",
  ],
  [
    "a split text",
    '{% set s = messages[0].content %}{% for a in range(9999) %}{% set s = s ~ "aaaaaaaaaaaa" %}{{ s.split("") | length }}{% endfor %}',
  ],
  ["nested parentheses", `{{ ${"(".repeat(30_000)}1${")".repeat(30_000)} }}`],
  ["nested lists", `{{ ${"[".repeat(30_000)}${"]".repeat(30_000)} }}`],
  ["nested conditions", `${"{% if true %}".repeat(6000)}${"{% endif %}".repeat(6000)}`],
  ["a chain of nots", `{{ ${"not ".repeat(20_000)}true }}`],
  ["a chain of filters", `{{ "a"${" | upper".repeat(10_000)} }}`],
  ["a chain of sums", `{{ ${Array.from({ length: 20_000 }, () => "1").join(" + ")} }}`],
  ["white space before a tag", `${" ".repeat(99_000)}{`],
  ["line ends before a tag", `${"\n".repeat(2000)}x{{ 1 }}`],
  ["a megabyte", "{{ 1 }}".repeat(150_000)],
  ["today's date", `{{ strftime_now("%d") }}${texts}`],
  ["an error of its own", '{{ raise_exception("no") }}'],
];

it.each(hostile)("ends with an error, and soon: %s", async (_, template) => {
  const start = performance.now();
  await expect(readChatTemplate(template + texts, settings, [])).rejects.toThrow();
  expect(performance.now() - start).toBeLessThan(10_000);
});

it("finds no property of JavaScript's objects", async () => {
  const { pair } = await readChatTemplate(`{{ constructor }}{{ messages.__proto__ }}${texts}`, settings, []);
  expect(pair).toHaveLength(2);
});

it("gives the prompt of what stays within bounds", async () => {
  const template =
    "{% set ns = namespace(n=0) %}{% for m in messages %}{% set ns.n = ns.n + 1 %}<{{ m.role }}:{{ ns.n }}>" +
    "{{ m.content | trim }}{% if loop.last %}{{ [1, 2] | join('-') }}{% endif %}{% endfor %}";
  const { pair, instructed } = await readChatTemplate(template, settings, []);
  expect(pair).toEqual([
    { literal: "<query:1>", segment: 0 },
    { text: "query", segment: 0, trim: true },
    { literal: "<document:2>", segment: 0 },
    { text: "document", segment: 0, trim: true },
    { literal: "1-2", segment: 0 },
  ]);
  expect(instructed?.[0]).toEqual({ literal: "<system:1>", segment: 0 });
});

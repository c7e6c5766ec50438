/** Numbers from 0 to 1, the same ones for the same seed. */
export function randomFrom(seed: number): () => number {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
}

type Random = () => number;

const english = "the model reads a token of every thread and its weights are nothing else than numbers".split(
  " ",
);
const pictures = ["👩‍👩‍👧‍👦", "🇩🇪", "🇫🇷", "👍🏽", "🎉", "❤️‍🔥", "🏴󠁧󠁢󠁳󠁣󠁴󠁿", "1️⃣", "é", "ñ̃", "\u200d"];

function pick<T>(random: Random, from: readonly T[]): T {
  return from[Math.floor(random() * from.length)] as T;
}

function many(random: Random, count: number, make: () => string): string {
  return Array.from({ length: Math.ceil(count * (0.5 + random())) }, make).join("");
}

function sentence(random: Random, words: readonly string[], space = " ", stop = "."): string {
  const own = Array.from({ length: 1 + Math.floor(random() * 14) }, () => pick(random, words)).join(space);
  return own.charAt(0).toUpperCase() + own.slice(1) + stop;
}

/** Sentences of a script. */
const written =
  (words: string, space: string, stop: string) =>
  (random: Random): string =>
    many(random, 24, () => sentence(random, words.split(" "), space, stop) + space);

/** Texts that are longer than some fifty tokens, of every kind that somebody may send. */
export const textKinds: Readonly<Record<string, (random: Random) => string>> = {
  sentences: written(english.join(" "), " ", "."),
  paragraphs: (random) =>
    many(random, 20, () => sentence(random, english) + pick(random, ["\n\n", " ", "\n"])),
  "CRLF and empty lines": (random) =>
    many(random, 20, () => sentence(random, english) + pick(random, ["\r\n", "\r\n\r\n\r\n", "\r", "\n \n"])),
  "no end of a sentence": (random) => many(random, 200, () => `${pick(random, english)} `),
  "one long word": (random) => many(random, 900, () => pick(random, ["a", "b", "xy", "q"])),
  "one letter": (random) => many(random, 3000, () => "a"),
  "white space": (random) => many(random, 300, () => pick(random, [" ", "\t", "\n", "\u00a0", "a ", "　"])),
  punctuation: (random) => many(random, 500, () => pick(random, [".", "!", "?", "…", ",", ")", "”"])),
  "full stops and digits": (random) => many(random, 300, () => `${Math.floor(random() * 99)}. `),
  pictures: (random) => many(random, 200, () => pick(random, pictures)),
  flags: (random) => many(random, 200, () => pick(random, ["🇩🇪", "🇫🇷", "🇦", "🇯🇵"])),
  "marks upon marks": (random) => many(random, 40, () => `a${"\u0301".repeat(Math.floor(random() * 30))}`),
  Chinese: written("我们 今天 学习 中文 模型 和 数据 的 关系", "", "。"),
  Japanese: written("これは モデル です 漢字 と かな を 読みます", "", "。"),
  Korean: written("모델은 문장을 읽고 점수를 매긴다 한국어", " ", "."),
  "Korean letters": (random) => many(random, 300, () => pick(random, ["ᄀ", "ᅡ", "ᆨ", "각", "ᄒ"])),
  Thai: written("แบบจำลอง อ่าน ข้อความ และ ให้ คะแนน น้ำ", "", " "),
  Hindi: written("मॉडल वाक्य पढ़ता है और अंक देता क्षत्रिय", " ", "।"),
  Tamil: written("மாதிரி வாக்கியத்தைப் படித்து மதிப்பெண் தருகிறது", " ", "."),
  Arabic: written("النموذج يقرأ الجمل ويعطي درجات", " ", "؟"),
  Hebrew: written("המודל קורא משפטים ונותן ציונים", " ", "."),
  Russian: written("модель читает предложения и даёт оценки", " ", "!"),
  "many scripts": (random) =>
    many(random, 200, () =>
      pick(random, [...pictures, ...english, "模型", "น้ำ", "कि", "\r\n", ". ", "各", "ß"]),
    ),
  "code units at random": (random) => many(random, 600, () => String.fromCharCode(random() * 0x10000)),
  "code points at random": (random) =>
    many(random, 400, () => String.fromCodePoint(Math.floor(random() * 0x11_0000))),
  "number signs before digits": (random) =>
    many(random, 300, () => pick(random, ["\u0600", "1", ". ", "\u06dd", "a"])),
  "half pairs": (random) => many(random, 400, () => pick(random, ["\ud83d", "\ude00", "a", " ", "😀"])),
  "zero width": (random) =>
    many(random, 400, () => pick(random, ["\u200b", "\u200c", "\u2060", "a", "\ufeff"])),
  markup: (random) => many(random, 60, () => `<p class="x">${sentence(random, english)}</p>`),
  "special tokens": (random) =>
    many(random, 120, () =>
      pick(random, ["[SEP]", "</s>", "<|im_end|>", "[UNK]", " word ", "<think>", "\n\n"]),
    ),
  code: (random) =>
    many(
      random,
      60,
      () => `  const ${pick(random, english)} = (x) => x.${pick(random, english)}(${random()});\n`,
    ),
  base64: (random) => many(random, 300, () => Math.floor(random() * 2 ** 32).toString(36)),
};

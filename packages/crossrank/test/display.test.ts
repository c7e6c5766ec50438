import { describe, expect, it } from "vitest";
import { displayScore, displayWidth, fitToWidth, formatBytes, toSingleLine } from "../src/text.js";

describe("displayScore", () => {
  it.each([
    [0.982134, "0.9821"],
    [0.5, "0.5000"],
    [0.0123456, "0.01235"],
    [0.0000001234, "1.234e-7"],
    [0.99996, "0.99996"],
    [0.9999999, "0.9999999"],
    [1 - 2 ** -53, "0.9999999999999999"],
    [1, "1.000"],
    [0, "0.000"],
  ])("shows the probability %d as %s", (score, shown) => {
    expect(displayScore(score, "probability")).toBe(shown);
  });

  it.each([
    [-12.34567, "logit", "-12.3457"],
    [0.99999, "cosine", "0.99999"],
    [-0.123, "cosine", "-0.1230"],
    [0.99999, "logit", "1.0000"],
  ] as const)("shows %d on scale %s as %s", (score, scale, shown) => {
    expect(displayScore(score, scale)).toBe(shown);
  });
});

describe("text for a terminal", () => {
  it("is one line without control characters", () => {
    expect(toSingleLine(" a\tb\r\n\u001b[31mc\u0007\u009bd\u2028e\u202ef\ufeff ")).toBe("a b [31mcd ef");
    expect(toSingleLine("a\ud800b")).toBe("a\ufffdb");
    expect(toSingleLine("👩‍💻")).toBe("👩‍💻");
  });

  it.each([
    ["abc", 3],
    ["é", 1],
    ["e\u0301", 1],
    ["東京", 4],
    ["👩‍💻", 2],
    ["한국", 4],
    ["–…", 2],
    ["Çà – “ça”…", 10],
    ["Ça – e\u0301…", 7],
    ["Ça\u00ad…", 4],
  ])("%s takes %d columns", (text, width) => {
    expect(displayWidth(text)).toBe(width);
  });

  it.each([
    ["short", 10, "short"],
    ["exactly ten", 11, "exactly ten"],
    ["a longer text", 8, "a longe…"],
    ["東京都千代田区", 8, "東京都…"],
    ["東京都", 6, "東京都"],
    ["words and more", 7, "words…"],
  ])("%s within %d columns is %s", (text, columns, shown) => {
    expect(fitToWidth(text, columns)).toBe(shown);
  });

  it("shortens a very long text without reading it all", () => {
    expect(displayWidth(fitToWidth("東 ".repeat(1_000_000), 40))).toBeLessThanOrEqual(40);
  });
});

describe("formatBytes", () => {
  it.each([
    [0, "0 B"],
    [999, "999 B"],
    [1000, "1.0 kB"],
    [999_960, "1.0 MB"],
    [4_200_000_000, "4.2 GB"],
  ])("%d is %s", (bytes, shown) => {
    expect(formatBytes(bytes)).toBe(shown);
  });
});

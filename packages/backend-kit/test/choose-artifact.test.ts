import { InvalidInputError, ModelFileNotFoundError } from "@crossrank/core";
import { describe, expect, test } from "vitest";
import {
  type ArtifactFormat,
  type ArtifactWish,
  type ChosenArtifact,
  chooseArtifact,
  dtypesToTry,
  knownDtype,
} from "../src/index.js";

const dtypes = ["F32", "F16", "Q8_0"];

/** A format of files `model-DTYPE.bin`; any other name says no precision. */
const format: ArtifactFormat = {
  dtypes,
  candidates: (paths) => paths.filter((path) => path.endsWith(".bin")),
  artifacts: (paths) =>
    paths
      .filter((path) => path.endsWith(".bin"))
      .map((path) => ({ dtype: knownDtype(/-(\w+)\.bin$/.exec(path)?.[1] ?? "", dtypes) ?? "?", path })),
  expected: (dtype) => [`model-${dtype}.bin`],
  fixes: { named: "Name it.", none: "Make one." },
};

function choose(paths: readonly string[], wish: Partial<ArtifactWish> = {}): ChosenArtifact {
  const nothing = { file: undefined, dtype: undefined, defaultDtype: undefined };
  return chooseArtifact("toy", paths, { ...nothing, ...wish }, format);
}

describe("dtypesToTry", () => {
  const wish = { file: undefined, dtype: undefined, defaultDtype: undefined };

  test.each<[string, Partial<ArtifactWish>, readonly string[]]>([
    ["nobody said", {}, ["F32", "F16", "Q8_0"]],
    ["a default", { defaultDtype: "Q8_0" }, ["Q8_0", "F32", "F16"]],
    ["a default in another case", { defaultDtype: "f16" }, ["F16", "F32", "Q8_0"]],
    ["a default of another format", { defaultDtype: "int8" }, ["F32", "F16", "Q8_0"]],
    ["one asked for", { dtype: "q8_0", defaultDtype: "F16" }, ["Q8_0"]],
  ])("%s", (_, given, expected) => {
    expect(dtypesToTry({ ...wish, ...given }, dtypes)).toEqual(expected);
  });

  test("one asked for that the format does not have", () => {
    expect(() => dtypesToTry({ ...wish, dtype: "int8" }, dtypes)).toThrow(InvalidInputError);
  });
});

describe("chooseArtifact", () => {
  test("all paths of a precision, best first", () => {
    const paths = ["a-F16.bin", "a-q8_0.bin", "b-F16.bin"];
    expect(choose(paths)).toEqual({ dtype: "F16", paths: ["a-F16.bin", "b-F16.bin"] });
    expect(choose(paths, { dtype: "Q8_0" })).toEqual({ dtype: "Q8_0", paths: ["a-q8_0.bin"] });
  });

  test("a default that is not there: the most precise that is", () => {
    expect(choose(["a-Q8_0.bin", "a-F16.bin"], { defaultDtype: "F32" }).dtype).toBe("F16");
  });

  test("a name that says no precision comes last, whatever was asked for", () => {
    expect(choose(["ranker.bin", "a-Q8_0.bin"]).paths).toEqual(["a-Q8_0.bin"]);
    expect(choose(["ranker.bin", "a-Q8_0.bin"], { dtype: "F32" })).toEqual({
      dtype: undefined,
      paths: ["ranker.bin"],
    });
  });

  test("the option `file` before everything", () => {
    expect(choose(["ranker.bin", "a-F32.bin"], { file: "ranker.bin", dtype: "F32" })).toEqual({
      dtype: undefined,
      paths: ["ranker.bin"],
    });
    expect(() => choose(["config.json", "a-F32.bin"], { file: "config.json" })).toThrow(
      /no config\.json\. There is: a-F32\.bin\. Name one of these in the option `file`\./,
    );
  });

  test.each<[string, readonly string[], Partial<ArtifactWish>, RegExp]>([
    [
      "others",
      ["a-F16.bin"],
      { dtype: "q8_0" },
      /no model-Q8_0\.bin\. There is: a-F16\.bin\. Ask for dtype F16\./,
    ],
    ["none", ["config.json"], {}, /no model-F32\.bin\. Make one\./],
  ])("nothing fits, and there are %s", (_, paths, wish, message) => {
    expect(() => choose(paths, wish)).toThrow(message);
    expect(() => choose(paths, wish)).toThrow(ModelFileNotFoundError);
  });
});

import { describe, expect, test } from "vitest";
import { loadAddon } from "../src/native.js";
import { fromAddon, NativeError } from "../src/native-error.js";
import { diagnoseNative, openNativePredictor, planNative, runtimeOf } from "../src/native-predictor.js";

describe.skipIf(process.platform === "darwin")("without Core ML", () => {
  const missing = { code: "addon-missing", fix: expect.stringContaining("coreml({ reference })") };

  test("the loader says that there is none here, and what to use instead", () => {
    expect(() => loadAddon()).toThrow(NativeError);
    expect(() => loadAddon()).toThrow(/on macOS only, and this is \w+-\w+\. Use coreml\(\{ reference \}\)/);
  });

  test("nothing else of the package is touched", async () => {
    await expect(openNativePredictor("absent.mlpackage")).rejects.toMatchObject(missing);
    await expect(planNative("absent.mlpackage")).rejects.toMatchObject(missing);
  });

  test("the diagnosis does not throw", () => {
    const { available, detail, runtime } = diagnoseNative();
    expect({ available, runtime }).toEqual({ available: false, runtime: undefined });
    expect(detail).toContain("Core ML is on macOS only");
  });
});

test("the runtime is Core ML of a version of macOS; what it was told is in the settings", () => {
  const system = { addon: "0.0.0", product: "15.1", build: "24B83", chip: "Apple M3" };
  expect(runtimeOf(system)).toEqual({
    name: "Core ML",
    version: "macOS 15.1",
  });
});

describe("errors of the addon", () => {
  test.each([
    ["load: Unable to load model (com.apple.CoreML 0)", "load", "Unable to load model (com.apple.CoreML 0)"],
    ["invalid-input: input a:\nb", "invalid-input", "input a:\nb"],
    ["Given napi value is not a string: x", "failed", "Given napi value is not a string: x"],
    ["cache: the addon has no cache", "failed", "cache: the addon has no cache"],
  ])("%j has the code %s", (message, code, problem) => {
    const cause = new Error(message);
    expect(fromAddon(cause)).toMatchObject({ code, problem, message: problem, cause });
  });
});

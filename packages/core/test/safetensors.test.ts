import { describe, expect, it } from "vitest";
import { openSafetensors } from "../src/entries/files.js";
import { ModelProfileError } from "../src/index.js";
import { memoryFiles } from "./memory-files.js";
import { f32, half, safetensors } from "./write-safetensors.js";

const open = (bytes: Uint8Array) => openSafetensors(memoryFiles({ f: bytes }), "f");

describe("safetensors", () => {
  it("reads every float type", async () => {
    const file = await open(
      safetensors({
        single: f32([2], [1.5, -0.25]),
        // Odd bytes before the others: nothing behind them is aligned.
        odd: { dtype: "I64", shape: [3], bytes: new Uint8Array(3) },
        double: { dtype: "F64", shape: [1], bytes: new Uint8Array(Float64Array.of(0.1).buffer) },
        // 1, −2, the smallest subnormal, the largest number.
        half: half("F16", [0x3c00, 0xc000, 0x0001, 0x7bff]),
        brain: half("BF16", [0x3f80, 0xc040]),
      }),
    );
    expect(file.names).toEqual(["single", "odd", "double", "half", "brain"]);
    expect([...(await file.read("single")).data]).toEqual([1.5, -0.25]);
    expect([...(await file.read("double")).data]).toEqual([Math.fround(0.1)]);
    expect([...(await file.read("half")).data]).toEqual([1, -2, 2 ** -24, 65504]);
    expect([...(await file.read("brain")).data]).toEqual([1, -3]);
    expect(file.dtype("brain")).toBe("BF16");
    await expect(file.read("odd")).rejects.toThrow(/type I64/);
    await expect(file.read("toString")).rejects.toThrow(/no tensor toString/);
    expect(() => file.shape("toString")).toThrow(/no tensor toString/);
  });

  it("knows every half as its definition has it", async () => {
    // Sign, exponent and fraction spelled out; all but infinities and NaN (exponent 31).
    const finite = Array.from({ length: 2 ** 16 }, (_, bits) => bits).filter(
      (bits) => ((bits >> 10) & 31) < 31,
    );
    const { data } = await (await open(safetensors({ w: half("F16", finite) }))).read("w");
    const wrong = finite.filter((bits, i) => {
      const [exponent, fraction] = [(bits >> 10) & 31, (bits & 1023) / 1024];
      const size = exponent === 0 ? fraction * 2 ** -14 : (1 + fraction) * 2 ** (exponent - 15);
      return !Object.is(data[i], bits >> 15 === 1 ? -size : size);
    });
    expect(wrong).toEqual([]);
  });

  it("reads from a view of a larger buffer, as Node's Buffer hands them out", async () => {
    const bytes = safetensors({ first: f32([2], [1, 2]), second: f32([3], [3, 4, 5]) });
    const file = await open(Buffer.concat([Buffer.from("in front"), bytes]).subarray(8));
    expect([...(await file.read("second")).data]).toEqual([3, 4, 5]);
    expect([...(await file.rows("first", 1, 2))]).toEqual([2]);
  });

  it("reads rows alone", async () => {
    const file = await open(
      safetensors({
        first: half("BF16", [0x3f80]),
        table: f32([3, 2], [1, 2, 3, 4, 5, 6]),
        cube: f32([2, 1, 2], [1, 2, 3, 4]),
        scalar: f32([], [7]),
      }),
    );
    expect(file.shape("table")).toEqual([3, 2]);
    expect(file.shape("scalar")).toEqual([]);
    expect([...(await file.rows("table", 1, 3))]).toEqual([3, 4, 5, 6]);
    expect([...(await file.rows("table", 2, 2))]).toEqual([]);
    expect([...(await file.rows("cube", 1, 2))]).toEqual([3, 4]);
    expect([...(await file.rows("scalar", 0, 1))]).toEqual([7]);
    for (const [from, to] of [
      [2, 4],
      [-1, 1],
      [2, 1],
      [0.5, 1],
    ] as const) {
      await expect(file.rows("table", from, to)).rejects.toThrow(RangeError);
    }
    const rows = await file.rows("table", 0, 1);
    rows.fill(0);
    expect([...(await file.rows("table", 0, 1))]).toEqual([1, 2]);
  });

  it.each([
    ["F32 NaN", f32([2, 2], [1, 2, 3, Number.NaN]), /tensor w holds NaN at 3/],
    ["F32 infinity", f32([4], [1, 2, Number.NEGATIVE_INFINITY, 3]), /tensor w holds -Infinity at 2/],
    ["F16 infinity", half("F16", [0x3c00, 0x7c00]), /tensor w holds Infinity at 1/],
    ["BF16 NaN", half("BF16", [0x7fc0, 0]), /tensor w holds NaN at 0/],
    [
      "a double beyond float32",
      { dtype: "F64" as const, shape: [1], bytes: new Uint8Array(Float64Array.of(1e300).buffer) },
      /tensor w holds Infinity at 0/,
    ],
  ])("refuses %s where it is read", async (_, entry, message) => {
    const file = await open(safetensors({ w: entry }));
    await expect(file.read("w")).rejects.toThrow(ModelProfileError);
    await expect(file.read("w")).rejects.toThrow(message);
  });

  it("says where in the tensor a number is not finite, also when rows are read", async () => {
    const file = await open(safetensors({ w: f32([2, 2], [1, 2, 3, Number.NaN]) }));
    expect([...(await file.rows("w", 0, 1))]).toEqual([1, 2]);
    await expect(file.rows("w", 1, 2)).rejects.toThrow(/tensor w holds NaN at 3/);
  });

  const good = safetensors({ w: f32([2, 2], [1, 2, 3, 4]), v: f32([1], [5]) });
  const header = (text: string): Uint8Array => {
    const length = new Uint8Array(8);
    new DataView(length.buffer).setBigUint64(0, BigInt(text.length), true);
    return Uint8Array.of(...length, ...new TextEncoder().encode(text), ...new Uint8Array(8));
  };
  it.each([
    ["empty", new Uint8Array(), /is not a safetensors file/],
    ["cut in its header", good.slice(0, 20), /damaged header/],
    [
      "no safetensors",
      new TextEncoder().encode("version https://git-lfs.github.com/spec/v1\n"),
      /is not a safetensors file/,
    ],
    ["cut by a byte", good.slice(0, -1), /ends before its tensors do/],
    ["cut by a tensor", good.slice(0, -20), /ends before its tensors do/],
    ["too long", Uint8Array.of(...good, 0), /goes on behind its last tensor/],
    [
      "lying about a shape",
      safetensors({ w: { ...f32([2], [1, 2]), shape: [3] } }),
      /does not fill its shape 3/,
    ],
    [
      "lying about a place",
      header('{"a":{"dtype":"F32","shape":[1],"data_offsets":[4,8]}}'),
      /tensor a is not where it should be/,
    ],
    [
      "laying tensors over one another",
      header(
        '{"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]},"b":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}}',
      ),
      /tensor b is not where it should be/,
    ],
    ["a tensor without a type", header('{"a":{"shape":[1],"data_offsets":[0,8]}}'), /damaged header/],
  ])("that is %s is refused at opening", async (_, bytes, message) => {
    await expect(open(bytes)).rejects.toThrow(ModelProfileError);
    await expect(open(bytes)).rejects.toThrow(message);
  });
});

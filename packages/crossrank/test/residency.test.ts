import { readFile } from "node:fs/promises";
import { describe, expect, it } from "vitest";
import { crossrankInTurn as crossrank, temporaryFolder } from "./run-command.js";

const folder = temporaryFolder();

/** The totals of tcashel/bge-reranker-base-coreml's model card; how many there are of each operator is made up. */
const fingerprint = {
  schema: "crossrank.residency/1",
  neuralEngine: { total: 924 },
  cpu: { total: 31, operators: { "ios18.cast": 20, "ios18.gather": 11 } },
  gpu: { total: 0 },
};

function report(plant?: { readonly operator: string; readonly preferred: string }[]): string {
  const operations = [
    ...Array.from({ length: 924 }, () => ({ operator: "ios18.conv", preferred: "neuralEngine" })),
    ...Array.from({ length: 20 }, () => ({ operator: "ios18.cast", preferred: "cpu" })),
    ...Array.from({ length: 11 }, () => ({ operator: "ios18.gather", preferred: "cpu" })),
  ];
  operations.splice(0, plant?.length ?? 0, ...(plant ?? []));
  return JSON.stringify({ computeUnits: "cpuAndNeuralEngine", operations });
}

describe("residency", () => {
  it("passes what keeps to the fingerprint", async () => {
    const path = await folder.write("report.json", report());
    const baseline = await folder.write("fingerprint.json", JSON.stringify(fingerprint));
    const { code, stdout, stderr } = await crossrank(["residency", path, "--baseline", baseline]);
    expect({ code, stderr }).toEqual({ code: 0, stderr: "" });
    expect(stdout).toMatch(/^report +.*report\.json, 955 operations, planned for cpuAndNeuralEngine$/m);
    expect(stdout).toMatch(/^Neural Engine +924 +924$/m);
    expect(stdout).toMatch(/^CPU +31 +31$/m);
    expect(stdout).toMatch(
      /\n\nnote: The baseline does not say which compute units .* cpuAndNeuralEngine\.\n\nPASS: it keeps to the fingerprint\.\n$/,
    );
  });

  it("fails for drifts, and shows each", async () => {
    const path = await folder.write(
      "drift.json",
      report([
        { operator: "ios18.softmax", preferred: "gpu" },
        { operator: "ios18.conv", preferred: "cpu" },
      ]),
    );
    const baseline = await folder.write("drift-fingerprint.json", JSON.stringify(fingerprint));
    const { code, stdout, stderr } = await crossrank(["residency", path, "--baseline", baseline]);
    expect(code).toBe(1);
    expect(stdout).toMatch(/^Neural Engine +924 +922$/m);
    expect(stdout).toMatch(/^drift +operator +expected +found$/m);
    expect(stdout).toMatch(/^CPU +ios18\.conv +0 +1$/m);
    expect(stdout).toMatch(/^GPU +ios18\.softmax +0 +1$/m);
    expect(stdout).toMatch(/^FAIL: /m);
    expect(stderr).toMatch(
      /^crossrank: .*drift\.json does not keep to .*: 922 operations on the Neural Engine in place of 924; 32 operations on the CPU in place of 31; 1 operation on the GPU in place of 0\n$/,
    );
  });

  it("says which operators are others where the totals are the same", async () => {
    const other = report().replaceAll("ios18.gather", "ios18.gather_nd");
    const path = await folder.write("other.json", other);
    const baseline = await folder.write("other-fingerprint.json", JSON.stringify(fingerprint));
    const args = ["residency", path, "--baseline", baseline];
    const { code, stderr } = await crossrank(args);
    expect(code).toBe(1);
    expect(stderr).toMatch(/: other operators on the CPU\n$/);
    const json = await crossrank([...args, "--format", "json"]);
    expect(json.code).toBe(1);
    expect(JSON.parse(json.stdout)).toEqual({
      report: path,
      baseline,
      notes: [expect.stringContaining("does not say which compute units")],
      passed: false,
      totals: {
        neuralEngine: { expected: 924, found: 924 },
        cpu: { expected: 31, found: 31 },
        gpu: { expected: 0, found: 0 },
        noDevice: { expected: 0, found: 0 },
      },
      drifts: [
        { place: "cpu", operator: "ios18.gather", expected: 11, found: 0 },
        { place: "cpu", operator: "ios18.gather_nd", expected: 0, found: 11 },
      ],
    });
  });

  it("writes a baseline that its own report keeps to, and another does not", async () => {
    const path = await folder.write("first.json", report());
    const baseline = folder.path("made/fingerprint.json");
    const written = await crossrank(["residency", path, "--write-baseline", baseline]);
    expect({ code: written.code, stderr: written.stderr }).toEqual({ code: 0, stderr: "" });
    expect(written.stdout).toMatch(/^Neural Engine +924$/m);
    expect(JSON.parse(await readFile(baseline, "utf8"))).toEqual({
      ...fingerprint,
      computeUnits: "cpuAndNeuralEngine",
      neuralEngine: { total: 924, operators: { "ios18.conv": 924 } },
    });
    expect((await crossrank(["residency", path, "--baseline", baseline])).code).toBe(0);
    const planned = await folder.write("all.json", report().replace("cpuAndNeuralEngine", "all"));
    const { code, stdout, stderr } = await crossrank(["residency", planned, "--baseline", baseline]);
    expect(code).toBe(1);
    expect(stdout).toMatch(/^compute units +cpuAndNeuralEngine +all$/m);
    expect(stderr).toMatch(/it was planned for all and not for cpuAndNeuralEngine\n$/);
  });

  it("leaves a baseline that is there as it is, unless it is forced", async () => {
    const path = await folder.write("again.json", report());
    const baseline = await folder.write("pinned.json", "reviewed");
    const args = ["residency", path, "--write-baseline", baseline];
    const refused = await crossrank(args);
    expect({ code: refused.code, stdout: refused.stdout }).toEqual({ code: 1, stdout: "" });
    expect(refused.stderr).toMatch(/pinned\.json is there already\. --force replaces/);
    expect(await readFile(baseline, "utf8")).toBe("reviewed");
    expect((await crossrank([...args, "--force"])).code).toBe(0);
    expect(await readFile(baseline, "utf8")).toContain("crossrank.residency/1");
    const without = await crossrank(["residency", path, "--baseline", baseline, "--force"]);
    expect(without.code).toBe(2);
  });

  it("writes none from a report with operations on the GPU", async () => {
    const path = await folder.write("gpu.json", report([{ operator: "ios18.gelu", preferred: "gpu" }]));
    const baseline = folder.path("never.json");
    const { code, stderr } = await crossrank(["residency", path, "--write-baseline", baseline]);
    expect(code).toBe(1);
    expect(stderr).toMatch(/gpu\.json cannot be a baseline: operations are on the GPU.*: 1 × ios18\.gelu\n$/);
    await expect(readFile(baseline)).rejects.toThrow(/ENOENT/);
  });

  it.each([
    [
      "a report that is not there",
      ["nowhere.json"],
      /cannot read the report .*nowhere\.json: there is no such file/,
    ],
    [
      "a report that is none",
      ["none.json"],
      /cannot read the report .*none\.json: operations\[0\]\.preferred: is missing/,
    ],
    ["a fingerprint that is none", ["sound.json"], /cannot read --baseline .*: gpu\.total: /],
  ])("names %s", async (_, [name = ""], problem) => {
    await folder.write("none.json", '{"operations":[{"operator":"ios18.conv"}]}');
    await folder.write("sound.json", report());
    const baseline = await folder.write("wrong.json", JSON.stringify({ ...fingerprint, gpu: { total: 2 } }));
    const { code, stderr, stdout } = await crossrank([
      "residency",
      folder.path(name),
      "--baseline",
      baseline,
    ]);
    expect({ code, stdout }).toEqual({ code: 1, stdout: "" });
    expect(stderr).toMatch(/^crossrank: [^\n]+\n$/);
    expect(stderr).toMatch(problem);
    expect(stderr).not.toContain("not expected");
  });

  it.skipIf(process.platform === "darwin")(
    "asks Core ML about a package, which there is on a Mac only",
    async () => {
      const baseline = await folder.write("of-package.json", JSON.stringify(fingerprint));
      const { code, stdout, stderr } = await crossrank(["residency", "x.mlpackage", "--baseline", baseline]);
      expect({ code, stdout }).toEqual({ code: 1, stdout: "" });
      expect(stderr).toMatch(/^crossrank: [^\n]*macOS[^\n]*\n$/);
      expect(stderr).not.toContain("not expected");
    },
  );

  it("wants a baseline or a place for one, and not both", async () => {
    const path = await folder.write("usage.json", report());
    const neither = await crossrank(["residency", path]);
    expect(neither.code).toBe(2);
    expect(neither.stderr).toContain("--write-baseline");
    const both = await crossrank(["residency", path, "--baseline", path, "--write-baseline", path]);
    expect(both.code).toBe(2);
  });

  it("explains itself in --help", async () => {
    const { code, stdout } = await crossrank(["residency", "--help"]);
    expect(code).toBe(0);
    expect(stdout).toMatch(/\$ crossrank residency report\.json --baseline fingerprint\.json/);
    expect(stdout).toContain("Exit code: 0 passed or written, 1 a drift");
  });
});

import { spawnSync } from "node:child_process";
import { chmodSync, existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import path from "node:path";
import { fileURLToPath } from "node:url";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { parse } from "yaml";

interface Step {
  readonly id?: string;
  readonly if?: string;
  readonly uses?: string;
  readonly with?: Readonly<Record<string, unknown>>;
  readonly run?: string;
  readonly shell?: string;
  readonly env?: Readonly<Record<string, string>>;
}

interface Action {
  readonly name: string;
  readonly description: string;
  readonly inputs: Readonly<Record<string, { readonly description: string; readonly default: string }>>;
  readonly outputs: Readonly<Record<string, { readonly description: string; readonly value: string }>>;
  readonly runs: { readonly using: string; readonly steps: readonly Step[] };
}

const repository = fileURLToPath(new URL("../../..", import.meta.url));
const source = readFileSync(path.join(repository, "action.yml"), "utf8");
const action = parse(source, { strict: true, uniqueKeys: true }) as Action;
const guide = readFileSync(path.join(repository, "docs", "guides", "ci.md"), "utf8");
const { steps } = action.runs;

describe("action.yml", () => {
  it("is a composite action whose every step can run", () => {
    expect(action.runs.using).toBe("composite");
    for (const step of steps) {
      expect(step.uses === undefined).toBe(step.run !== undefined);
      if (step.run !== undefined) expect(step.shell).toBe("bash");
      else expect(step.uses).toMatch(/^actions\/[a-z-]+@[0-9a-f]{40}$/);
    }
    for (const input of Object.values(action.inputs)) {
      expect(input.description).not.toBe("");
      expect(typeof input.default).toBe("string");
    }
  });

  it("puts no input into the text of a script, and uses every input and only those", () => {
    for (const { run } of steps) expect(run ?? "").not.toContain("${{");
    const used = new Set([...source.matchAll(/inputs\.([a-z-]+)/g)].map(([, name]) => name));
    expect([...used].sort()).toEqual(Object.keys(action.inputs).sort());
    const ids = new Set(steps.map(({ id }) => id));
    for (const [, id] of source.matchAll(/steps\.([a-z]+)\./g)) expect(ids).toContain(id);
  });

  it("is documented: every input and output in the guide, and an example that uses only these", () => {
    for (const [name, { default: fallback }] of Object.entries(action.inputs)) {
      const row = guide.split("\n").find((line) => line.startsWith(`| \`${name}\` |`));
      expect(row, name).toBeDefined();
      if (fallback !== "") expect(row).toContain(`\`${fallback}\``);
    }
    for (const name of Object.keys(action.outputs)) expect(guide).toContain(`\`${name}\``);
    const [, example = ""] = /```yaml\n([\s\S]*?)```/.exec(guide) ?? [];
    const workflow = parse(example, { strict: true }) as { jobs: Record<string, { steps: Step[] }> };
    const step = Object.values(workflow.jobs)
      .flatMap((job) => job.steps)
      .find(({ uses }) => uses?.includes("crossrank"));
    expect(Object.keys(step?.with ?? {}).length).toBeGreaterThan(2);
    for (const name of Object.keys(step?.with ?? {})) expect(Object.keys(action.inputs)).toContain(name);
    for (const [, name] of example.matchAll(/steps\.ranking\.outputs\.(\w+)/g)) {
      expect(Object.keys(action.outputs)).toContain(name);
    }
  });
});

/** The shell of the action, with an npx that writes down what it was asked for. */
describe.skipIf(process.platform === "win32")("its scripts", () => {
  let folder = "";
  beforeEach(() => {
    folder = mkdtempSync(path.join(tmpdir(), "crossrank-action-"));
  });
  afterEach(() => rmSync(folder, { recursive: true, force: true }));

  function evaluate(options: {
    status: number;
    writesSummary: boolean;
    env: Readonly<Record<string, string>>;
  }) {
    const bin = path.join(folder, "bin");
    mkdirSync(bin);
    const report = options.env["CROSSRANK_REPORT"] ?? "";
    writeFileSync(
      path.join(bin, "npx"),
      `#!/bin/sh\nprintf '%s\\n' "$@" > arguments\n${
        options.writesSummary ? `mkdir -p "${report}" && echo verdict > "${report}/summary.md"\n` : ""
      }exit ${options.status}\n`,
    );
    chmodSync(path.join(bin, "npx"), 0o755);
    const env = {
      PATH: `${bin}:${process.env["PATH"]}`,
      GITHUB_OUTPUT: path.join(folder, "output"),
      GITHUB_STEP_SUMMARY: path.join(folder, "summary"),
      CROSSRANK_VERSION: "1.2.3",
      CROSSRANK_PACKAGES: "",
      CROSSRANK_CONFIG: "",
      CROSSRANK_BASELINE: "",
      ...options.env,
    };
    // As the runner calls bash for `shell: bash`.
    const bash = (script: string | undefined, more: Readonly<Record<string, string>> = {}) =>
      spawnSync("bash", ["--noprofile", "--norc", "-eo", "pipefail", "-c", script ?? "exit 99"], {
        cwd: folder,
        env: { ...env, ...more },
        encoding: "utf8",
      });
    const [run, summary, end] = steps.flatMap((step) => (step.run === undefined ? [] : [step.run]));
    const first = bash(run);
    expect(first.stderr).toBe("");
    expect(first.status).toBe(0);
    const outputs = Object.fromEntries(
      readFileSync(env.GITHUB_OUTPUT, "utf8")
        .trim()
        .split("\n")
        .map((line) => line.split("=")),
    ) as Record<string, string>;
    expect(bash(summary).status).toBe(0);
    return {
      arguments: readFileSync(path.join(folder, "arguments"), "utf8").trimEnd().split("\n"),
      outcome: outputs["outcome"],
      summary: readFileSync(env.GITHUB_STEP_SUMMARY, "utf8"),
      end: bash(end, { CROSSRANK_STATUS: outputs["status"] ?? "" }).status,
    };
  }

  it("pass every input as one argument, and report a failed gate as failed", () => {
    const result = evaluate({
      status: 1,
      writesSummary: true,
      env: {
        CROSSRANK_PACKAGES: "@crossrank/backend-llamacpp  other@2",
        CROSSRANK_CONFIG: "a folder/it's $(touch injected).json",
        CROSSRANK_BASELINE: "base line.json",
        CROSSRANK_REPORT: "the report",
      },
    });
    expect(result.arguments).toEqual([
      ...["--yes", "--package", "crossrank@1.2.3", "--package", "@crossrank/backend-llamacpp"],
      ...["--package", "other@2", "--", "crossrank", "ci", "--report", "the report"],
      ...["--config", "a folder/it's $(touch injected).json", "--baseline", "base line.json"],
    ]);
    expect(existsSync(path.join(folder, "injected"))).toBe(false);
    expect(result).toMatchObject({ outcome: "failed", summary: "verdict\n", end: 1 });
  });

  it("leave out what is empty, and pass", () => {
    const result = evaluate({ status: 0, writesSummary: true, env: { CROSSRANK_REPORT: "report" } });
    expect(result.arguments.slice(3)).toEqual(["--", "crossrank", "ci", "--report", "report"]);
    expect(result).toMatchObject({ outcome: "passed", summary: "verdict\n", end: 0 });
  });

  it("call an end without a verdict an error, whatever summary an earlier run left", () => {
    mkdirSync(path.join(folder, "report"));
    writeFileSync(path.join(folder, "report", "summary.md"), "stale");
    const result = evaluate({ status: 1, writesSummary: false, env: { CROSSRANK_REPORT: "report" } });
    expect(result).toMatchObject({ outcome: "error", end: 1 });
    expect(result.summary).not.toContain("stale");
  });
});

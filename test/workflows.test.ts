import { existsSync, readdirSync, readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { dirname, join, relative, resolve } from "node:path";
import { describe, expect, test } from "vitest";
import { blocksOf, root } from "./documents/blocks.js";

// The parser that @crossrank/eval reads task cards with.
const { parse } = createRequire(join(root, "packages/eval/package.json"))("yaml") as {
  readonly parse: (text: string) => unknown;
};

interface Step {
  readonly uses?: string;
  readonly run?: string;
  readonly with?: Readonly<Record<string, unknown>>;
}

interface Job {
  readonly if?: string;
  readonly needs?: string | readonly string[];
  readonly environment?: string;
  readonly permissions?: Readonly<Record<string, string>>;
  readonly "timeout-minutes"?: number;
  readonly steps: readonly Step[];
}

interface Workflow {
  readonly on: Readonly<Record<string, { readonly paths?: readonly string[] } | null>>;
  readonly permissions?: Readonly<Record<string, string>>;
  readonly jobs: Readonly<Record<string, Job>>;
}

const folder = ".github/workflows";
const workflows = readdirSync(join(root, folder)).map((name) => `${folder}/${name}`);
const text = (path: string): string => readFileSync(join(root, path), "utf8");
const releasing = text("RELEASING.md");

/** Places that name actions: workflows, our own action, and what the guides tell readers to write. */
const sources: readonly (readonly [place: string, yaml: string])[] = [
  ...[...workflows, "action.yml"].map((path) => [path, text(path)] as const),
  ...readdirSync(join(root, "docs/guides")).flatMap((name) =>
    blocksOf(`docs/guides/${name}`)
      .filter(({ language }) => language === "yaml")
      .map((block) => [`docs/guides/${name}`, block.text] as const),
  ),
];

test("every action is pinned by a commit, with the version that RELEASING.md gives for it", () => {
  const uses = sources.flatMap(([place, yaml]) =>
    [...yaml.matchAll(/\buses:\s*(\S+?)@(\S+)(?:\s+#\s*(\S+))?/g)].map(
      ([, action = "", commit = "", version = ""]) => ({ place, action, commit, version }),
    ),
  );
  expect(uses.length).toBeGreaterThan(20);
  const toBePinned = releasing.slice(releasing.indexOf("To be pinned:"));
  const loose = uses.filter(
    ({ action, commit, version }) =>
      !releasing.includes(`| \`${action}\` | ${version} | \`${commit}\` |`) &&
      !toBePinned.includes(`\`${action}@${commit}\``),
  );
  expect(loose).toEqual([]);
  const commits = uses
    .filter(({ action }) => !toBePinned.includes(`\`${action}@`))
    .map(({ commit }) => commit);
  for (const commit of commits) expect(commit).toMatch(/^[0-9a-f]{40}$/);
});

describe.each(workflows)("%s", (path) => {
  const yaml = text(path);
  const { on, permissions, jobs } = parse(yaml) as Workflow;
  const publishing = Object.entries(jobs).filter(([, { steps }]) =>
    steps.some(({ run = "" }) => /\b(publish|pre-publish)\b/.test(run)),
  );

  test("reads the repository and nothing else, except where it publishes", () => {
    expect(permissions).toEqual({ contents: "read" });
    for (const [name, job] of Object.entries(jobs)) {
      const isPublishing = publishing.some(([one]) => one === name);
      const allowed = isPublishing ? { contents: "read", "id-token": "write" } : undefined;
      expect(job.permissions, name).toEqual(allowed);
      expect(job["timeout-minutes"], name).toBeGreaterThan(0);
    }
    // It would run a stranger's change with this repository's rights.
    expect(Object.keys(on)).not.toContain("pull_request_target");
    expect(Object.keys(on)).not.toContain("workflow_run");
  });

  test.each(publishing)(
    "%s publishes for a tag alone, after the tests, and trusts nothing beside it",
    (name, job) => {
      expect(job.if).toMatch(/^startsWith\(github\.ref, 'refs\/tags\/'\)$/);
      expect([job.needs].flat().sort()).toEqual(
        Object.keys(jobs)
          .filter((one) => one !== name)
          .sort(),
      );
      expect(job.environment).toBe("release");
      for (const { uses = "", run = "", with: inputs } of job.steps) {
        if (uses.startsWith("actions/checkout@")) expect(inputs?.["persist-credentials"]).toBe(false);
        if (/\b(pnpm|npm) (install|ci)\b/.test(run)) expect(run).toContain("--ignore-scripts");
        expect(uses).not.toMatch(/^actions\/cache@/);
        expect(inputs?.["cache"]).toBeUndefined();
      }
    },
  );

  test("uses secrets in the publishing job alone, and puts no foreign text into a shell", () => {
    for (const [name, job] of Object.entries(jobs)) {
      if (publishing.some(([one]) => one === name)) continue;
      expect(JSON.stringify(job), name).not.toContain("secrets.");
    }
    const runs = Object.values(jobs).flatMap(({ steps }) => steps.map(({ run = "" }) => run));
    expect(runs.filter((run) => /\$\{\{\s*(github\.(event|head_ref|ref_name)|inputs)\b/.test(run))).toEqual(
      [],
    );
  });

  test("runs for a change of whatever its package is built from", () => {
    const [, name = ""] = /packages\/(backend-[\w-]+?)\/scripts/.exec(yaml) ?? [];
    const paths = on["pull_request"]?.paths ?? [];
    const needed = dependenciesOf(name);
    expect(needed).toContain("backend-kit");
    const uncovered = [...needed].filter(
      (one) => !paths.includes(`packages/${one}/**`) && !paths.includes(`packages/${one}/src/**`),
    );
    expect(uncovered).toEqual([]);
    const crates = cratesOf(name);
    expect(
      crates.filter((crate) => !paths.some((one) => `${crate}/`.startsWith(one.replace("**", "")))),
    ).toEqual([]);
    expect(paths).toContain(path);
    for (const one of paths) expect(existsSync(join(root, one.replace(/\/\*\*$/, ""))), one).toBe(true);
  });
});

/** Folders of the crates in this repository that the package's addon is built from, relative to the root. */
function cratesOf(name: string): string[] {
  const manifest = `packages/${name}/native/Cargo.toml`;
  if (!existsSync(join(root, manifest))) return [];
  return [...text(manifest).matchAll(/\bpath\s*=\s*"(\.\.[^"]+)"/g)].map(([, path = ""]) =>
    relative(root, resolve(root, dirname(manifest), path)),
  );
}

/** Folders of the package and of all in this workspace that it needs to run. */
function dependenciesOf(name: string, found: Set<string> = new Set()): Set<string> {
  if (found.has(name)) return found;
  found.add(name);
  const manifest = JSON.parse(text(`packages/${name}/package.json`)) as Readonly<
    Record<"dependencies" | "peerDependencies", Readonly<Record<string, string>> | undefined>
  >;
  for (const [dependency, range] of Object.entries({
    ...manifest.dependencies,
    ...manifest.peerDependencies,
  })) {
    if (range.startsWith("workspace:")) dependenciesOf(dependency.replace("@crossrank/", ""), found);
  }
  return found;
}

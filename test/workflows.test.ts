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
  /** Another workflow of this repository, in place of steps. */
  readonly uses?: string;
  readonly steps?: readonly Step[];
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
  const stepsOf = (job: Job): readonly Step[] => job.steps ?? [];
  const publishing = Object.entries(jobs).filter(([, job]) =>
    stepsOf(job).some(({ run = "" }) =>
      /\bpublish\.mjs --from\b|\b(npm|pnpm|changeset|napi) (pre-)?publish\b/.test(run),
    ),
  );
  const proposing = Object.entries(jobs).filter(([, job]) =>
    stepsOf(job).some(({ run = "" }) => /\bgit push\b/.test(run)),
  );
  const isOne = (some: readonly (readonly [string, Job])[], name: string): boolean =>
    some.some(([one]) => one === name);

  test("reads the repository and nothing else, except where it publishes or proposes versions", () => {
    expect(permissions).toEqual({ contents: "read" });
    for (const [name, job] of Object.entries(jobs)) {
      const allowed = isOne(publishing, name)
        ? { contents: "read", "id-token": "write" }
        : isOne(proposing, name)
          ? { contents: "write", "pull-requests": "write" }
          : undefined;
      expect(job.permissions, name).toEqual(allowed);
      if (job.uses === undefined) expect(job["timeout-minutes"], name).toBeGreaterThan(0);
      else expect(existsSync(join(root, job.uses)), job.uses).toBe(true);
    }
    // It would run a stranger's change with this repository's rights.
    expect(Object.keys(on)).not.toContain("pull_request_target");
    expect(Object.keys(on)).not.toContain("workflow_run");
  });

  test.each(publishing)(
    "%s publishes from main alone, after all other jobs, and runs nothing beside it",
    (name, job) => {
      expect(Object.keys(on).sort()).toEqual(["push", "workflow_dispatch"]);
      expect(on["push"]).toEqual({ branches: ["main"] });
      expect([job.needs].flat().sort()).toEqual(
        Object.keys(jobs)
          .filter((one) => one !== name)
          .sort(),
      );
      // A skipped job that it needs skips it; a condition of its own could undo that.
      expect(job.if).toBeUndefined();
      expect(job.environment).toBe("release");
      const runs = stepsOf(job).flatMap(({ run }) => run ?? []);
      expect(runs).toEqual(["node scripts/publish.mjs --from packed"]);
      for (const { uses = "", with: inputs } of stepsOf(job)) {
        if (uses.startsWith("actions/checkout@")) expect(inputs?.["persist-credentials"]).toBe(false);
        expect(uses).not.toMatch(/^actions\/cache@/);
        expect(inputs?.["cache"]).toBeUndefined();
      }
    },
  );

  test.each(proposing)(
    "%s proposes versions from main alone, and runs no script of a dependency",
    (_name, job) => {
      expect(on).toEqual({ push: { branches: ["main"] } });
      for (const { uses = "", run = "" } of stepsOf(job)) {
        if (/\b(pnpm|npm) (install|ci)\b/.test(run)) expect(run).toContain("--ignore-scripts");
        expect(uses).not.toMatch(/^actions\/cache@/);
      }
    },
  );

  test("uses secrets in the publishing job alone, and puts no foreign text into a shell", () => {
    for (const [name, job] of Object.entries(jobs)) {
      if (isOne(publishing, name)) continue;
      expect(JSON.stringify(job), name).not.toContain("secrets.");
      expect(job, name).not.toHaveProperty("secrets");
    }
    const runs = Object.values(jobs).flatMap((job) => stepsOf(job).map(({ run = "" }) => run));
    expect(runs.filter((run) => /\$\{\{\s*(github\.(event|head_ref|ref_name)|inputs)\b/.test(run))).toEqual(
      [],
    );
  });
});

const native = workflows.flatMap((path) => {
  const [, name] = /packages\/(backend-[\w-]+?)\/scripts/.exec(text(path)) ?? [];
  return name === undefined ? [] : [[path, name] as const];
});

test.each(native)("%s runs for a change of whatever its package is built from", (path, name) => {
  const { on } = parse(text(path)) as Workflow;
  expect(on).toHaveProperty("workflow_call");
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

test("one workflow publishes, and one proposes versions", () => {
  const withRun = (pattern: RegExp): string[] => workflows.filter((path) => pattern.test(text(path)));
  expect(withRun(/publish\.mjs --from/)).toEqual([".github/workflows/release.yml"]);
  expect(withRun(/git push/)).toEqual([".github/workflows/versions.yml"]);
  const addons = readdirSync(join(root, "packages")).filter((name) =>
    existsSync(join(root, "packages", name, "native/Cargo.toml")),
  );
  expect(native.map(([, name]) => name).sort()).toEqual(addons.sort());
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

import { existsSync, readFileSync } from "node:fs";
import { mkdtemp, readdir, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { llamacpp } from "@crossrank/backend-llamacpp";
import { mnn } from "@crossrank/backend-mnn";
import { onnx } from "@crossrank/backend-onnx";
import { type Backend, CrossrankError, type Reranker } from "@crossrank/core";
import { afterAll, beforeAll, describe, expect, it, vi } from "vitest";
import { sampleOf } from "../../../test/sample.js";
import {
  gitFile,
  type HubServer,
  lfsFile,
  type RepositoryFile,
  startHub,
} from "../../hub/test/hub-server.js";
import { openReranker } from "../src/index.js";
import { type Case, forms, publishedTable, type Reference, type Refusal, rows } from "./published/forms.js";
import goldens from "./published/goldens.json" with { type: "json" };
import { folderName, makeLayout } from "./published/layouts.js";
import { conformanceFixture, crossrankInTurn as crossrank, fixture as onnxFixture } from "./run-command.js";

const query = "what is red";
const documents = ["The sky is blue today.", "water is wet and cold", "Mars is red"];
const commit = "0123456789abcdef0123456789abcdef01234567";

const place = await mkdtemp(join(tmpdir(), "crossrank-published-"));
const { available: hasMnn, detail } = await mnn({ sessions: 1, threads: 1 }).diagnose();
const needsMnn = hasMnn || process.env["CROSSRANK_REQUIRE_MNN"] === "1";
if (!needsMnn) console.warn(`SKIPPED: a form in MNN. ${detail}`);

let hub: HubServer | undefined;

beforeAll(async () => {
  const wanted = new Map(
    tried.filter(({ hub: isHub }) => isHub).map((one) => [repositoryOf(one), one.layout] as const),
  );
  hub = await startHub(
    ...(await Promise.all(
      [...wanted].map(async ([id, layout]) => ({
        id,
        commit,
        revisions: ["main"],
        files: await repositoryFiles(await makeLayout(layout, place)),
      })),
    )),
  );
  vi.stubEnv("HF_ENDPOINT", hub.endpoint);
  vi.stubEnv("HF_HOME", join(place, "home"));
  vi.stubEnv("HF_HUB_CACHE", "");
  vi.stubEnv("HF_HUB_OFFLINE", "");
  vi.stubEnv("HF_TOKEN", "");
});

afterAll(async () => {
  vi.unstubAllEnvs();
  await hub?.[Symbol.asyncDispose]();
  await rm(place, { recursive: true, force: true });
});

function repositoryOf({ hub: id, layout }: Pick<Case, "hub" | "layout">): string {
  return typeof id === "string" ? id : `tests/${folderName(layout)}`;
}

async function repositoryFiles(root: string): Promise<Record<string, RepositoryFile>> {
  const entries = await readdir(root, { recursive: true, withFileTypes: true });
  return Object.fromEntries(
    await Promise.all(
      entries
        .filter((entry) => entry.isFile())
        .map(async (entry) => {
          const local = join(entry.parentPath, entry.name);
          const content = await readFile(local);
          const isText = /\.(?:json|md|txt)$/.test(entry.name);
          return [
            local.slice(root.length + 1).replaceAll("\\", "/"),
            isText ? gitFile(content) : lfsFile(content),
          ] as const;
        }),
    ),
  );
}

const cases = forms.flatMap((form) => form.cases.map((one) => ({ id: form.id, ...one })));

/** Every case is tried in `.ci/long`. */
const tried = sampleOf(
  cases.filter(({ layout }) => needsMnn || layout !== "mnn-alone"),
  { name: "published", every: 3 },
);

function titleOf({
  id,
  layout,
  part = "",
  hub: isHub,
  options = {},
}: Case & { readonly id: string }): string {
  const said = Object.entries(options).map(([name, value]) => `${name} ${value}`);
  const hubs = typeof isHub === "string" ? `${isHub}, ` : isHub ? "hub, " : "";
  return [`${id}: ${hubs}${layout}${part}`, ...said].join(", ");
}

/** Backends that a form names: in a thread, since a process of its own costs more than the model. */
const named: Readonly<Record<string, () => Backend>> = {
  onnx: () => onnx({ isolation: "thread", workers: 1, threads: 1 }),
  llamacpp: () => llamacpp({ isolation: "thread", threads: 1 }),
};

async function open({ layout, part = "", hub: isHub, options = {} }: Case): Promise<Reranker> {
  const { base, backend, ...others } = options;
  const folder = await makeLayout(layout, place);
  const made = backend === undefined ? undefined : named[backend]?.();
  return openReranker(`${isHub ? repositoryOf({ layout, hub: isHub }) : folder}${part}`, {
    ...others,
    ...(made === undefined ? { backend, threads: 1 } : { backend: made }),
    ...(base === undefined ? {} : { base: base.includes("/") ? base : conformanceFixture(base) }),
  });
}

async function logitsOf(opened: Reranker): Promise<number[]> {
  await using reranker = opened;
  const { scores } = await reranker.score(documents.map((document) => ({ query, document })));
  return scores.map(({ logit }) => logit as number);
}

const known = new Map<string, Promise<number[]>>();

/** The reference's logits; once each. */
function logitsOfReference({ of }: Reference): Promise<number[]> {
  const key = JSON.stringify(of);
  const logits = known.get(key) ?? compute(of);
  known.set(key, logits);
  return logits;
}

async function compute(of: Reference["of"]): Promise<number[]> {
  if ("golden" in of) return (goldens.logits as Record<string, number[]>)[of.golden] ?? [];
  const [, ofOnnx] = /^onnx:(.*)$/.exec(of.fixture) ?? [];
  const folder = ofOnnx === undefined ? conformanceFixture(of.fixture) : onnxFixture(ofOnnx);
  return logitsOf(await openReranker(folder, { backend: named["onnx"]?.() }));
}

async function expectScores(one: Case, gives: Reference): Promise<void> {
  const reranker = await open(one);
  const path = reranker.session.artifact.files[0]?.path;
  const logits = await logitsOf(reranker);
  const wanted = (await logitsOfReference(gives)).map((logit) => (gives.negated ? -logit : logit));
  expect(wanted).toHaveLength(documents.length);
  const worst = Math.max(...logits.map((logit, index) => Math.abs(logit - (wanted[index] as number))));
  expect(worst, `${logits.join(" ")} for ${wanted.join(" ")}`).toBeLessThanOrEqual(gives.within);
  if (one.artifact !== undefined) expect(path).toMatch(one.artifact);
}

async function expectRefusal(one: Case, { code, says }: Refusal): Promise<void> {
  const outcome = await open(one).then(
    async (reranker) => `no refusal, but logits ${(await logitsOf(reranker)).join(" ")}`,
    (error: unknown) => error,
  );
  expect(outcome).toBeInstanceOf(CrossrankError);
  const error = outcome as CrossrankError;
  expect(error.message.toLowerCase()).toSatisfy(
    (message: string) => says.every((part) => message.includes(part.toLowerCase())),
    `says ${says.join(", ")}: ${error.message}`,
  );
  expect(error.code).toBe(code);
}

describe("models as they are published", () => {
  it.each(tried.map((one) => [titleOf(one), one] as const))("%s", async (_, one) => {
    // A form that does not work yet is refused in a typed way; when it works, this says so.
    if (one.notYet !== undefined) await expectRefusal(one, one.notYet);
    else if (one.refuses !== undefined) await expectRefusal(one, one.refuses);
    else await expectScores(one, one.gives as Reference);
  });
});

it("scores by the tanh that a model names, in the order of its logits", async () => {
  await using reranker = await open({ layout: "tanh", options: { backend: "onnx" } });
  const { scale, scores } = await reranker.score(documents.map((document) => ({ query, document })));
  expect(scale).toBe("tanh");
  for (const { logit, score } of scores) expect(score).toBe(Math.tanh(logit as number));
});

it("inspect says what is of the catalogue, and by what the model is known", async () => {
  const folder = await makeLayout("gemma-plain", place);
  const { code, stdout } = await crossrank(["inspect", folder, "--format", "json"]);
  expect(code).toBe(0);
  expect(stdout).toContain(
    "catalogue: bge-reranker-v2-gemma, from the model card of BAAI/bge-reranker-v2-gemma",
  );
  expect(stdout).toContain("known because README.md has the wording of bge-reranker-v2-gemma");
});

it("inspect lists every .onnx of a repository", async () => {
  const folder = await makeLayout("sentence-transformers-onnx", place);
  const { code, stdout } = await crossrank(["inspect", folder, "--format", "json"]);
  expect(code).toBe(0);
  for (const name of await readdir(join(folder, "onnx"))) expect(stdout).toContain(`onnx/${name}`);
});

describe("the table of forms", () => {
  it("has each form once, and every case has one outcome", () => {
    expect(new Set(forms.map(({ id }) => id)).size).toBe(forms.length);
    for (const one of cases) {
      expect(Number(one.gives !== undefined) + Number(one.refuses !== undefined), titleOf(one)).toBe(1);
      expect(one.notYet === undefined || one.gives !== undefined, titleOf(one)).toBe(true);
    }
  });

  it("says in the README what the cases show", () => {
    for (const { form, works, forms: own } of rows) {
      const all = own.flatMap((one) => one.cases);
      const scores = all.some(({ gives, notYet }) => gives !== undefined && notYet === undefined);
      const waits = all.some(({ notYet }) => notYet !== undefined);
      expect(/^(?:yes|not yet|no)/.exec(works)?.[0], form).toBe(scores ? "yes" : waits ? "not yet" : "no");
    }
  });

  it("is in the README as it is here", () => {
    const readme = readFileSync(new URL("../../../README.md", import.meta.url), "utf8");
    // node scripts/write-readme.mjs published
    expect(readme.split("<!-- published:start -->")[1]?.split("<!-- published:end -->")[0]?.trim()).toBe(
      publishedTable(),
    );
  });

  // The survey is not part of the repository.
  const survey = fileURLToPath(new URL("../../../../shared/published/repositories.json", import.meta.url));
  if (!existsSync(survey)) console.warn("SKIPPED: the survey of published models is not here");
  it.runIf(existsSync(survey))("has every form of the survey", () => {
    const surveyed = JSON.parse(readFileSync(survey, "utf8")) as { forms: { form: string }[] };
    expect(forms.map(({ id }) => id).sort()).toEqual(surveyed.forms.map(({ form }) => form).sort());
  });
});

import { readFileSync } from "node:fs";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { CrossrankError, readProfile } from "@crossrank/core";
import { completeModel, openFolder } from "@crossrank/hub";
import { afterAll, expect, it } from "vitest";
import survey from "../../core/test/survey.json" with { type: "json" };
import {
  type Conversion,
  conversions,
  conversionsTable,
  counts,
  makeStandIn,
  type Outcome,
  repositories,
  undecided,
} from "./published/conversions.js";
import { conformanceFixture } from "./run-command.js";

const place = await mkdtemp(join(tmpdir(), "crossrank-conversions-"));
afterAll(() => rm(place, { recursive: true, force: true }));

async function outcomeOf(folder: string, base?: string): Promise<string> {
  try {
    const files = await completeModel(await openFolder(folder), {
      folder: join(place, "made"),
      base: base === undefined ? undefined : await openFolder(conformanceFixture(base)),
    });
    return (await readProfile(files)).profile.family;
  } catch (error) {
    if (!CrossrankError.isInstance(error)) throw error;
    return error.message.toLowerCase();
  }
}

function expectOutcome(found: string, wanted: Outcome): void {
  if ("reads" in wanted) expect(found).toBe(wanted.reads);
  else expect(found).toContain(wanted.refuses.toLowerCase());
}

it.each(
  [...conversions, ...undecided].map((one, index): [string, number, Conversion] => [one.what, index, one]),
)("%s", async (_what, index, { standIn, alone, withBase }) => {
  const folder = await makeStandIn(standIn, join(place, String(index)));
  expectOutcome(await outcomeOf(folder), alone);
  if (withBase !== undefined) expectOutcome(await outcomeOf(folder, withBase.base), withBase);
});

it("has the conversions that the survey's own facts do not decide", () => {
  const open = survey.filter((one) => "elsewhere" in one).map(({ id }) => id);
  expect([...repositories].sort()).toEqual(open.sort());
  expect(counts).toEqual({ alone: 9, withBase: 7, refused: 8, undecided: 3 });
});

it("is in the guide as it is here", () => {
  const guide = readFileSync(new URL("../../../docs/guides/published-models.md", import.meta.url), "utf8");
  // node scripts/write-readme.mjs conversions
  const [, after = ""] = guide.split("<!-- conversions:start -->");
  expect(after.split("<!-- conversions:end -->")[0]?.trim()).toBe(conversionsTable());
});

import { type Evidence, staleVerification } from "../card/evidence.js";
import type { CardArtifact, ModelFacts } from "../card/model-facts.js";
import { systemsOf } from "../card/sections.js";

/** What stands between a folder and the hub; empty where nothing does. */
export function gatesOf(facts: ModelFacts, artifact: CardArtifact, evidence: Evidence): string[] {
  return [...verified(facts, artifact, evidence), ...evaluated(facts, artifact, evidence)];
}

function verified(facts: ModelFacts, artifact: CardArtifact, { verify }: Evidence): string[] {
  const fix = `Run crossrank verify ${facts.folder} with its backend and --format json, and name what it prints with --verify, or keep it as evidence/verify.json.`;
  if (verify.length === 0) return [`There is no verification of ${artifact.path}. ${fix}`];
  const stale: string[] = [];
  for (const report of verify) {
    const problem = staleVerification(report, artifact, facts.side);
    if (problem !== undefined) {
      stale.push(`${report.source} is of other files: ${problem}.`);
      continue;
    }
    const failed = report.content.verifications.find(({ passed }) => !passed);
    if (failed !== undefined || !report.content.passed)
      return [
        `${report.source} did not pass: ${failed?.reason ?? "it says so"}. Mend the artifact, and verify it again.`,
      ];
    if (report.content.verifications.every(({ summary }) => summary.compared === 0)) {
      stale.push(`${report.source} compared no case.`);
      continue;
    }
    return [];
  }
  return [`${stale.join(" ")} ${fix}`];
}

function evaluated(facts: ModelFacts, artifact: CardArtifact, evidence: Evidence): string[] {
  const fix = `Run crossrank eval on ${facts.folder} with a reference, this artifact, --gate and --report, and name the report with --eval, or keep it as evidence/eval.`;
  if (evidence.eval.length === 0) return [`There is no evaluation of ${artifact.path}. ${fix}`];
  const systems = systemsOf({ facts, evidence }, artifact);
  if (systems.length === 0)
    return [
      `${evidence.eval.map(({ source }) => source).join(", ")}: no system of it is sha256 ${artifact.files[0]?.sha256.slice(0, 12)}…, which ${artifact.path} is now. ${fix}`,
    ];
  const unfit: string[] = [];
  let passed = false;
  for (const { system, report, stale } of systems) {
    if (stale !== undefined) {
      unfit.push(`${report.source}, ${system.name}: ${stale}.`);
      continue;
    }
    const failed = system.gates.find((gate) => gate.passed === false);
    if (system.passed === false || failed !== undefined)
      return [
        `${report.source}, ${system.name}: did not pass: ${failed?.sentence ?? "it says so"} Publish another precision, or mend it.`,
      ];
    const isJudged = system.passed === true && system.gates.some((gate) => gate.passed === true);
    // Others are held against it and passed, and it is as precise as the weights.
    const isReference =
      system.role === "reference" &&
      report.content.passed &&
      report.content.systems.some((other) => other.passed === true) &&
      /^f(?:p|loat)?32$/i.test(artifact.dtype);
    if (isJudged || isReference) passed = true;
    else unfit.push(`${report.source}, ${system.name}: no gate judged it.`);
  }
  return passed ? [] : [`${unfit.join(" ")} ${fix}`];
}

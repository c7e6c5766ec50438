import type {
  ResidencyDrift,
  ResidencyFingerprint,
  ResidencyPlace,
  ResidencyReport,
  ResidencyVerdict,
} from "@crossrank/backend-coreml";
import { alignColumns, formatCount, toSingleLine } from "../../text.js";

const placeNames: Readonly<Record<ResidencyPlace, string>> = {
  neuralEngine: "Neural Engine",
  cpu: "CPU",
  gpu: "GPU",
  noDevice: "no device",
};

export function writtenTable(path: string, { neuralEngine, cpu, noDevice }: ResidencyFingerprint): string {
  const totals = [neuralEngine.total, cpu.total, 0, noDevice?.total ?? 0].map(formatCount);
  const rows = Object.values(placeNames).map((name, index) => [name, totals[index] ?? ""]);
  return `${[...alignColumns([["", "pinned"], ...rows], ["left", "right"]), "", `wrote ${toSingleLine(path)}`].join("\n")}\n`;
}

export function verdictTable(
  {
    reportPath,
    baseline,
    notes,
  }: { readonly reportPath: string; readonly baseline: string; readonly notes: readonly string[] },
  { computeUnits, operations }: ResidencyReport,
  { passed, totals, drifts }: ResidencyVerdict,
): string {
  const asked = computeUnits === undefined ? "" : `, planned for ${computeUnits}`;
  const facts = [
    ["report", `${reportPath}, ${formatCount(operations.length)} operations${asked}`],
    ["baseline", baseline],
  ];
  const places = (Object.keys(placeNames) as ResidencyPlace[]).map((place) => [
    placeNames[place],
    ...[totals[place].expected, totals[place].found].map(formatCount),
  ]);
  // The totals are above.
  const rows = drifts.filter((drift) => drift.place === "computeUnits" || drift.operator !== null).map(rowOf);
  const lines = [
    ...alignColumns(
      facts.map((row) => row.map(toSingleLine)),
      ["left", "left"],
    ),
    "",
    ...alignColumns([["", "expected", "found"], ...places], ["left", "right", "right"]),
    ...(rows.length === 0
      ? []
      : [
          "",
          ...alignColumns(
            [["drift", "operator", "expected", "found"], ...rows],
            ["left", "left", "right", "right"],
          ),
        ]),
    ...(notes.length === 0 ? [] : ["", ...notes.map((note) => `note: ${toSingleLine(note)}`)]),
    "",
    passed ? "PASS: it keeps to the fingerprint." : `FAIL: ${summaryOf({ drifts })}.`,
  ];
  return `${lines.join("\n")}\n`;
}

function rowOf(drift: ResidencyDrift): string[] {
  if (drift.place === "computeUnits") return ["compute units", "", drift.expected, drift.found];
  const { place, operator, expected, found } = drift;
  return [placeNames[place], toSingleLine(operator ?? ""), formatCount(expected), formatCount(found)];
}

/** One clause a place: what its total did, or else that its operators are others. */
export function summaryOf({ drifts }: Pick<ResidencyVerdict, "drifts">): string {
  const clauses: string[] = [];
  const totals = new Set<string>();
  for (const drift of drifts) {
    if (drift.place === "computeUnits") {
      clauses.push(`it was planned for ${drift.found} and not for ${drift.expected}`);
    } else if (!totals.has(drift.place)) {
      totals.add(drift.place);
      const { place, operator, expected, found } = drift;
      const name = place === "noDevice" ? "on no device" : `on the ${placeNames[place]}`;
      clauses.push(
        operator === null
          ? `${formatCount(found)} operation${found === 1 ? "" : "s"} ${name} in place of ${formatCount(expected)}`
          : `other operators ${name}`,
      );
    }
  }
  return clauses.join("; ");
}

import type { ConfigProposal } from "../../pick/config-file.js";
import type { LeftOut, PickCascade, PickReport, PickSystem, Ratio } from "../../pick/report.js";
import { alignColumns, describeSettings, formatBytes, formatCount, toSingleLine } from "../../text.js";
import { short } from "../eval/table.js";

const none = "–";

const header = [
  "",
  "nDCG@10",
  "Δ",
  "at least",
  "|Δ| of scores",
  "ms a call",
  "to fastest",
  "processor ms",
  "to fastest",
  "artifact",
  "memory",
];

const reasons: Readonly<Record<LeftOut["reason"], string>> = {
  "not-installed": "not installed",
  "not-here": "does not work here",
  "no-file": "no file",
  refused: "refused",
  gate: "loses quality",
  "out-of-time": "out of time",
  "out-of-memory": "out of memory",
  crashed: "crashed",
  failed: "failed",
};

export function pickTable(
  report: PickReport,
  proposal: ConfigProposal | undefined,
  written: boolean,
): string {
  const parts = [
    choiceOf(report)
      .map(([what, text]) => `${what}: ${text}`)
      .join("\n"),
    columns([header, ...report.systems.map(rowOf)]).join("\n"),
    ...leftOutOf(report, (rows) =>
      columns(
        rows.map((row) => ["", ...row]),
        "left",
      ).join("\n"),
    ),
    smallPrint(report).join("\n"),
    ...(proposal === undefined ? [] : [proposalOf(proposal, written)]),
  ];
  return `${parts.join("\n\n")}\n`;
}

export function pickMarkdown(
  report: PickReport,
  proposal: ConfigProposal | undefined,
  written: boolean,
): string {
  const table = (head: readonly string[], rows: readonly (readonly string[])[], side: string): string =>
    [head, head.map((_, column) => (column === 0 ? "---" : side)), ...rows]
      .map((row) => `| ${row.map(cell).join(" | ")} |`)
      .join("\n");
  const parts = [
    choiceOf(report)
      .map(([what, text]) => `- **${what}**: ${text.replaceAll("|", "\\|")}`)
      .join("\n"),
    table(header, report.systems.map(rowOf), "---:"),
    ...leftOutOf(report, (rows) => table(["Left out", "why", ""], rows, "---")),
    smallPrint(report)
      .map((line) => `- ${line}`)
      .join("\n"),
    ...(proposal === undefined
      ? []
      : [`${titleOf(proposal, written)}\n\n\`\`\`json\n${proposal.content.trim()}\n\`\`\``]),
  ];
  return `${parts.join("\n\n")}\n`;
}

export function pickJson(report: PickReport, proposal: ConfigProposal | undefined, written: boolean): string {
  const config = proposal === undefined ? null : { ...proposal, written };
  return `${JSON.stringify({ ...report, config }, undefined, 2)}\n`;
}

function cell(text: string): string {
  return toSingleLine(text).replaceAll("|", "\\|");
}

function choiceOf({ choice, cascade, advice }: PickReport): [string, string][] {
  if (choice === null) return [["recommended", "none: nothing that was timed keeps the quality"]];
  const { recommended, fastest, level, smallest, mostExact, reason } = choice;
  const others = level.filter((name) => name !== fastest);
  return [
    ["recommended", `${recommended}. ${reason}`],
    ["fastest", others.length === 0 ? fastest : `${fastest}, level with ${others.join(", ")}`],
    ["smallest", smallest],
    ["most exact", mostExact],
    ...(cascade === null ? [] : [["cascade", cascadeOf(cascade)] as [string, string]]),
    ...advice.map((sentence): [string, string] => ["to know", sentence]),
  ];
}

function cascadeOf({ small, large, keep, ndcg, change, time, recommended, reason }: PickCascade): string {
  const whole =
    time === null
      ? ""
      : `, ${ratio(time.wall)} as fast in whole calls by the clock, ${ratio(time.processor)} in processor time`;
  const facts =
    keep === null
      ? ""
      : ` keep ${keep}: nDCG@10 ${ndcg?.toFixed(4)}, Δ ${signed(change?.mean)}, at least ${signed(change?.lowerBound)}${whole};`;
  return `${small} before ${large},${facts} ${recommended ? "recommended" : "not recommended"}. ${reason}`;
}

function rowOf(system: PickSystem): string[] {
  const { name, ndcg, change, distance, time, artifact, memory, gate } = system;
  const isReference = change === null && distance === 0;
  const mark = isReference ? " (reference)" : gate.passed ? "" : " (failed)";
  return [
    `${name}${mark}`,
    ndcg === null ? none : ndcg.toFixed(4),
    signed(change?.mean),
    signed(change?.lowerBound),
    short(distance),
    milliseconds(time?.wall),
    ratio(time?.wallRatio),
    milliseconds(time?.processor),
    ratio(time?.processorRatio),
    artifact.bytes === null ? none : formatBytes(artifact.bytes),
    memory === null ? none : formatBytes(memory),
  ];
}

function leftOutOf(
  { leftOut }: PickReport,
  shown: (rows: readonly (readonly string[])[]) => string,
): string[] {
  if (leftOut.length === 0) return [];
  return [shown(leftOut.map(({ name, reason, detail }) => [name, reasons[reason], detail]))];
}

/** What the numbers depend on. */
function smallPrint(report: PickReport): string[] {
  const { task, model, timing, time, settings, environment, maxLoss, reference, systems } = report;
  const { cpu, cores, platform, node, packages } = environment;
  const of =
    task.queries < task.allQueries
      ? `the first ${formatCount(task.queries)} of ${formatCount(task.allQueries)} queries`
      : `${formatCount(task.queries)} queries`;
  const revision = model.revision === null ? "" : ` at ${model.revision.slice(0, 12)}`;
  const own = Object.entries({
    threads: settings.threads,
    workers: settings.workers,
    "max length": settings.maxLength,
  }).flatMap(([name, value]) => (value === null ? [] : [`${name} ${value}`]));
  const runtimes = systems.map(
    ({ name, runtime, settings: chosen }) =>
      `${name} ${runtime.name} ${runtime.version}${describeSettings(chosen)}`,
  );
  return [
    `task ${task.id}, sha256 ${task.sha256.slice(0, 16)}: ${of}, ${formatCount(task.pairs)} pairs, candidates ${task.candidates ?? "of a search of the whole corpus"}`,
    `model ${model.id}${revision}, ${model.family}, against ${reference}; accepted loss of nDCG@10 ${maxLoss}`,
    timing === null
      ? "nothing was timed"
      : `${timing.rounds} rounds in turn from ${timing.startedAt}, ${timing.pairs} pairs a call, ${timing.loadedAtOnce ? "all models loaded" : "each model loaded for its turns alone"}; load average ${timing.load.before.toFixed(1)} before, ${timing.load.after.toFixed(1)} after`,
    `${cpu ?? "unknown processor"}, ${cores} threads, ${platform}, Node ${node}, ${formatBytes(environment.memory)} of memory; seed ${settings.seed}${own.length === 0 ? "" : `; ${own.join(", ")}`}`,
    `${Object.entries(packages)
      .map((entry) => entry.join(" "))
      .join(", ")}`,
    runtimes.join("; "),
    `${Math.round(time.spent)} s of ${Math.round(time.limit)} s; scores are kept in ${report.folder}`,
  ].map(toSingleLine);
}

function proposalOf(proposal: ConfigProposal, written: boolean): string {
  return proposal.change === "same"
    ? titleOf(proposal, written)
    : `${titleOf(proposal, written)}\n${proposal.content.trimEnd()}`;
}

function titleOf({ path, change }: ConfigProposal, written: boolean): string {
  switch (change) {
    case "same":
      return `${path} says all of this already.`;
    case "by-hand":
      return `${path} is code, which is not written to. Put this into it:`;
    case "new":
      return written ? `${path} was written:` : `${path} would be written (--write):`;
    case "merged":
      return written
        ? `${path} was written; what it said is kept:`
        : `${path} would become (--write); what it says is kept:`;
  }
}

function columns(rows: readonly (readonly string[])[], other: "left" | "right" = "right"): string[] {
  const clean = rows.map((row) => row.map(toSingleLine));
  const lines = alignColumns(
    clean,
    (rows[0] ?? []).map((_, column) => (column === 0 ? "left" : other)),
  );
  return other === "left" ? ["left out", ...lines] : lines;
}

function signed(value: number | null | undefined): string {
  if (value == null) return none;
  const shown = value.toFixed(4);
  if (Number(shown) === 0) return "0.0000";
  return value > 0 ? `+${shown}` : shown.replace("-", "−");
}

function milliseconds(value: number | null | undefined): string {
  return value == null ? none : value < 100 ? value.toFixed(2) : String(Math.round(value));
}

function ratio(value: Ratio | null | undefined): string {
  if (value == null) return none;
  return `×${value.value.toFixed(2)} (${value.lower.toFixed(2)} to ${value.upper.toFixed(2)})`;
}

import type { BaselineComparison } from "./baseline.js";
import {
  type BarRow,
  type ChartRole,
  drawBars,
  drawDeltas,
  drawScatter,
  drawSpeed,
  type SpeedRow,
} from "./charts.js";
import { html, Markup } from "./escape.js";
import {
  showBytes,
  showChange,
  showCount,
  showMetric,
  showMetricName,
  showNumber,
  showProbability,
  showSettings,
  showShare,
  unknown,
} from "./figures.js";
import { renderPage } from "./page.js";
import {
  baselineHeadline,
  baselineProblem,
  failedGates,
  headline,
  outcomeSigns,
  primaryMetric,
  queryChanges,
  roleTitles,
  scope,
  showCascade,
  showLength,
  verdictOf,
} from "./reading.js";
import type { EvaluationReport, GateReport, SystemReport } from "./report-data.js";

export interface HtmlOptions {
  /** Texts of queries, to name the worst ones by. Query id → text. */
  readonly queryTexts?: ReadonlyMap<string, string> | undefined;
  /** What a comparison with a baseline came to. It does not change the verdict of the gates. */
  readonly baseline?: BaselineComparison | undefined;
}

/** Queries listed beneath each plot of changes. */
const worstQueries = 8;

/**
 * The report as one HTML file that needs nothing else (see {@link renderPage}). The same report gives the same text.
 */
export async function renderHtml(report: EvaluationReport, options: HtmlOptions = {}): Promise<string> {
  const title = `${report.model.id} on ${report.task.name}`;
  const sections = [
    verdictSection(report),
    ...(options.baseline === undefined ? [] : [baselineSection(options.baseline)]),
    qualitySection(report),
    ...candidates(report).map((system) => candidateSection(report, system, options)),
    tableSection(report),
    provenanceSection(report),
  ];
  return renderPage({
    title: `${verdictWord(report)}: ${title}`,
    header: html`<h1>${report.model.id} <small>on</small> ${report.task.name}</h1>
<p class="soft">${scope(report)} · <time datetime="${report.created}">${report.created.slice(0, 16).replace("T", " ")} UTC</time></p>`,
    main: sections,
  });
}

function verdictWord(report: EvaluationReport): string {
  return report.passed === null ? "not judged" : report.passed ? "passed" : "failed";
}

function verdictSection(report: EvaluationReport): Markup {
  const failed = failedGates(report);
  const word = verdictWord(report);
  const sign = report.passed === null ? "·" : report.passed ? "✓" : "✗";
  const judged = report.systems.filter(({ gates }) => gates.length > 0);
  return html`<section aria-labelledby="verdict">
<h2 id="verdict" class="verdict ${word.replace(" ", "-")}"><span aria-hidden="true">${sign}</span> ${word}</h2>
<p class="lead">${headline(report)}</p>
${failed.length === 0 ? "" : html`<ul class="failures">${failed.map(({ system, gate }) => html`<li><strong>${system.name}</strong> ${gate.sentence}</li>`)}</ul>`}
${judged.map(
  (system) => html`<details>
<summary>${verdictChip(system)} ${system.name}: ${gateCounts(system.gates)}</summary>
<ul class="gates">${system.gates.map((gate) => html`<li class="${gate.outcome}"><span class="sign" aria-hidden="true">${outcomeSigns[gate.outcome]}</span><span><span class="unseen">${gate.outcome}: </span>${gate.sentence}</span></li>`)}</ul>
</details>`,
)}
${notes([...report.warnings])}
</section>`;
}

function baselineSection(comparison: BaselineComparison): Markup {
  const { outcome } = comparison;
  const chip = outcome === "passed" ? "passed" : outcome === "failed" ? "failed" : "degraded";
  const problems = [
    ...comparison.obstacles.map(({ sentence }) => html`<li>${sentence}</li>`),
    ...comparison.systems.flatMap((system) => {
      const problem = baselineProblem(system);
      return problem === undefined ? [] : [html`<li><strong>${system.name}</strong> ${problem}</li>`];
    }),
  ];
  const changes = comparison.systems.flatMap((system) =>
    system.changes.map(
      (change) =>
        html`<tr><th scope="row">${system.name}</th><td>${showMetricName(change.metric)}</td><td>${showMetric(change.before)}</td><td>${showMetric(change.now)}</td><td>${showChange(change.mean)}</td><td>${showChange(change.lowerBound)}</td><td>${showProbability(change.adjustedPValue)}</td><td>${change.wins} · ${change.losses}</td></tr>`,
    ),
  );
  const said = [
    ...comparison.notes,
    ...comparison.systems.flatMap(({ name, notes: own }) => own.map((note) => `${name}: ${note}`)),
  ];
  return html`<section aria-labelledby="baseline">
<h2 id="baseline">Against the baseline <span class="chip ${chip}"><span aria-hidden="true">${outcomeSigns[chip]}</span> ${outcome}</span></h2>
<p>${baselineHeadline(comparison)}</p>
${problems.length === 0 ? "" : html`<ul class="failures">${problems}</ul>`}
${said.length === 0 ? "" : html`<details><summary>What else is not as it was</summary><ul>${said.map((note) => html`<li>${note}</li>`)}</ul></details>`}
${
  changes.length === 0
    ? ""
    : html`<details><summary>Changes by system and metric</summary><div class="scroll" tabindex="0" role="region" aria-labelledby="baseline"><table><thead><tr><th scope="col">system</th><th scope="col">metric</th><th scope="col">baseline</th><th scope="col">now</th><th scope="col">Δ</th><th scope="col">lower bound</th><th scope="col">p after Holm</th><th scope="col">wins · losses</th></tr></thead><tbody>${changes}</tbody></table></div></details>`
}
</section>`;
}

function gateCounts(gates: readonly GateReport[]): string {
  return (["failed", "degraded", "passed", "reported"] as const)
    .map((outcome) => ({ outcome, count: gates.filter((gate) => gate.outcome === outcome).length }))
    .filter(({ count }) => count > 0)
    .map(({ outcome, count }) => `${count} ${outcome}`)
    .join(", ");
}

function verdictChip(system: SystemReport): Markup {
  const verdict = verdictOf(system);
  if (verdict === "") return html`<span class="soft">${unknown}</span>`;
  return html`<span class="chip ${verdict}"><span aria-hidden="true">${outcomeSigns[verdict]}</span> ${verdict}</span>`;
}

function notes(warnings: readonly { readonly message: string }[]): Markup {
  if (warnings.length === 0) return html``;
  return html`<details><summary>${warnings.length} ${warnings.length === 1 ? "note" : "notes"} on the data</summary><ul>${warnings.map(({ message }) => html`<li>${message}</li>`)}</ul></details>`;
}

function qualitySection(report: EvaluationReport): Markup {
  const { metrics, primaryMetric: primary, level } = report.settings;
  const others = metrics.filter((name) => name !== primary);
  const interval = `whiskers: ${showNumber(level * 100)} % bootstrap interval over queries`;
  const bars = (name: string): string => drawBars(barRows(report, name), showMetricName(name));
  const speeds = speedRows(report);
  const speedFigure =
    speeds.length === 0
      ? html``
      : figure(
          drawSpeed(speeds, showMetricName(primary)),
          `Speed against ${showMetricName(primary)}`,
          `Upper right is better. Diamond: the reference; cross: a gate failed. ${machine(report)}.`,
        );
  const more: Markup[] = [];
  for (const name of others) {
    more.push(figure(bars(name), showMetricName(name), `Expected value over ties; ${interval}.`));
  }
  return html`<section aria-labelledby="quality">
<h2 id="quality">Quality</h2>
<div class="cards">
${figure(
  bars(primary),
  showMetricName(primary),
  `Expected value over ties; ${interval}. Random and constant are what no model at all would get; a cross marks a failed gate.`,
)}
${speedFigure}
</div>
${more.length === 0 ? "" : html`<details><summary>Other metrics: ${others.map(showMetricName).join(", ")}</summary><div class="cards">${more}</div></details>`}
</section>`;
}

function chartRole(system: SystemReport): ChartRole {
  return system.role === "reference" || system.role === "candidate" ? system.role : "baseline";
}

function barRows(report: EvaluationReport, metric: string): readonly BarRow[] {
  return report.systems.flatMap((system) => {
    const result = system.metrics.find(({ name }) => name === metric);
    if (result === undefined) return [];
    return [
      {
        name: system.name,
        role: chartRole(system),
        value: result.expected,
        interval: result.interval ?? undefined,
        failed: system.passed === false,
      },
    ];
  });
}

function speedRows(report: EvaluationReport): readonly SpeedRow[] {
  return report.systems.flatMap((system) => {
    const result = primaryMetric(report, system);
    const speed = system.speed?.documentsPerSecond;
    if (result === undefined || speed === undefined || !(speed > 0)) return [];
    return [
      {
        name: system.name,
        role: chartRole(system),
        value: result.expected,
        interval: result.interval ?? undefined,
        failed: system.passed === false,
        documentsPerSecond: speed,
      },
    ];
  });
}

function candidates(report: EvaluationReport): readonly SystemReport[] {
  return report.systems.filter(({ role }) => role === "candidate");
}

function candidateSection(report: EvaluationReport, system: SystemReport, options: HtmlOptions): Markup {
  const primary = primaryMetric(report, system);
  const metric = showMetricName(report.settings.primaryMetric);
  const reference = report.systems.find(({ role }) => role === "reference")?.name ?? "reference";
  const heading = `system-${report.systems.indexOf(system)}`;
  const { scores } = system;
  const changes = queryChanges(report, system);
  const change = primary?.change ?? undefined;
  const figures: Markup[] = [];
  if (scores !== null && scores.sample.reference.length > 0) {
    figures.push(scatterFigure(report, system, reference));
  }
  if (changes.length > 0 && change !== undefined) {
    const drawn = drawDeltas(
      changes.map((row) => row.change),
      metric,
    );
    const summary = `${change.wins} queries gain, ${change.losses} lose, ${change.ties} stay; mean ${showChange(change.mean)}.`;
    figures.push(
      figure(drawn, `Change of ${metric} by query`, summary, worstTable(changes, metric, options.queryTexts)),
    );
  }
  return html`<section aria-labelledby="${heading}">
<h2 id="${heading}">${system.name} <small>against ${reference}</small> ${verdictChip(system)}</h2>
${
  scores === null
    ? ""
    : html`<p><strong class="diagnosis">${scores.diagnosis.kind}</strong>: ${scores.diagnosis.sentence} <span class="soft">${scores.diagnosis.likelyCause}</span></p>`
}
${change === undefined ? "" : html`<p>${metric} ${showChange(change.mean)} (lower bound ${showChange(change.lowerBound)}, p ${showProbability(change.adjustedPValue ?? change.pValue)} ${change.adjustedPValue === null ? "" : "after Holm"}); ${change.detectableDrop === null ? "all queries change alike, so that this sample does not say which drop it would find" : `the smallest drop this sample finds in 80 % of cases is ${showMetric(change.detectableDrop)}`}.</p>`}
<div class="cards">${figures}</div>
${notes(system.warnings)}
</section>`;
}

function scatterFigure(report: EvaluationReport, system: SystemReport, reference: string): Markup {
  const { scores, model } = system;
  if (scores === null) return html``;
  const { sample, pairs, fit, kendall, spearman, top } = scores;
  const unit = model?.scale === "cosine" ? "cosine" : "logit";
  const points = sample.reference.map((value, index) => ({
    reference: value,
    candidate: sample.candidate[index] ?? value,
  }));
  const drawn = drawScatter(points, {
    reference: `${reference}, ${unit}`,
    candidate: `${system.name}, ${unit}`,
  });
  const shown =
    points.length < pairs
      ? `${showCount(points.length)} of ${showCount(pairs)} pairs, evenly spaced.`
      : `All ${showCount(pairs)} pairs.`;
  const line = fit === null ? "" : ` Slope ${showNumber(fit.slope)}, intercept ${showNumber(fit.intercept)}.`;
  const facts = [
    ["τ-b within queries", showMetric(kendall.withinQueries)],
    ["Spearman within queries", showMetric(spearman.withinQueries)],
    ...top.map(({ k, overlap }) => [`top-${k} overlap`, showShare(overlap)] as const),
    [
      `|Δ ${unit}| mean, 99th percentile, most`,
      scores.delta === null
        ? unknown
        : [scores.delta.mean, scores.delta.p99, scores.delta.maximum]
            .map((value) => showNumber(value))
            .join(", "),
    ],
    ["same sign", showShare(scores.signAgreement)],
    [
      "different scores, here and in the reference",
      `${showShare(scores.distinctShare.candidate)}, ${showShare(scores.distinctShare.reference)}`,
    ],
  ] as const;
  const table = html`<details><summary>Agreement in figures</summary><table class="pairs"><caption class="unseen">Agreement of the scores of ${system.name} and ${reference}</caption><tbody>${facts.map(([name, value]) => html`<tr><th scope="row">${name ?? ""}</th><td>${value ?? ""}</td></tr>`)}</tbody></table></details>`;
  return figure(
    drawn,
    `Scores against ${reference}`,
    `${shown}${line} Dashed: equal scores.`,
    points.length === 0 ? html`` : table,
    `Scatter plot of ${system.name} over ${reference} in ${report.task.name}.`,
  );
}

function worstTable(
  changes: ReturnType<typeof queryChanges>,
  metric: string,
  texts: ReadonlyMap<string, string> | undefined,
): Markup {
  const worst = changes.filter(({ change }) => change < 0).slice(0, worstQueries);
  if (worst.length === 0) return html`<p class="soft">No query loses.</p>`;
  return html`<table class="pairs"><caption>The ${worst.length === 1 ? "query that loses" : `${worst.length} queries that lose most`}</caption>
<thead><tr><th scope="col">query</th><th scope="col">Δ ${metric}</th><th scope="col">reference → here</th></tr></thead>
<tbody>${worst.map(({ query, change, reference, candidate }) => {
    const text = texts?.get(query);
    return html`<tr><th scope="row"><code>${query}</code>${text === undefined ? "" : html` ${text}`}</th><td>${showChange(change)}</td><td>${showMetric(reference)} → ${showMetric(candidate)}</td></tr>`;
  })}</tbody></table>`;
}

function tableSection(report: EvaluationReport): Markup {
  const { metrics } = report.settings;
  return html`<section aria-labelledby="all">
<h2 id="all">Everything in one table</h2>
<p class="soft">Expected value over ties, with its interval; <i>trec</i>: in trec_eval's order; Δ against the reference with its one-sided lower bound; p after Holm.</p>
<div class="scroll wide" tabindex="0" role="region" aria-labelledby="all"><table>
<thead><tr><th scope="col">system</th><th scope="col">verdict</th>${metrics.map(
    (name) => html`<th scope="col">${showMetricName(name)}</th><th scope="col">Δ</th>`,
  )}<th scope="col">kept</th><th scope="col">τ-b</th><th scope="col">top-1</th><th scope="col">documents/s</th><th scope="col">tokens/s</th><th scope="col">a query, p50 · p95</th><th scope="col">load</th><th scope="col">peak memory</th></tr></thead>
<tbody>${report.systems.map((system) => tableRow(report, system))}</tbody>
</table></div>
</section>`;
}

function tableRow(report: EvaluationReport, system: SystemReport): Markup {
  const { speed, memory, scores } = system;
  const cells = report.settings.metrics.map((name) => {
    const result = system.metrics.find((metric) => metric.name === name);
    if (result === undefined) return html`<td>${unknown}</td><td>${unknown}</td>`;
    const { interval, change } = result;
    const small = [
      ...(interval === null ? [] : [`${showMetric(interval.lower)} to ${showMetric(interval.upper)}`]),
      ...(result.trec === null || showMetric(result.trec) === showMetric(result.expected)
        ? []
        : [`trec ${showMetric(result.trec)}`]),
      ...(showMetric(result.worst) === showMetric(result.best)
        ? []
        : [`ties ${showMetric(result.worst)} to ${showMetric(result.best)}`]),
    ];
    return html`<td>${showMetric(result.expected)}<small>${small.join("; ")}</small></td><td>${
      change === null
        ? unknown
        : html`${showChange(change.mean)}<small>≥ ${showChange(change.lowerBound)}; p ${showProbability(change.adjustedPValue ?? change.pValue)}</small>`
    }</td>`;
  });
  const milliseconds = (value: number | null | undefined): string =>
    value === null || value === undefined ? unknown : `${showNumber(value)} ms`;
  return html`<tr><th scope="row">${system.name}<small>${roleTitles[system.role]}</small></th><td>${verdictChip(system)}</td>${cells}<td>${showShare(primaryMetric(report, system)?.change?.retention)}</td><td>${showMetric(scores?.kendall.withinQueries ?? scores?.kendall.pooled)}</td><td>${showShare(scores?.top.find(({ k }) => k === 1)?.overlap)}</td><td>${showNumber(speed?.documentsPerSecond)}</td><td>${showNumber(speed?.tokensPerSecond)}</td><td>${
    speed?.perQuery ? `${milliseconds(speed.perQuery.p50)} · ${milliseconds(speed.perQuery.p95)}` : unknown
  }</td><td>${milliseconds(speed?.loadMilliseconds)}</td><td>${showBytes(memory?.peakBytes)}</td></tr>`;
}

type Fact = readonly [name: string, value: string | Markup];

function provenanceSection(report: EvaluationReport): Markup {
  const { task, environment, settings, model } = report;
  const taskFacts: Fact[] = [
    ["task", `${task.id} (${task.kind}, ${task.layout})`],
    ["revision", task.revision ?? "none"],
    ["split", [task.split, task.subset].filter((part) => part !== null).join(", ") || "none"],
    [
      "counts",
      `${showCount(task.counts.documents)} documents, ${showCount(task.counts.judgements)} judgements, ${showCount(task.counts.pairs)} pairs`,
    ],
    ["licence", task.license ?? "not stated"],
    ...(task.candidates === null
      ? []
      : ([
          ["candidates", task.candidates.origin],
          ["candidates sha256", hash(task.candidates.sha256)],
        ] satisfies Fact[])),
  ];
  const settingFacts: Fact[] = [
    [
      "maximum length",
      settings.maxLength === null ? "the model's own" : `${showCount(settings.maxLength)} tokens`,
    ],
    ["truncation", settings.truncation ?? "the model's own"],
    [
      "instruction",
      settings.instruction === null
        ? "the model's own"
        : settings.instruction === ""
          ? "none"
          : settings.instruction,
    ],
    ["margin", showNumber(settings.margin)],
    [
      "resampling",
      `${showCount(settings.resamples)} resamples, seed ${settings.seed}, level ${showNumber(settings.level)}`,
    ],
    [
      "threads, workers",
      `${settings.threads ?? "backend's choice"}, ${settings.workers ?? "backend's choice"}`,
    ],
  ];
  const machineFacts: Fact[] = [
    ["machine", machine(report)],
    ["memory", showBytes(environment.memory)],
    ["Node.js", environment.node],
    ...Object.entries(environment.packages).map(([name, version]): Fact => [name, version]),
  ];
  return html`<section aria-labelledby="provenance">
<h2 id="provenance">Where the numbers come from</h2>
<div class="cards">
<div>${facts("Model and systems", [
    ["model", model.id],
    ["revision", model.revision ?? "none"],
    ["family", model.family],
  ])}</div>
<div>${facts("Task", taskFacts)}</div>
<div>${facts("Settings", settingFacts)}</div>
<div>${facts("Environment", machineFacts)}</div>
</div>
${report.systems.flatMap((system) => (system.model === null ? [] : [systemDetails(system)]))}
<details><summary>Files of the task</summary><div class="scroll" tabindex="0"><table><thead><tr><th scope="col">file</th><th scope="col">role</th><th scope="col">size</th><th scope="col">sha256</th></tr></thead><tbody>${task.files.map((file) => html`<tr><th scope="row">${file.path}</th><td>${file.role}</td><td>${showBytes(file.size)}</td><td>${hash(file.sha256)}</td></tr>`)}</tbody></table></div></details>
${task.citation === null ? "" : html`<details><summary>Citation</summary><pre>${task.citation}</pre></details>`}
</section>`;
}

function systemDetails(system: SystemReport): Markup {
  const { model, memory } = system;
  if (model === null) return html``;
  return html`<details><summary>${system.name}: artifact, tokenizer, template</summary>${facts("", [
    ["backend", `${model.backend.name}, ${model.backend.runtime.name} ${model.backend.runtime.version}`],
    ["settings", showSettings(model.settings)],
    ["artifact", `${model.artifact.format}, ${model.artifact.dtype}`],
    ...model.artifact.files.map((file): Fact => [file.path, hash(file.sha256)]),
    [
      "tokenizer sha256",
      model.tokenizerSha256 === null ? "part of the artifact" : hash(model.tokenizerSha256),
    ],
    ["template", html`<code>${model.template}</code>`],
    ["maximum length", `${showCount(model.maxLength)} tokens, ${showLength(model)}`],
    ["instruction", model.instruction === null || model.instruction === "" ? "none" : model.instruction],
    ["scale", `${model.scale}, ${model.scoring}`],
    ...(model.cascade === undefined
      ? []
      : [
          ["cascade", showCascade(model) ?? ""] satisfies Fact,
          ...model.cascade.stages.flatMap(({ artifact }) =>
            artifact.files.map((file): Fact => [file.path, hash(file.sha256)]),
          ),
        ]),
    ...(memory === null
      ? []
      : [
          [
            "peak memory",
            `${showBytes(memory.peakBytes)} (${showBytes(memory.beforeLoadBytes)} before loading; ${memory.method}${memory.wholeRun ? "" : "; of a resumed run"})`,
          ] satisfies Fact,
        ]),
    ...(system.runFile === null ? [] : [["run file", system.runFile] satisfies Fact]),
  ])}</details>`;
}

function facts(title: string, rows: readonly Fact[]): Markup {
  return html`${title === "" ? "" : html`<h3>${title}</h3>`}<dl>${rows.map(([name, value]) => html`<dt>${name}</dt><dd>${value}</dd>`)}</dl>`;
}

function hash(sha256: string): Markup {
  return html`<code class="hash">${sha256}</code>`;
}

function machine(report: EvaluationReport): string {
  const { cpu, cores, platform } = report.environment;
  return `${cpu ?? "unknown processor"}, ${cores} ${cores === 1 ? "core" : "cores"}, ${platform}`;
}

/** The drawing's text alternative is its title and caption: what a table beside it says in figures is not repeated. */
function figure(drawing: string, title: string, caption: string, after?: Markup, spoken?: string): Markup {
  const label = `${title}. ${spoken === undefined ? "" : `${spoken} `}${caption}`;
  return html`<figure><h3>${title}</h3><div class="drawing" role="group" aria-label="${label}">${new Markup(drawing)}</div><figcaption>${caption}</figcaption>${after ?? ""}</figure>`;
}

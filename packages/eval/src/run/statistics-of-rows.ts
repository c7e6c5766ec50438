import type { MetricValue } from "../metrics/measures.js";
import type { ChangeReport, MetricReport, SystemRole } from "../report/report-data.js";
import { bootstrapInterval, type NonInferiority, nonInferiority } from "../statistics/bootstrap.js";
import { pairByQuery } from "../statistics/paired.js";
import { holm, signFlipTest } from "../statistics/significance.js";
import { mean } from "../statistics/summary.js";
import type { RowMetrics } from "./row-metrics.js";

export interface StatisticsSettings {
  readonly seed: number;
  readonly resamples: number;
  readonly level: number;
}

/** A row, with the margin that is accepted of it. */
export interface MeasuredRow {
  readonly role: SystemRole;
  readonly metrics: RowMetrics;
  readonly margin: number;
}

/** Of each metric of a row, what a gate needs beside the report; undefined where there is no reference or no spread. */
export interface RowStatistics {
  readonly metrics: readonly MetricReport[];
  readonly nonInferiority: readonly (NonInferiority | undefined)[];
}

/**
 * Intervals, and comparisons with the reference, of all rows. Holm's adjustment is over all of them together. With
 * thousands of queries the resampling takes seconds a metric, so others get a turn after each.
 * @param beforeEach called before each metric of each row; what it throws ends the work.
 */
export async function statisticsOfRows(
  rows: readonly MeasuredRow[],
  queryIds: readonly string[],
  settings: StatisticsSettings,
  beforeEach: () => void,
): Promise<readonly RowStatistics[]> {
  const reference = rows.find(({ role }) => role === "reference");
  const found: { readonly reports: MetricReport[]; readonly changes: (Change | undefined)[] }[] = [];
  for (const row of rows) {
    const reports: MetricReport[] = [];
    const changes: (Change | undefined)[] = [];
    for (const [index, { metric, mean: means, queries }] of row.metrics.results.entries()) {
      beforeEach();
      await new Promise<void>((resolve) => setImmediate(resolve));
      const values = queryIds.map((query) => (queries.get(query) as MetricValue).expected);
      const isCompared = row.role === "first-stage" || row.role === "candidate";
      changes.push(
        isCompared && reference !== undefined ? changeOf(row, reference, index, settings) : undefined,
      );
      // The random row's values are those of the constant one.
      const known = row.role === "constant" ? found[0]?.reports[index]?.interval : undefined;
      reports.push({
        name: metric.name,
        trec: row.role === "random" ? null : means.trec,
        expected: means.expected,
        worst: means.worst,
        best: means.best,
        interval: known ?? intervalOf(values, settings),
        values,
        change: null,
      });
    }
    found.push({ reports, changes });
  }
  const ofCandidates = found.flatMap(({ changes }, row) =>
    rows[row]?.role === "candidate" ? changes.filter((change) => change !== undefined) : [],
  );
  const adjusted = holm(ofCandidates.map(({ report }) => report.pValue));
  return found.map(({ reports, changes }, row) => ({
    metrics: reports.map((report, index): MetricReport => {
      const change = changes[index];
      if (change === undefined) return report;
      const adjustedPValue =
        rows[row]?.role === "candidate" ? (adjusted[ofCandidates.indexOf(change)] ?? null) : null;
      return { ...report, change: { ...change.report, adjustedPValue } };
    }),
    nonInferiority: changes.map((change) => change?.test),
  }));
}

function intervalOf(
  values: readonly number[],
  { seed, resamples, level }: StatisticsSettings,
): MetricReport["interval"] {
  if (values.length < 2) return null;
  const { lower, upper } = bootstrapInterval(values, { seed, resamples, level });
  return { lower, upper, level };
}

interface Change {
  readonly report: ChangeReport;
  readonly test: NonInferiority | undefined;
}

function changeOf(
  row: MeasuredRow,
  reference: MeasuredRow,
  index: number,
  { seed, resamples, level }: StatisticsSettings,
): Change {
  const expected = ({ metrics }: MeasuredRow): Map<string, number> =>
    new Map(Array.from(metrics.results[index]?.queries ?? [], ([query, value]) => [query, value.expected]));
  const { differences } = pairByQuery(expected(row), expected(reference));
  const test =
    differences.length < 2
      ? undefined
      : nonInferiority(differences, { margin: row.margin, seed, resamples, level });
  const [value, base] = [row, reference].map(({ metrics }) => metrics.results[index]?.mean.expected ?? 0) as [
    number,
    number,
  ];
  return {
    test,
    report: {
      mean: mean(differences),
      retention: base > 0 ? value / base : null,
      lowerBound: test?.lowerBound ?? null,
      deviation: test?.deviation ?? null,
      detectableDrop: test?.detectableDrop ?? null,
      pValue: signFlipTest(differences, { seed, resamples }).pValue,
      adjustedPValue: null,
      wins: differences.filter((difference) => difference > 0).length,
      losses: differences.filter((difference) => difference < 0).length,
      ties: differences.filter((difference) => difference === 0).length,
    },
  };
}

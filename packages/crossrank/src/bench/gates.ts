import { UsageError } from "../failure.js";
import type { Cell } from "./cell.js";
import type { BenchReport, CellResult, SystemResult } from "./report.js";

/**
 * A line of a gate file:
 *
 *     p95(batch 20, length 256) < 200 ms
 *     p95(batch 20, length 256) / 20 < 15 ms
 *     onnx:int8: p50(batch 1, length 128) < 0.6 onnx:fp32
 *     tokens per second(batch 20, length 256) > 5000
 *     memory < 500 MB
 *
 * The bound is a quantity, or so many times what another backend has in the same run. A backend before a colon limits
 * the line to it; otherwise the line is for all but the one it compares with.
 */
export interface BenchGate {
  /** As it stands in the file. */
  readonly text: string;
  readonly backend: string | undefined;
  readonly quantity: Quantity;
  readonly cell: Cell | undefined;
  /** What the measured number is divided by. */
  readonly divisor: number;
  readonly relation: "<" | "<=" | ">" | ">=";
  /** In milliseconds, bytes, or tokens per second; a factor where `reference` is given. */
  readonly bound: number;
  readonly reference: string | undefined;
}

type Quantity = "p50" | "p95" | "tokens per second" | "memory" | "event loop delay";

export interface BenchVerdict {
  readonly gate: string;
  readonly backend: string;
  readonly passed: boolean;
  /** In the unit of the gate's bound; undefined where it could not be measured. */
  readonly measured: number | undefined;
  readonly limit: number | undefined;
}

const pattern =
  /^(?:(?<backend>\S+?):\s+)?(?<quantity>p50|p95|tokens per second|event loop delay|memory)\s*(?:\(\s*batch\s+(?<batch>\d+)\s*,\s*length\s+(?<length>\d+)\s*\))?\s*(?:\/\s*(?<divisor>\d+(?:\.\d+)?))?\s*(?<relation><=?|>=?)\s*(?<bound>\d+(?:\.\d+)?)\s*(?<unit>\S+)?$/;

const units: Readonly<Record<string, Readonly<Record<string, number>>>> = {
  p50: { ms: 1, s: 1000 },
  p95: { ms: 1, s: 1000 },
  "event loop delay": { ms: 1, s: 1000 },
  memory: { MB: 1e6, MiB: 2 ** 20, GB: 1e9, GiB: 2 ** 30 },
  "tokens per second": {},
};

const mostGates = 1000;
/** In characters. */
const longestGate = 300;

/** @throws {UsageError} that names the line. */
export function parseGates(text: string, source: string): BenchGate[] {
  const gates: BenchGate[] = [];
  for (const [index, line] of text
    .replace(/^\ufeff/, "")
    .split(/\r?\n/)
    .entries()) {
    const content = line.replace(/#.*/, "").trim();
    if (content === "") continue;
    const where = `${source} line ${index + 1}`;
    if (gates.length >= mostGates) throw new UsageError(`${source} has more than ${mostGates} gates`);
    gates.push(parseGate(content, where));
  }
  if (gates.length === 0) throw new UsageError(`${source} has no gate, and would always pass`);
  return gates;
}

function parseGate(text: string, where: string): BenchGate {
  // What stands behind a cut would not be read: a longer line is refused whole.
  const found = text.length > longestGate ? undefined : pattern.exec(text)?.groups;
  if (found === undefined) {
    throw new UsageError(
      `${where}: ${JSON.stringify(text.slice(0, 80))} is no gate. Write it as "p95(batch 20, length 256) / 20 < 15 ms", or "p50(batch 1, length 128) < 0.6 onnx:fp32"`,
    );
  }
  const { backend, quantity = "", batch, length, divisor, relation, bound, unit } = found;
  const hasCell = batch !== undefined && length !== undefined;
  if (quantity === "memory" && hasCell)
    throw new UsageError(`${where}: memory is of the whole run. Leave the cell out`);
  if (quantity !== "memory" && !hasCell)
    throw new UsageError(`${where}: ${quantity} is of a cell. Write ${quantity}(batch 20, length 256)`);
  const known = units[quantity] ?? {};
  const isPlain = quantity === "tokens per second" && unit === undefined;
  const factor = isPlain ? 1 : Object.hasOwn(known, unit ?? "") ? known[unit ?? ""] : undefined;
  if (factor === undefined && (unit === undefined || !/^[a-z./@]/.test(unit) || unit === "x")) {
    const names = Object.keys(known).join(", ") || "none";
    throw new UsageError(
      `${where}: the bound ${bound}${unit === undefined ? "" : ` ${unit}`} has no unit of ${quantity} (${names}), and names no backend`,
    );
  }
  if (divisor !== undefined && Number(divisor) === 0) throw new UsageError(`${where}: it divides by zero`);
  return {
    text,
    backend,
    quantity: quantity as Quantity,
    cell: hasCell ? { batch: Number(batch), length: Number(length) } : undefined,
    divisor: divisor === undefined ? 1 : Number(divisor),
    relation: relation as BenchGate["relation"],
    bound: Number(bound) * (factor ?? 1),
    reference: factor === undefined ? unit : undefined,
  };
}

/** @throws {UsageError} when a gate is of a cell or a backend that the run will not measure, or limits no backend. */
export function requireMeasured(
  gates: readonly BenchGate[],
  cells: readonly Cell[],
  backends: readonly string[],
): void {
  for (const { text, cell, backend, reference } of gates) {
    const isMeasured =
      cell === undefined || cells.some(({ batch, length }) => batch === cell.batch && length === cell.length);
    if (!isMeasured && cell !== undefined) {
      throw new UsageError(
        `the gate "${text}" is of a cell that is not measured. Add ${cell.batch} to --batch and ${cell.length} to --length`,
      );
    }
    const missing = [backend, reference].find((name) => name !== undefined && !backends.includes(name));
    if (missing !== undefined)
      throw new UsageError(
        `the gate "${text}" names ${missing}, which is not measured. Add --backend ${missing}`,
      );
    if (reference === undefined) continue;
    // A system against itself has passed or failed before anything is measured.
    if (backend === reference || backends.every((name) => name === reference))
      throw new UsageError(
        `the gate "${text}" holds ${reference} against itself. ${backend === reference ? "Name another backend before the colon" : "Add the --backend that it is for"}`,
      );
  }
}

export function judgeGates(gates: readonly BenchGate[], report: BenchReport): BenchVerdict[] {
  return gates.flatMap((gate) => {
    const judged = report.systems.filter(({ name }) =>
      gate.backend === undefined ? name !== gate.reference : name === gate.backend,
    );
    const reference = report.systems.find(({ name }) => name === gate.reference);
    return judged.map((system) => judge(gate, system, reference));
  });
}

function judge(gate: BenchGate, system: SystemResult, reference: SystemResult | undefined): BenchVerdict {
  const measured = quantityOf(gate, system);
  const base = gate.reference === undefined ? 1 : reference && quantityOf(gate, reference);
  const limit = base === undefined ? undefined : gate.bound * base;
  return {
    gate: gate.text,
    backend: system.name,
    // What could not be measured has not passed.
    passed: measured !== undefined && limit !== undefined && holds(measured, gate.relation, limit),
    measured,
    limit,
  };
}

function holds(measured: number, relation: BenchGate["relation"], limit: number): boolean {
  switch (relation) {
    case "<":
      return measured < limit;
    case "<=":
      return measured <= limit;
    case ">":
      return measured > limit;
    case ">=":
      return measured >= limit;
  }
}

function quantityOf({ quantity, cell, divisor }: BenchGate, system: SystemResult): number | undefined {
  if (quantity === "memory") {
    return system.memory === undefined ? undefined : system.memory.peakBytes / divisor;
  }
  const found = system.cells.find(({ batch, length }) => batch === cell?.batch && length === cell.length);
  return found && numberOf(quantity, found) / divisor;
}

function numberOf(quantity: Exclude<Quantity, "memory">, cell: CellResult): number {
  switch (quantity) {
    case "p50":
      return cell.p50;
    case "p95":
      return cell.p95;
    case "tokens per second":
      return cell.tokensPerSecond;
    case "event loop delay":
      return cell.eventLoopDelay;
  }
}

import { Counter, collectDefaultMetrics, Gauge, Histogram, Registry } from "prom-client";
import type { ServedModel } from "./models/served-model.js";

/** Seconds of histograms: from one short pair to a full queue. */
const buckets = [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60];

/** What one request adds. */
export interface RequestMeasure {
  readonly dialect: string;
  /** A served model's name, or `"none"`. */
  readonly model: string;
  readonly status: number;
  readonly seconds: number;
  readonly queueSeconds?: number | undefined;
  readonly tokens?: number | undefined;
  readonly documents?: number | undefined;
}

/** Metrics of one server, in a registry of its own. */
export interface ServerMetrics {
  record(measure: RequestMeasure): void;
  render(): Promise<string>;
  readonly contentType: string;
}

export function createMetrics(models: readonly ServedModel[]): ServerMetrics {
  const registry = new Registry();
  const registers = [registry];
  const requests = new Counter({
    name: "crossrank_requests_total",
    help: "Requests for a ranking or scores, by the status of the answer; 499 when the client had gone.",
    labelNames: ["dialect", "model", "status"],
    registers,
  });
  const duration = new Histogram({
    name: "crossrank_request_duration_seconds",
    help: "From a request's headers to its answer, of those that were answered with 200.",
    labelNames: ["model"],
    buckets,
    registers,
  });
  const queued = new Histogram({
    name: "crossrank_queue_duration_seconds",
    help: "Time that answered requests waited for their turn.",
    labelNames: ["model"],
    buckets,
    registers,
  });
  const tokens = new Counter({
    name: "crossrank_tokens_total",
    help: "Tokens of answered requests, padding not counted.",
    labelNames: ["model"],
    registers,
  });
  const documents = new Counter({
    name: "crossrank_documents_total",
    help: "Documents of answered requests.",
    labelNames: ["model"],
    registers,
  });
  const gauge = (name: string, help: string, read: (model: ServedModel) => number): void => {
    const own = new Gauge({
      name,
      help,
      labelNames: ["model"],
      registers,
      collect: () => {
        for (const model of models) own.set({ model: model.name }, read(model));
      },
    });
  };
  gauge(
    "crossrank_queue_tokens",
    "Tokens that wait or run, as the queue counts them.",
    ({ queue }) => queue.tokens,
  );
  gauge("crossrank_queue_waiting", "Requests that wait for their turn.", ({ queue }) => queue.waiting);
  gauge("crossrank_queue_running", "Requests that run.", ({ queue }) => queue.running);
  gauge("crossrank_model_loaded", "1 when the model is in memory.", ({ state }) =>
    state === "ready" ? 1 : 0,
  );
  collectDefaultMetrics({ register: registry });
  return {
    contentType: registry.contentType,
    render: () => registry.metrics(),
    record: (measure) => {
      const { dialect, model, status } = measure;
      requests.inc({ dialect, model, status });
      if (status !== 200) return;
      duration.observe({ model }, measure.seconds);
      queued.observe({ model }, measure.queueSeconds ?? 0);
      tokens.inc({ model }, measure.tokens ?? 0);
      documents.inc({ model }, measure.documents ?? 0);
    },
  };
}

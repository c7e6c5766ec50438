import {
  type Attributes,
  type Context,
  propagation,
  ROOT_CONTEXT,
  type Span,
  type SpanOptions,
  type SpanStatus,
  trace,
} from "@opentelemetry/api";
import { afterAll, describe, expect, it } from "vitest";
import { attributes } from "../src/telemetry.js";
import { kept, openNano, passages, question, startScene } from "./scene.js";

interface Recorded {
  name: string;
  readonly attributes: Attributes;
  status?: SpanStatus;
  ended: number;
  readonly parent: string | undefined;
}

const spans: Recorded[] = [];

/** The least that a host can set up: it keeps what it is told. */
function startSpan(name: string, options: SpanOptions = {}, parent: Context = ROOT_CONTEXT): Span {
  const recorded: Recorded = {
    name,
    attributes: { ...options.attributes },
    ended: 0,
    parent: trace.getSpanContext(parent)?.traceId,
  };
  spans.push(recorded);
  const span: Span = {
    spanContext: () => ({ traceId: "0".repeat(32), spanId: "0".repeat(16), traceFlags: 0 }),
    setAttribute: (key, value) => {
      recorded.attributes[key] = value;
      return span;
    },
    setAttributes: (values) => {
      Object.assign(recorded.attributes, values);
      return span;
    },
    addEvent: () => span,
    addLink: () => span,
    addLinks: () => span,
    setStatus: (status) => {
      recorded.status = status;
      return span;
    },
    updateName: (next) => {
      recorded.name = next;
      return span;
    },
    end: () => {
      recorded.ended += 1;
    },
    isRecording: () => true,
    recordException: () => undefined,
  };
  return span;
}

trace.setGlobalTracerProvider({
  getTracer: () => ({
    startSpan,
    startActiveSpan: () => {
      throw new Error("not used");
    },
  }),
});
propagation.setGlobalPropagator({
  inject: () => undefined,
  fields: () => ["traceparent"],
  extract: (context, carrier: Record<string, string>) => {
    const [, traceId = "", spanId = ""] = carrier["traceparent"]?.split("-") ?? [];
    return traceId === "" ? context : trace.setSpanContext(context, { traceId, spanId, traceFlags: 1 });
  },
});

const nano = await openNano();
afterAll(() => nano.dispose());
const models = [{ name: "nano", open: async () => kept(nano) }];

describe("a span", () => {
  it("has the facts of an answer, its caller's trace, and no text", async () => {
    const scene = await startScene({ models });
    await scene.server.load();
    const traceId = "4bf92f3577b34da6a3ce929d0e0e4736";
    await scene.post(
      "/v2/rerank",
      { query: question, documents: passages, top_n: 2 },
      { traceparent: `00-${traceId}-00f067aa0ba902b7-01` },
    );
    const span = spans.at(-1) as Recorded;
    expect(span).toMatchObject({ name: "rerank nano", ended: 1, parent: traceId });
    expect(span.attributes).toMatchObject({
      [attributes.operation]: "rerank",
      [attributes.provider]: "crossrank",
      [attributes.requestModel]: "nano",
      [attributes.documentsCount]: 3,
      [attributes.resultsCount]: 2,
      [attributes.topN]: 2,
      [attributes.scale]: "probability",
      [attributes.httpStatus]: 200,
    });
    expect(span.attributes[attributes.inputTokens]).toBeGreaterThan(10);
    expect((span.attributes[attributes.scores] as number[])[0]).toBeGreaterThan(0.5);
    expect(JSON.stringify(span)).not.toMatch(/deep|Apples/);
  });

  it("has texts where they are asked for", async () => {
    const scene = await startScene({ models, traceTexts: true });
    await scene.server.load();
    await scene.post("/rerank", { query: question, documents: passages });
    expect(spans.at(-1)?.attributes).toMatchObject({
      [attributes.query]: question,
      [attributes.documents]: [...passages],
    });
  });

  it("says how a request was refused", async () => {
    const scene = await startScene({ models });
    await scene.post("/rerank", "{");
    expect(spans.at(-1)).toMatchObject({ ended: 1 });
    expect(spans.at(-1)?.attributes).toMatchObject({
      [attributes.errorType]: "invalid_request_error",
      [attributes.httpStatus]: 400,
    });
    expect(spans.at(-1)?.status).toBeUndefined();
  });
});

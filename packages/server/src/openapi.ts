import { OpenAPIHono } from "@hono/zod-openapi";
import {
  refusalSchema,
  rerankAnswerSchema,
  rerankSchema,
  scoreAnswerSchema,
  scoreSchema,
  teiAnswerSchema,
  voyageAnswerSchema,
} from "./dialects/schemas.js";

const json = (schema: unknown, description: string) =>
  ({ description, content: { "application/json": { schema } } }) as never;

/** OpenAPI 3.1 of every route, made of the schemas that requests are checked by. */
export function describeApi(version: string): unknown {
  const app = new OpenAPIHono();
  const { openAPIRegistry: registry } = app;
  registry.registerComponent("securitySchemes", "key", { type: "http", scheme: "bearer" });
  const refusals = Object.fromEntries(
    [
      [400, "Malformed, or something is missing."],
      [401, "No key, or a wrong one."],
      [404, "No model of that name."],
      [413, "The body is too long."],
      [422, "A wrong value, or over a limit, which the text names."],
      [429, "The queue is full; `Retry-After` says when to come again."],
      [503, "Loading, closing, over the time, or without a runtime; `Retry-After` says when to come again."],
    ].map(([status, description]) => [status, json(refusalSchema, String(description))]),
  );
  const request = (schema: unknown) =>
    ({ body: { required: true, content: { "application/json": { schema } } } }) as never;
  const security = [{ key: [] }, {}];
  for (const path of ["/rerank", "/v1/rerank", "/v2/rerank", "/reranking", "/v1/reranking"]) {
    registry.registerPath({
      method: "post",
      path,
      summary: "Order documents by their relevance to a query.",
      description:
        "Keys decide the dialect: `texts` without `documents` is TEI's, which is answered with a list; `top_k` or " +
        "`truncation` is Voyage's. A prefix decides before them: /cohere, /jina, /voyage, /tei, /infinity, /vllm.",
      security,
      request: request(rerankSchema),
      responses: {
        200: {
          description: "The ranking, best first, in the request's dialect.",
          content: {
            "application/json": { schema: rerankAnswerSchema.or(voyageAnswerSchema).or(teiAnswerSchema) },
          },
        },
        ...refusals,
      },
    });
  }
  for (const path of ["/score", "/v1/score"]) {
    registry.registerPath({
      method: "post",
      path,
      summary: "Score pairs of texts, in their own order, as vLLM does.",
      security,
      request: request(scoreSchema),
      responses: { 200: json(scoreAnswerSchema, "One score a pair."), ...refusals },
    });
  }
  const plain: readonly (readonly [path: string, summary: string])[] = [
    ["/health", "200 when every model that was asked for answers, else 503."],
    ["/v1/models", "The models, and what they run on."],
    ["/info", "What TEI says of itself, of the first model."],
    ["/metrics", "Metrics for Prometheus."],
    ["/openapi.json", "This description."],
  ];
  for (const [path, summary] of plain) {
    registry.registerPath({
      method: "get",
      path,
      summary,
      security: path === "/health" || path === "/openapi.json" ? [] : security,
      responses: { 200: { description: summary } },
    });
  }
  return app.getOpenAPI31Document({
    openapi: "3.1.0",
    info: {
      title: "crossrank serve",
      version,
      description:
        "One rerank server for the clients of Cohere, Jina, Voyage, TEI, vLLM, Infinity and llama.cpp.",
    },
  });
}

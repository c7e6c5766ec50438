import type { RequestRefusedError } from "../refusal.js";
import type { Dialect } from "./dialect.js";

/** TEI's ErrorType by status; `backend` for the others. */
const teiTypes: Readonly<Record<number, string>> = {
  400: "empty",
  401: "unauthorized",
  404: "model_not_found",
  413: "validation",
  422: "validation",
  429: "overloaded",
  503: "unhealthy",
};

/**
 * The body of a refusal. JinaRerank of LangChain and of llama-index reads `detail` without asking whether it is there,
 * and voyageai 0.3.7 fails on an `error` that is an object.
 */
export function refusalBody(
  dialect: Dialect,
  { message, status, type }: Pick<RequestRefusedError, "message" | "status" | "type">,
): Record<string, unknown> {
  if (dialect === "voyage") return { detail: message };
  if (dialect === "tei") {
    const isEmpty = status === 400 && type === "empty";
    const kind = status === 400 && !isEmpty ? "validation" : (teiTypes[status] ?? "backend");
    return { error: message, error_type: kind, message, detail: message };
  }
  return { error: { message, type, code: status }, message, detail: message };
}

/** Headers beside the body. */
export function refusalHeaders({
  status,
  retryAfter,
}: Pick<RequestRefusedError, "status" | "retryAfter">): Record<string, string> {
  return {
    ...(retryAfter === undefined ? {} : { "retry-after": String(retryAfter) }),
    ...(status === 401 ? { "www-authenticate": "Bearer" } : {}),
  };
}

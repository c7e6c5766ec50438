import { CrossrankError } from "@crossrank/core";

/** Statuses of refusals. Never 501, which SDKs repeat three times. */
export type RefusalStatus = 400 | 401 | 403 | 404 | 405 | 408 | 413 | 415 | 422 | 424 | 429 | 431 | 500 | 503;

/** A request that gets no ranking. Every dialect has its own form for it: `dialects/refusals.ts`. */
export class RequestRefusedError extends CrossrankError<"request-refused"> {
  static override readonly code = "request-refused";

  readonly status: RefusalStatus;
  /** For programs, as in OpenAI's errors. */
  readonly type: string;
  /** Whole seconds, at least 1; of 429 and 503 only. */
  readonly retryAfter: number | undefined;
  constructor(
    status: RefusalStatus,
    message: string,
    { type, retryAfter, cause }: { type?: string; retryAfter?: number; cause?: unknown } = {},
  ) {
    super("request-refused", message, { cause });
    this.status = status;
    this.type = type ?? types[status];
    const isTransient = status === 429 || status === 503;
    this.retryAfter = isTransient ? Math.max(1, Math.ceil(retryAfter ?? 1)) : undefined;
  }
}

const types: Readonly<Record<RefusalStatus, string>> = {
  400: "invalid_request_error",
  401: "authentication_error",
  403: "permission_error",
  404: "not_found_error",
  405: "invalid_request_error",
  408: "timeout_error",
  413: "request_too_large",
  415: "invalid_request_error",
  422: "invalid_request_error",
  424: "model_error",
  429: "rate_limit_error",
  431: "request_too_large",
  500: "internal_error",
  503: "overloaded_error",
};

import { CrossrankError } from "@crossrank/core";
import { reasonOf } from "./reason.js";

/** Base of the errors about one model on the hub, in its cache or in its lock file. */
export class HubError<Code extends string = string> extends CrossrankError<Code> {
  static override readonly code: string = "hub";

  /** Repository id, e.g. `"BAAI/bge-reranker-base"`. */
  readonly model: string;

  constructor(code: Code, model: string, message: string, options?: { cause?: unknown }) {
    super(code, message, options);
    this.model = model;
  }
}

/** The hub says (404) that there is no such repository, revision or file. */
export class HubNotFoundError extends HubError<"hub-not-found"> {
  static override readonly code = "hub-not-found";

  readonly what: "repository" | "revision" | "file";
  /** The revision or file in question; undefined for a repository. */
  readonly missing: string | undefined;
  readonly url: string;
  readonly status: number;

  constructor(facts: {
    model: string;
    what: "repository" | "revision" | "file";
    missing?: string | undefined;
    url: string;
    status: number;
  }) {
    const fix = {
      repository: `The hub has no repository ${facts.model}. Check its spelling (owner/name); a private one needs HF_TOKEN.`,
      revision: `${facts.model} has no revision ${facts.missing}. Pass a branch, tag or commit that its page on the hub lists.`,
      file: `The hub does not serve ${facts.missing} of ${facts.model}. Check the path, or pass a revision that has it.`,
    };
    super("hub-not-found", facts.model, fix[facts.what]);
    this.what = facts.what;
    this.missing = facts.missing;
    this.url = facts.url;
    this.status = facts.status;
  }
}

/** The hub refuses access (401, 403): the repository is private, gated, or does not exist for this caller. */
export class HubUnauthorizedError extends HubError<"hub-unauthorized"> {
  static override readonly code = "hub-unauthorized";

  readonly url: string;
  readonly status: number;
  /** Whether the hub said that the model is gated: its terms must be accepted on its page. */
  readonly gated: boolean;
  /** Whether a token was sent with the request. */
  readonly tokenSent: boolean;

  constructor(facts: {
    model: string;
    url: string;
    status: number;
    gated: boolean;
    tokenSent: boolean;
    page: string;
  }) {
    const token = facts.tokenSent
      ? "use a token (HF_TOKEN) that may read it"
      : "set HF_TOKEN to a token that may read it";
    super(
      "hub-unauthorized",
      facts.model,
      facts.gated
        ? `${facts.model} is gated (${facts.status}): accept its terms at ${facts.page} and ${token}.`
        : `The hub refuses access to ${facts.model} (${facts.status}): it is private, gated, or does not exist. ` +
            `Check its spelling, and ${token}.`,
    );
    this.url = facts.url;
    this.status = facts.status;
    this.gated = facts.gated;
    this.tokenSent = facts.tokenSent;
  }
}

/** The hub still answered 429 after the last attempt, or asks for a longer wait than is allowed. */
export class HubRateLimitedError extends HubError<"hub-rate-limited"> {
  static override readonly code = "hub-rate-limited";

  readonly url: string;
  readonly status = 429;
  readonly attempts: number;
  /** Seconds the hub asks to wait; undefined when it does not say. */
  readonly retryAfter: number | undefined;

  constructor(facts: {
    model: string;
    url: string;
    attempts: number;
    retryAfter: number | undefined;
    tokenSent: boolean;
  }) {
    const wait = facts.retryAfter === undefined ? "a few minutes" : `${facts.retryAfter} s`;
    super(
      "hub-rate-limited",
      facts.model,
      `The hub limits requests for ${facts.model} (429, attempt ${facts.attempts}). Try again in ${wait}` +
        `${facts.tokenSent ? "" : ", or set HF_TOKEN: signed-in callers have a higher limit"}.`,
    );
    this.url = facts.url;
    this.attempts = facts.attempts;
    this.retryAfter = facts.retryAfter;
  }
}

/** No usable answer after the last attempt: no connection, a cut one, a stalled one, or a server error (5xx). */
export class HubNetworkError extends HubError<"hub-network"> {
  static override readonly code = "hub-network";

  readonly url: string;
  /** HTTP status, where there was an answer. */
  readonly status: number | undefined;
  readonly attempts: number;

  constructor(
    facts: {
      model: string;
      url: string;
      status?: number | undefined;
      attempts: number;
      problem: string;
      isUpload?: boolean | undefined;
    },
    options?: { cause?: unknown },
  ) {
    const resumed =
      facts.isUpload === true
        ? "files that were uploaded are not sent twice"
        : "a partial download is resumed";
    super(
      "hub-network",
      facts.model,
      `${facts.model}: ${facts.problem} (${withoutQuery(facts.url)}, attempt ${facts.attempts}). Check the ` +
        `connection and HF_ENDPOINT and run again: ${resumed}.`,
      options,
    );
    this.url = facts.url;
    this.status = facts.status;
    this.attempts = facts.attempts;
  }
}

/** The server's answer is not what the hub's protocol says. Usually HF_ENDPOINT names something else than a hub. */
export class HubResponseError extends HubError<"hub-response"> {
  static override readonly code = "hub-response";

  readonly url: string;
  readonly status: number | undefined;

  constructor(
    facts: { model: string; url: string; status?: number | undefined; problem: string },
    options?: { cause?: unknown },
  ) {
    super(
      "hub-response",
      facts.model,
      `${withoutQuery(facts.url)} ${facts.problem}. Check that HF_ENDPOINT names a Hugging Face hub.`,
      options,
    );
    this.url = facts.url;
    this.status = facts.status;
  }
}

/** The bytes are not those that the hub lists for the file. The bad copy was removed. */
export class HashMismatchError extends HubError<"hash-mismatch"> {
  static override readonly code = "hash-mismatch";

  readonly path: string;
  readonly algorithm: DigestAlgorithm;
  /** Lower-case hex. */
  readonly expected: string;
  /** Lower-case hex. */
  readonly found: string;

  constructor(facts: {
    model: string;
    path: string;
    algorithm: DigestAlgorithm;
    expected: string;
    found: string;
  }) {
    super(
      "hash-mismatch",
      facts.model,
      `${facts.path} of ${facts.model} has ${facts.algorithm} ${facts.found}, expected ${facts.expected}. The bad ` +
        "copy was removed; run again to download it anew, and if it happens again check the proxy or mirror.",
    );
    this.path = facts.path;
    this.algorithm = facts.algorithm;
    this.expected = facts.expected;
    this.found = facts.found;
  }
}

/** `git-sha1` is the SHA-1 of git's blob header and the content. */
export type DigestAlgorithm = "sha256" | "git-sha1";

/** Offline, and the cache does not hold what was asked for. */
export class OfflineMissingError extends HubError<"offline-missing"> {
  static override readonly code = "offline-missing";

  /** The cache folder that was looked in, absolute. */
  readonly cacheFolder: string;
  readonly revision: string;
  /**
   * Exactly what is missing: paths relative to the model; or, where not even the commit is known,
   * `refs/<revision>` of the model's folder in the cache.
   */
  readonly missing: readonly string[];

  constructor(facts: {
    model: string;
    revision: string;
    cacheFolder: string;
    missing: readonly string[];
  }) {
    super(
      "offline-missing",
      facts.model,
      `Offline, and ${facts.model} (revision ${facts.revision}) is not ` +
        `${facts.missing.some((path) => path.startsWith("refs/")) ? "" : "complete "}in the cache ` +
        `${facts.cacheFolder}: missing ${facts.missing.join(", ")}. Run once online (offline and ` +
        "HF_HUB_OFFLINE not set), or copy the cache from a machine that has it.",
    );
    this.cacheFolder = facts.cacheFolder;
    this.revision = facts.revision;
    this.missing = facts.missing;
  }
}

/** A path that would leave the model's folder. Refused wherever it comes from. */
export class UnsafePathError extends HubError<"unsafe-path"> {
  static override readonly code = "unsafe-path";

  readonly path: string;

  /** @param facts.linked the path itself is sound, and a link in it leads out of the folder. */
  constructor(facts: { model: string; path: string; linked?: boolean | undefined }) {
    const path = JSON.stringify(facts.path);
    super(
      "unsafe-path",
      facts.model,
      facts.linked === true
        ? `${facts.model}: ${path} is a link to a file outside of the model's folder and is refused. Copy the file ` +
            "into the folder."
        : `${facts.model}: the path ${path} leaves the model's folder and is refused. Use paths relative to the ` +
            "model, and report a repository that lists such a path.",
    );
    this.path = facts.path;
  }
}

/** The cache cannot be written or read: no space, no permission, no such disk. */
export class CacheError extends HubError<"cache"> {
  static override readonly code = "cache";

  readonly path: string;

  constructor(facts: { model: string; path: string }, options: { cause: unknown }) {
    super(
      "cache",
      facts.model,
      `Cannot write ${facts.path} (${reasonOf(options.cause)}). Free space or fix its permissions, or set ` +
        "HF_HUB_CACHE to another folder.",
      options,
    );
    this.path = facts.path;
  }
}

/** The lock file cannot be read or written, or is not one. */
export class LockFileError extends CrossrankError<"lock-file"> {
  static override readonly code = "lock-file";

  readonly lockFile: string;

  constructor(facts: { lockFile: string; problem: string }, options?: { cause?: unknown }) {
    super(
      "lock-file",
      `${facts.lockFile} ${facts.problem}. Restore it from version control, or delete it to pin anew.`,
      options,
    );
    this.lockFile = facts.lockFile;
  }
}

/** Other processes kept writing the lock file for as long as this one waits. */
export class LockFileBusyError extends CrossrankError<"lock-file-busy"> {
  static override readonly code = "lock-file-busy";

  readonly lockFile: string;
  /** Milliseconds waited. */
  readonly waited: number;

  constructor(facts: { lockFile: string; waited: number }) {
    super(
      "lock-file-busy",
      `${facts.lockFile} was being written by other processes for ${facts.waited} ms, and the pin was not added. Run ` +
        "again, with fewer processes at one lock file, or end the one that hangs.",
    );
    this.lockFile = facts.lockFile;
    this.waited = facts.waited;
  }
}

/** A file is larger than what is read into memory as text. */
export class FileTooLargeError extends HubError<"file-too-large"> {
  static override readonly code = "file-too-large";

  readonly path: string;
  /** Bytes. */
  readonly size: number;
  /** Bytes. */
  readonly largest: number;

  constructor(facts: { model: string; path: string; size: number; largest: number }) {
    super(
      "file-too-large",
      facts.model,
      `${facts.path} of ${facts.model} has ${facts.size} bytes, and at most ${facts.largest} are read as text. Check ` +
        "that it is the file that is meant; a large one is read in parts (readBytes, localPath).",
    );
    this.path = facts.path;
    this.size = facts.size;
    this.largest = facts.largest;
  }
}

/** What is there is not what the lock file pins. */
export class LockMismatchError extends HubError<"lock-mismatch"> {
  static override readonly code = "lock-mismatch";

  readonly lockFile: string;
  /** The file whose sha256 differs; undefined when the revision does. */
  readonly path: string | undefined;
  /** The pinned sha256 (lower-case hex) or revision. */
  readonly expected: string;
  /** The sha256 found, or the revision asked for. */
  readonly found: string;

  constructor(facts: {
    model: string;
    lockFile: string;
    path?: string | undefined;
    expected: string;
    found: string;
  }) {
    const what = facts.path === undefined ? `revision of ${facts.model}` : `sha256 of ${facts.path}`;
    super(
      "lock-mismatch",
      facts.model,
      `${facts.lockFile} pins ${what} to ${facts.expected}, found ${facts.found}. If the change is meant, delete ` +
        `the entry ${facts.model} from the lock file.`,
    );
    this.lockFile = facts.lockFile;
    this.path = facts.path;
    this.expected = facts.expected;
    this.found = facts.found;
  }
}

/** Signed storage URLs carry credentials in their query. */
function withoutQuery(url: string): string {
  return url.split("?", 1)[0] ?? url;
}

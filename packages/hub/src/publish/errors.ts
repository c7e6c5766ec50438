import { HubError } from "../errors.js";

/** Publishing needs a token, and there is none. */
export class HubTokenMissingError extends HubError<"hub-token-missing"> {
  static override readonly code = "hub-token-missing";

  constructor(facts: { model: string }) {
    super(
      "hub-token-missing",
      facts.model,
      `Publishing to ${facts.model} needs a token that may write it. Set HF_TOKEN, or log in with the hub's own tools.`,
    );
  }
}

/** The environment says that no request is made, and publishing makes some. */
export class HubOfflineError extends HubError<"hub-offline"> {
  static override readonly code = "hub-offline";

  constructor(facts: { model: string }) {
    super(
      "hub-offline",
      facts.model,
      `Publishing to ${facts.model} needs the hub, and HF_HUB_OFFLINE or TRANSFORMERS_OFFLINE forbids every request. ` +
        "Unset it, or look at the plan alone, which makes none.",
    );
  }
}

/** The hub refuses to let this token write (401, 403). */
export class HubWriteRefusedError extends HubError<"hub-write-refused"> {
  static override readonly code = "hub-write-refused";

  readonly url: string;
  readonly status: number;

  constructor(facts: { model: string; url: string; status: number; reason?: string | undefined }) {
    super(
      "hub-write-refused",
      facts.model,
      `The hub refuses to let this token write ${facts.model} (${facts.status}${facts.reason === undefined ? "" : `: ${facts.reason}`}). ` +
        "Set HF_TOKEN to a token with write access to it.",
    );
    this.url = facts.url;
    this.status = facts.status;
  }
}

/** The tag that was to be made is there. A tag never moves: whoever pinned it relies on that. */
export class HubTagExistsError extends HubError<"hub-tag-exists"> {
  static override readonly code = "hub-tag-exists";

  readonly tag: string;
  /** The commit that it stands for. */
  readonly commit: string;
  /** Whether that commit has exactly the files that were to be published. */
  readonly sameFiles: boolean;

  constructor(facts: { model: string; tag: string; commit: string; sameFiles: boolean }) {
    super(
      "hub-tag-exists",
      facts.model,
      `${facts.model} has the tag ${facts.tag} already, at ${facts.commit.slice(0, 12)}, ${
        facts.sameFiles
          ? "with exactly these files: it is published. Nothing is left to do."
          : "with other files. Publish these under another version."
      }`,
    );
    this.tag = facts.tag;
    this.commit = facts.commit;
    this.sameFiles = facts.sameFiles;
  }
}

/** Somebody else wrote the branch while this was publishing (409, 412). */
export class HubConflictError extends HubError<"hub-conflict"> {
  static override readonly code = "hub-conflict";

  readonly branch: string;
  /** The commit that this one was to follow; undefined of an empty branch. */
  readonly parent: string | undefined;
  readonly status: number;

  constructor(facts: { model: string; branch: string; parent: string | undefined; status: number }) {
    super(
      "hub-conflict",
      facts.model,
      `${facts.branch} of ${facts.model} was written by somebody else since this began (${facts.status}), and nothing was ` +
        "committed. Look at what changed there, then run again: what is uploaded already is not sent twice.",
    );
    this.branch = facts.branch;
    this.parent = facts.parent;
    this.status = facts.status;
  }
}

/** What the hub has after the commit is not what was sent. No tag was made. */
export class HubContentError extends HubError<"hub-content"> {
  static override readonly code = "hub-content";

  readonly commit: string;
  readonly path: string;
  readonly expected: string;
  readonly found: string;

  constructor(facts: { model: string; commit: string; path: string; expected: string; found: string }) {
    super(
      "hub-content",
      facts.model,
      `${facts.path} of ${facts.model} is not what was sent: at commit ${facts.commit.slice(0, 12)} the hub has ` +
        `${facts.found} in place of ${facts.expected}. No tag was made. Run again, and if it happens again check the ` +
        "proxy or report it to the hub.",
    );
    this.commit = facts.commit;
    this.path = facts.path;
    this.expected = facts.expected;
    this.found = facts.found;
  }
}

/** Files that cannot be published as they are named, or that changed. */
export class PublishFilesError extends HubError<"publish-files"> {
  static override readonly code = "publish-files";

  readonly path: string;

  constructor(
    facts: { model: string; path: string; problem: string; fix: string },
    options?: { cause?: unknown },
  ) {
    super(
      "publish-files",
      facts.model,
      `${JSON.stringify(facts.path)} ${facts.problem}. ${facts.fix}.`,
      options,
    );
    this.path = facts.path;
  }
}

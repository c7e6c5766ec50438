import type { S3Client } from "@aws-sdk/client-s3";
import { ObjectStoreError, type ObjectStoreProblem } from "./errors.js";

/** An object that is read in ranges, and is the same one at each read. */
export interface StoredInput {
  readonly place: string;
  readonly size: number;
  readonly mark: { readonly etag: string };
  read(start: number, end: number, signal?: AbortSignal): AsyncIterable<Uint8Array>;
  /** True: each read asks for this very etag, and fails with another. */
  isSame(): Promise<boolean>;
}

/** Objects below a prefix. Names are relative to it. */
export interface StoredFolder {
  readonly place: string;
  read(name: string, mostBytes: number): Promise<Uint8Array | undefined>;
  stream(name: string, signal?: AbortSignal): AsyncIterable<Uint8Array>;
  has(name: string): Promise<boolean>;
  names(folder: string): AsyncIterable<string>;
  /** In whole or not at all; replaces what was there. */
  write(name: string, pieces: ObjectPieces): Promise<void>;
  /** In whole or not at all, where nothing was there: the first one stays. */
  writeOnce(name: string, pieces: ObjectPieces): Promise<void>;
  /** Ends uploads below a folder that nobody has ended; `.` is the whole. */
  removeUnfinished(folder: string): Promise<void>;
}

export type ObjectPieces = Iterable<string | Uint8Array> | AsyncIterable<string | Uint8Array>;

export interface ObjectStorage {
  openInput(place: string): Promise<StoredInput>;
  openOutput(place: string): Promise<StoredFolder>;
}

/** Bytes of a part of an upload; of at most 10,000, so that an object may have 160 GB. */
const partBytes = 16 * 1024 * 1024;

type Sdk = typeof import("@aws-sdk/client-s3");

/**
 * Objects in S3, or what speaks its protocol. Region, credentials and endpoint come from where the official client takes
 * them: AWS_REGION, AWS_ACCESS_KEY_ID, AWS_ENDPOINT_URL_S3, profiles, roles.
 *
 * @throws {ObjectStoreError} where the client is not installed.
 */
export async function openObjectStorage(): Promise<ObjectStorage> {
  const name = "@aws-sdk/client-s3";
  const sdk = await (import(/* @vite-ignore */ name) as Promise<Sdk>).catch((cause: unknown) => {
    throw new ObjectStoreError("not-installed", "s3://", `needs a package. Install it: npm install ${name}`, {
      cause,
    });
  });
  const endpoint = process.env["AWS_ENDPOINT_URL_S3"] ?? process.env["AWS_ENDPOINT_URL"];
  const region = process.env["AWS_REGION"] ?? process.env["AWS_DEFAULT_REGION"];
  const client = new sdk.S3Client({
    // Servers of one's own have no name for each bucket, and no region.
    ...(endpoint === undefined ? {} : { endpoint, forcePathStyle: true, region: region ?? "us-east-1" }),
  });
  return {
    openInput: (place) => openInput(sdk, client, place),
    openOutput: async (place) => openOutput(sdk, client, place),
  };
}

/** @throws {ObjectStoreError} */
function parsePlace(place: string): { readonly Bucket: string; readonly Key: string } {
  const [, Bucket, Key] = /^s3:\/\/([a-z0-9][a-z0-9.-]{1,61}[a-z0-9])\/(.+?)\/*$/.exec(place) ?? [];
  if (Bucket === undefined || Key === undefined) {
    throw new ObjectStoreError("address", place, "is no place in S3. Write s3://bucket/name");
  }
  return { Bucket, Key };
}

async function openInput(sdk: Sdk, client: S3Client, place: string): Promise<StoredInput> {
  const at = parsePlace(place);
  const head = await client.send(new sdk.HeadObjectCommand(at)).catch(refused(place));
  const { ContentLength: size, ETag: etag } = head;
  if (size === undefined || etag === undefined) {
    throw new ObjectStoreError("refused", place, "has no length or no etag. Use a store that gives them");
  }
  return {
    place,
    size,
    mark: { etag },
    isSame: async () => true,
    async *read(start, end, signal) {
      if (end <= start) return;
      const command = new sdk.GetObjectCommand({ ...at, Range: `bytes=${start}-${end - 1}`, IfMatch: etag });
      yield* bodyOf(client, command, place, signal);
    },
  };
}

function openOutput(sdk: Sdk, client: S3Client, given: string): StoredFolder {
  const { Bucket, Key: prefix } = parsePlace(given);
  const place = `s3://${Bucket}/${prefix}`;
  const at = (name: string): { Bucket: string; Key: string } => ({ Bucket, Key: `${prefix}/${name}` });
  const shown = (name: string): string => `${place}/${name}`;
  const head = async (name: string): Promise<number | undefined> => {
    try {
      return (await client.send(new sdk.HeadObjectCommand(at(name)))).ContentLength ?? 0;
    } catch (error) {
      return isMissing(error) ? undefined : refused(shown(name))(error);
    }
  };
  return {
    place,
    async read(name, mostBytes) {
      const size = await head(name);
      if (size === undefined) return undefined;
      if (size > mostBytes) {
        throw new ObjectStoreError(
          "refused",
          shown(name),
          `has more than ${mostBytes} bytes, and is none of a job`,
        );
      }
      const pieces: Uint8Array[] = [];
      for await (const piece of bodyOf(client, new sdk.GetObjectCommand(at(name)), shown(name)))
        pieces.push(piece);
      return Buffer.concat(pieces);
    },
    stream: (name, signal) => bodyOf(client, new sdk.GetObjectCommand(at(name)), shown(name), signal),
    has: async (name) => (await head(name)) !== undefined,
    async *names(folder) {
      let ContinuationToken: string | undefined;
      do {
        const page = await client
          .send(new sdk.ListObjectsV2Command({ Bucket, Prefix: `${prefix}/${folder}/`, ContinuationToken }))
          .catch(refused(place));
        for (const { Key } of page.Contents ?? []) if (Key !== undefined) yield Key.slice(prefix.length + 1);
        ContinuationToken = page.IsTruncated === true ? page.NextContinuationToken : undefined;
      } while (ContinuationToken !== undefined);
    },
    write: (name, pieces) => upload(sdk, client, at(name), pieces),
    async writeOnce(name, pieces) {
      try {
        await upload(sdk, client, at(name), pieces, "*");
      } catch (error) {
        // Somebody was first, or is about to be.
        const status = ObjectStoreError.isInstance(error) ? statusOf(error.cause) : undefined;
        if ((status !== 412 && status !== 409) || (await head(name)) === undefined) throw error;
      }
    },
    async removeUnfinished(folder) {
      const Prefix = folder === "." ? `${prefix}/` : `${prefix}/${folder}/`;
      const { Uploads = [] } = await client
        .send(new sdk.ListMultipartUploadsCommand({ Bucket, Prefix }))
        .catch(refused(place));
      for (const { Key, UploadId } of Uploads) {
        await client
          .send(new sdk.AbortMultipartUploadCommand({ Bucket, Key, UploadId }))
          .catch(refused(place));
      }
    },
  };
}

async function* bodyOf(
  client: S3Client,
  command: InstanceType<Sdk["GetObjectCommand"]>,
  place: string,
  signal?: AbortSignal,
): AsyncGenerator<Uint8Array> {
  try {
    const { Body } = await client.send(command, signal === undefined ? {} : { abortSignal: signal });
    if (Body === undefined) throw new ObjectStoreError("refused", place, "has no content");
    for await (const piece of Body as unknown as AsyncIterable<Uint8Array>) {
      signal?.throwIfAborted();
      yield piece;
    }
  } catch (error) {
    signal?.throwIfAborted();
    if (statusOf(error) === 412) {
      throw new ObjectStoreError(
        "changed",
        place,
        "has changed since the job began. Begin a new one elsewhere",
        {
          cause: error,
        },
      );
    }
    refused(place)(error);
  }
}

/** One request, or parts of one size; an upload that fails leaves nothing behind. */
async function upload(
  sdk: Sdk,
  client: S3Client,
  at: { readonly Bucket: string; readonly Key: string },
  pieces: ObjectPieces,
  IfNoneMatch?: "*",
): Promise<void> {
  const condition = IfNoneMatch === undefined ? {} : { IfNoneMatch };
  let pending: Buffer[] = [];
  let length = 0;
  let UploadId: string | undefined;
  const Parts: { ETag: string | undefined; PartNumber: number }[] = [];
  // What the pieces throw goes through as it is.
  const theirs = refused(`s3://${at.Bucket}/${at.Key}`);
  const sendPart = async (): Promise<void> => {
    const Body = Buffer.concat(pending);
    pending = [];
    length = 0;
    UploadId ??= (await client.send(new sdk.CreateMultipartUploadCommand(at)).catch(theirs)).UploadId;
    const PartNumber = Parts.length + 1;
    const { ETag } = await client
      .send(new sdk.UploadPartCommand({ ...at, UploadId, PartNumber, Body }))
      .catch(theirs);
    Parts.push({ ETag, PartNumber });
  };
  try {
    for await (const piece of pieces) {
      const bytes = Buffer.from(piece as Uint8Array);
      pending.push(bytes);
      length += bytes.length;
      if (length >= partBytes) await sendPart();
    }
    if (UploadId === undefined) {
      const Body = Buffer.concat(pending);
      await client.send(new sdk.PutObjectCommand({ ...at, Body, ...condition })).catch(theirs);
      return;
    }
    if (length > 0) await sendPart();
    const MultipartUpload = { Parts };
    await client
      .send(new sdk.CompleteMultipartUploadCommand({ ...at, UploadId, MultipartUpload, ...condition }))
      .catch(theirs);
  } catch (error) {
    if (UploadId !== undefined) {
      await client.send(new sdk.AbortMultipartUploadCommand({ ...at, UploadId })).catch(() => undefined);
    }
    throw error;
  }
}

function statusOf(error: unknown): number | undefined {
  return (error as { $metadata?: { httpStatusCode?: number } } | undefined)?.$metadata?.httpStatusCode;
}

function isMissing(error: unknown): boolean {
  return statusOf(error) === 404;
}

/** What the client threw, as a typed error. */
function refused(place: string): (error: unknown) => never {
  return (cause) => {
    if (ObjectStoreError.isInstance(cause)) throw cause;
    const fail = (reason: ObjectStoreProblem, problem: string): never => {
      throw new ObjectStoreError(reason, place, problem, { cause });
    };
    const status = statusOf(cause);
    const { name, message } = cause instanceof Error ? cause : { name: "Error", message: String(cause) };
    const said = message && message !== "UnknownError" ? message : name;
    if (status === 404) return fail("missing", "is not there. Name a bucket and an object that are");
    if (status !== undefined && status >= 400 && status < 500) {
      return fail("refused", `the store refuses (${status}, ${said}). Check credentials and rights`);
    }
    if (/Credential|Region/.test(`${name} ${said}`)) {
      return fail("refused", `${said}. Set AWS_REGION, AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY`);
    }
    // Also an answer that was cut in its middle.
    return fail("unreachable", `the store does not answer (${said}). Try again`);
  };
}

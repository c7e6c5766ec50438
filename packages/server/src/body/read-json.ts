import { RequestRefusedError } from "../refusal.js";

/** Objects and lists inside each other; the deepest request of a known client has five. */
const deepest = 32;

/**
 * The object that a body holds.
 *
 * @throws {RequestRefusedError} 400 when it is not UTF-8, not JSON, no object, too deep, or has a key twice: a server in
 * front that reads the first of two keys would have checked another request than the one that is answered.
 */
export function readJson(bytes: Uint8Array): Record<string, unknown> {
  if (bytes.byteLength === 0) throw malformed("the body is empty. Send a JSON object");
  let text: string;
  try {
    text = new TextDecoder("utf-8", { fatal: true }).decode(bytes);
  } catch (cause) {
    throw malformed("the body is not UTF-8. Send JSON in UTF-8", cause);
  }
  checkDepth(text);
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch (cause) {
    // The parser's message quotes the body.
    throw malformed("the body is not JSON. Send a JSON object", cause);
  }
  if (typeof value !== "object" || value === null || Array.isArray(value)) {
    throw malformed("the body is not a JSON object. Send one with a query and documents");
  }
  const twice = findDuplicateKey(text);
  if (twice !== undefined)
    throw malformed(`the body has the key ${shown(twice)} twice in one object. Send it once`);
  return value as Record<string, unknown>;
}

function malformed(message: string, cause?: unknown): RequestRefusedError {
  return new RequestRefusedError(400, message, { cause });
}

function shown(key: string): string {
  return JSON.stringify(key.length > 40 ? `${key.slice(0, 40)}…` : key);
}

const [quote, backslash, openObject, closeObject, openList, closeList, colon] = [...'"\\{}[]:'].map((one) =>
  one.charCodeAt(0),
) as [number, number, number, number, number, number, number];

/** Before the text is parsed, so that nothing later walks through a deep value. */
function checkDepth(text: string): void {
  let depth = 0;
  for (let at = 0; at < text.length; at += 1) {
    const unit = text.charCodeAt(at);
    if (unit === quote) at = endOfString(text, at);
    else if (unit === openObject || unit === openList) {
      depth += 1;
      if (depth > deepest) {
        throw malformed(
          `the body's objects and lists are nested more than ${deepest} deep. Send flat documents`,
        );
      }
    } else if (unit === closeObject || unit === closeList) depth -= 1;
  }
}

/** Keys of an object that is open. Most have one or two, and a set for each would take most of the time. */
interface Keys {
  first: string | undefined;
  others: Set<string> | undefined;
}

/** @returns whether the object has the key already. */
function addKey(keys: Keys, key: string): boolean {
  if (keys.first === undefined) {
    keys.first = key;
    return false;
  }
  if (keys.first === key || keys.others?.has(key)) return true;
  keys.others ??= new Set();
  keys.others.add(key);
  return false;
}

/** Of a text that is JSON. */
function findDuplicateKey(text: string): string | undefined {
  const open: (Keys | undefined)[] = [];
  for (let at = 0; at < text.length; at += 1) {
    const unit = text.charCodeAt(at);
    if (unit === openObject) open.push({ first: undefined, others: undefined });
    else if (unit === openList) open.push(undefined);
    else if (unit === closeObject || unit === closeList) open.pop();
    else if (unit === quote) {
      const end = endOfString(text, at);
      const keys = open.at(-1);
      if (keys !== undefined && isKey(text, end)) {
        const raw = text.slice(at, end + 1);
        const key: string = raw.includes("\\") ? JSON.parse(raw) : raw.slice(1, -1);
        if (addKey(keys, key)) return key;
      }
      at = end;
    }
  }
  return undefined;
}

/** Position of the quote that closes the string which is opened at `at`. */
function endOfString(text: string, at: number): number {
  let end = text.indexOf('"', at + 1);
  while (end !== -1) {
    let slashes = 0;
    while (text.charCodeAt(end - 1 - slashes) === backslash) slashes += 1;
    if (slashes % 2 === 0) return end;
    end = text.indexOf('"', end + 1);
  }
  return text.length;
}

function isKey(text: string, end: number): boolean {
  let at = end + 1;
  while (at < text.length && " \t\n\r".includes(text.charAt(at))) at += 1;
  return text.charCodeAt(at) === colon;
}

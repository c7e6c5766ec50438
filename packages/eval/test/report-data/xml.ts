export interface XmlElement {
  readonly name: string;
  readonly attributes: Readonly<Record<string, string>>;
  readonly children: XmlElement[];
  text: string;
}

/** Reads the part of XML 1.0 that our reports use, and throws at anything that is not well-formed. */
export function parseXml(source: string): XmlElement {
  const bad = /[^\t\n\r\u0020-\ud7ff\ue000-\ufffd\u{10000}-\u{10ffff}]/u.exec(source);
  if (bad !== null) throw new Error(`character U+${bad[0].codePointAt(0)?.toString(16)} is not allowed`);
  const body = source.replace(/^<\?xml version="1\.0" encoding="UTF-8"\?>\n/, "");
  if (body === source) throw new Error("there is no XML declaration");
  const root: XmlElement = { name: "", attributes: {}, children: [], text: "" };
  const open = [root];
  let at = 0;
  const token = /<(\/?)([A-Za-z][\w-]*)((?:\s+[A-Za-z][\w-]*="[^"<]*")*)\s*(\/?)>|([^<]+)/y;
  while (at < body.length) {
    token.lastIndex = at;
    const match = token.exec(body);
    const parent = open.at(-1);
    if (match === null || parent === undefined)
      throw new Error(`not well-formed: ${body.slice(at, at + 60)}`);
    at = token.lastIndex;
    const [, closing, name = "", attributes = "", empty, text] = match;
    if (text !== undefined) {
      parent.text += decode(text);
    } else if (closing === "/") {
      if (open.pop()?.name !== name) throw new Error(`</${name}> closes nothing`);
    } else {
      const element: XmlElement = { name, attributes: readAttributes(attributes), children: [], text: "" };
      parent.children.push(element);
      if (empty !== "/") open.push(element);
    }
  }
  const [only] = root.children;
  if (open.length !== 1 || root.children.length !== 1 || only === undefined || root.text.trim() !== "") {
    throw new Error("there is not exactly one root element");
  }
  return only;
}

function readAttributes(source: string): Record<string, string> {
  const attributes: Record<string, string> = {};
  for (const [, name = "", value = ""] of source.matchAll(/([A-Za-z][\w-]*)="([^"]*)"/g)) {
    if (name in attributes) throw new Error(`the attribute ${name} stands twice`);
    attributes[name] = decode(value.replace(/[\t\n\r]/g, " "));
  }
  return attributes;
}

const named: Readonly<Record<string, string>> = { amp: "&", lt: "<", gt: ">", quot: '"', apos: "'" };

function decode(text: string): string {
  return text.replace(/&(?:#(\d+)|(\w+));|&/g, (reference, number?: string, name?: string) => {
    const character = number === undefined ? named[name ?? ""] : String.fromCodePoint(Number(number));
    if (character === undefined) throw new Error(`${reference} is no reference`);
    return character;
  });
}

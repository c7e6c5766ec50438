/** Text as XML and HTML can hold it: what they cannot (XML 1.0, section 2.2) becomes U+FFFD. */
export function replaceForbidden(text: string): string {
  return text.toWellFormed().replace(/[^\t\n\r\u0020-\ud7ff\ue000-\ufffd\u{10000}-\u{10ffff}]/gu, "\ufffd");
}

/**
 * Text for HTML, in content and in attributes with double quotes. What XML cannot hold becomes U+FFFD, so that the
 * page is the same read either way.
 */
export function escapeHtml(text: string): string {
  return escapeXml(text);
}

/** Text for XML 1.0, in content and in attributes; characters that XML 1.0 forbids (section 2.2) become U+FFFD. */
export function escapeXml(text: string): string {
  return replaceForbidden(text).replace(/[&<>"'\t\n\r]/g, (character) => xmlEntities[character] ?? character);
}

/** White space as references, else attributes would be normalised to spaces (XML 1.0, section 3.3.3). */
const xmlEntities: Readonly<Record<string, string>> = {
  "&": "&amp;",
  "<": "&lt;",
  ">": "&gt;",
  '"': "&quot;",
  "'": "&#39;",
  "\t": "&#9;",
  "\n": "&#10;",
  "\r": "&#13;",
};

/**
 * Text on one line of GitHub Markdown, in a table cell too: nothing of it is markup. White space collapses; every ASCII
 * punctuation character that can begin markup gets a backslash (CommonMark 0.31.2, section 2.4), `<`, `>` and `&` are
 * references, and a word joiner keeps `@name`, `#1` and bare addresses from becoming mentions and links.
 */
export function escapeMarkdown(text: string): string {
  return (
    visibleLine(text)
      .replace(/[&<>]/g, (character) => xmlEntities[character] ?? character)
      .replace(/[\\`*_[\]~$]/g, "\\$&")
      .replace(/^([-+=#]|\d+[.)])/, (start) => `${start.slice(0, -1)}\\${start.slice(-1)}`)
      // After a letter or digit neither begins a mention or a reference: nDCG@10 stays as it is.
      .replace(/(?<![\p{L}\p{N}])[@#]/gu, "$&\u2060")
      // A reference and no backslash: a row is cut into cells before backslashes are paired.
      .replaceAll("|", "&#124;")
      .replace(/:\/\//g, ":\u2060//")
      .replace(/\b(www)\./gi, "$1\u2060.")
  );
}

/**
 * A code span that holds the text as it is: its fence is longer than any run of backticks. Not for the cells of a table,
 * see {@link codeCell}.
 */
export function codeSpan(text: string): string {
  const line = visibleLine(text);
  const longest = Math.max(0, ...(line.match(/`+/g) ?? []).map((run) => run.length));
  const fence = "`".repeat(longest + 1);
  const pad = line.startsWith("`") || line.endsWith("`") || line === "" ? " " : "";
  return `${fence}${pad}${line}${pad}${fence}`;
}

/** The same for a cell of a table, which a `|` would end even within a code span (GFM 0.29, section 4.10). */
export function codeCell(text: string): string {
  return text.includes("|") ? `<code>${escapeMarkdown(text)}</code>` : codeSpan(text);
}

/** One line without control characters and without the marks that turn the direction of the text after them. */
function visibleLine(text: string): string {
  return text
    .toWellFormed()
    .replace(/\s+/gu, " ")
    .replace(/[\p{Cc}\u202a-\u202e\u2066-\u2069]/gu, "\ufffd")
    .trim();
}

/** HTML that is already written; anything else put into {@link html} is text. */
export class Markup {
  readonly source: string;

  constructor(source: string) {
    this.source = source;
  }
}

type Content = Markup | string | number | readonly Content[];

/** A template whose values are escaped unless they are markup, so that forgetting cannot happen. Lists are joined. */
export function html(parts: TemplateStringsArray, ...values: readonly Content[]): Markup {
  return new Markup(parts.map((part, index) => part + sourceOf(values[index] ?? "")).join(""));
}

function sourceOf(content: Content): string {
  if (content instanceof Markup) return content.source;
  if (typeof content === "string") return escapeHtml(content);
  if (typeof content === "number") return String(content);
  return content.map(sourceOf).join("");
}

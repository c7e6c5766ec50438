/** Python's `str.strip()`, whose white space differs from that of JavaScript's `trim` in both directions. */
export function strip(text: string): string {
  return text.replace(leadingSpace, "").replace(trailingSpace, "");
}

// What `str.isspace` accepts; the control characters 1C to 1F and 85 are not in JavaScript's set, U+FEFF is not in Python's.
const space = "[\\t-\\r\\x1c-\\x20\\x85\\xa0\\u1680\\u2000-\\u200a\\u2028\\u2029\\u202f\\u205f\\u3000]";
const leadingSpace = new RegExp(`^${space}+`);
// The look-behind keeps the search from starting anew at each blank of a long run.
const trailingSpace = new RegExp(`(?<!${space})${space}+$`);

/** MTEB's text of a document with a title: `(title + " " + text).strip()`. */
export function documentText(title: string, text: string): string {
  return strip(`${title} ${text}`);
}

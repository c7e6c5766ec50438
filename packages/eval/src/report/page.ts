import { html, Markup } from "./escape.js";
import { stylesheet } from "./html-style.js";

export interface PageParts {
  readonly title: string;
  /** What the page's header holds. */
  readonly header: Markup;
  readonly main: Markup | readonly Markup[];
  /** Behind the stylesheet of all reports. CSS of our own: it is not escaped. */
  readonly style?: string;
}

/**
 * One HTML file that needs nothing else: no script, no font, no image, no network, which its own content security policy
 * enforces. Light or dark as the reader's system is; one column on a phone.
 */
export function renderPage({ title, header, main, style = "" }: PageParts): string {
  return html`<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'">
<meta name="color-scheme" content="light dark">
<meta name="generator" content="crossrank">
<title>${title}</title>
<style>${new Markup(stylesheet + style)}</style>
</head>
<body>
<header>
${header}
</header>
<main>
${main}
</main>
</body>
</html>
`.source;
}

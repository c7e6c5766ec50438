import { createHash } from "node:crypto";
import { script } from "./script.js";
import { style } from "./style.js";

const digest = (text: string): string => `'sha256-${createHash("sha256").update(text).digest("base64")}'`;

/** The page at the server's root, to try its models by hand. One file. */
export const page: string = `<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>crossrank</title>
<link rel="icon" href="data:,">
<style>${style}</style>
</head>
<body>
<header>
<h1>crossrank</h1>
<p>Order documents by their relevance to a query. <a href="openapi.json">API</a></p>
</header>
<main>
<form id="form">
<label>Query
<input id="query" name="query" autocomplete="off" required value="how do vaccines work">
</label>
<label><span>Documents <small>one a line</small></span>
<textarea id="documents" name="documents" rows="7" required spellcheck="false">The cat sat on the mat.
Vaccines train the immune system to recognise a virus before it causes illness.
A vaccine holds a harmless part of a germ, so that the body makes antibodies against it.
The museum opens at nine and closes at five.
Antibiotics work against bacteria, and not against viruses.</textarea>
</label>
<div class="choices">
<label>Model
<select id="first" name="first"></select>
</label>
<label id="second-field" hidden>Compare with
<select id="second" name="second"></select>
</label>
<label id="instruction-field" hidden><span>Instruction <small>what counts as relevant</small></span>
<input id="instruction" name="instruction" autocomplete="off">
</label>
<label id="key-field" hidden>API key
<input id="key" name="key" type="password" autocomplete="off">
</label>
</div>
<div class="actions">
<button id="rank">Rank</button>
<p id="status" role="status"></p>
</div>
</form>
<p id="fault" class="notice fault" role="alert" hidden></p>
<div id="results"></div>
</main>
<script>${script}</script>
</body>
</html>
`;

/** Nothing from elsewhere, nothing that was not here from the start, and no frame around it. */
const policy: string = [
  "default-src 'none'",
  `script-src ${digest(script)}`,
  `style-src ${digest(style)}`,
  "connect-src 'self'",
  "img-src data:",
  "base-uri 'none'",
  "form-action 'none'",
  "frame-ancestors 'none'",
].join("; ");

export const pageHeaders: Readonly<Record<string, string>> = {
  "content-type": "text/html; charset=utf-8",
  "content-security-policy": policy,
  "referrer-policy": "no-referrer",
  "x-content-type-options": "nosniff",
  "cache-control": "no-cache",
};

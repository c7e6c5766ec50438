// Puts the real output of the demo and of examples/rerank.mjs into README.md, between its markers.
// Usage, after a build: node scripts/write-readme.mjs
import { execFileSync } from "node:child_process";
import { readFileSync, writeFileSync } from "node:fs";
import { fileURLToPath } from "node:url";

const root = fileURLToPath(new URL("..", import.meta.url));
const readme = `${root}README.md`;
const output = (...args) => execFileSync(process.execPath, args, { cwd: root, encoding: "utf8" }).trimEnd();
const query = "How do vaccines teach the immune system to recognise a virus?";

const sections = {
  demo: `\`\`\`\n${output("packages/cli/bin/crossrank.js", "rerank", "--query", query, "--documents", "examples/documents.jsonl")}\n\`\`\``,
  snippet: `\`\`\`js\n${readFileSync(`${root}examples/rerank.mjs`, "utf8").trimEnd()}\n\`\`\`\n\nIt prints:\n\n\`\`\`\n${output("examples/rerank.mjs")}\n\`\`\``,
};
let text = readFileSync(readme, "utf8");
for (const [name, section] of Object.entries(sections)) {
  const [start, end] = [`<!-- ${name}:start -->`, `<!-- ${name}:end -->`];
  text = `${text.slice(0, text.indexOf(start) + start.length)}\n${section}\n${text.slice(text.indexOf(end))}`;
}
writeFileSync(readme, text);

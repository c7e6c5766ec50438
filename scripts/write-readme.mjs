// Puts the real output of the demo, of examples/rerank.mjs and of the command's subcommands into the READMEs, between
// their markers. Usage, after a build: node scripts/write-readme.mjs
import { execFileSync } from "node:child_process";
import { readFileSync, writeFileSync } from "node:fs";
import { fileURLToPath } from "node:url";

const root = fileURLToPath(new URL("..", import.meta.url));
const output = (...args) => execFileSync(process.execPath, args, { cwd: root, encoding: "utf8" }).trimEnd();
const crossrank = (...args) => `\`\`\`\n${output("packages/cli/bin/crossrank.js", ...args)}\n\`\`\``;
const query = "How do vaccines teach the immune system to recognise a virus?";

const sections = {
  "README.md": {
    demo: crossrank("rerank", "--query", query, "--documents", "examples/documents.jsonl"),
    snippet: `\`\`\`js\n${readFileSync(`${root}examples/rerank.mjs`, "utf8").trimEnd()}\n\`\`\`\n\nIt prints:\n\n\`\`\`\n${output("examples/rerank.mjs")}\n\`\`\``,
  },
  "packages/cli/README.md": {
    verify: crossrank("verify", "nano"),
    inspect: crossrank("inspect", "packages/conformance/fixtures/qwen3-system-user"),
  },
};
for (const [file, parts] of Object.entries(sections)) {
  let text = readFileSync(`${root}${file}`, "utf8");
  for (const [name, section] of Object.entries(parts)) {
    const [start, end] = [`<!-- ${name}:start -->`, `<!-- ${name}:end -->`];
    text = `${text.slice(0, text.indexOf(start) + start.length)}\n\n${section}\n\n${text.slice(text.indexOf(end))}`;
  }
  writeFileSync(`${root}${file}`, text);
}

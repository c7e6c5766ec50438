// Puts the real output of the demo, of examples/rerank.mjs and of the command's subcommands, and the table of published
// forms, into the READMEs, between their markers. Usage, after a build: node scripts/write-readme.mjs [SECTION …]
import { execFileSync } from "node:child_process";
import { cpSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { createRequire } from "node:module";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { fillBlock } from "./blocks.mjs";

const root = fileURLToPath(new URL("..", import.meta.url));
const output = (...args) => execFileSync(process.execPath, args, { cwd: root, encoding: "utf8" }).trimEnd();
const crossrank = (...args) => `\`\`\`\n${output("packages/crossrank/bin/crossrank.js", ...args)}\n\`\`\``;

/** A tiny model in a folder of its own, as one that was just downloaded, converted there. */
function conversion(...args) {
  const cwd = mkdtempSync(join(tmpdir(), "crossrank-readme-"));
  try {
    const fixture = `${root}packages/conformance/fixtures/bert-logit`;
    cpSync(fixture, join(cwd, "my-model"), {
      recursive: true,
      filter: (path) => path !== join(fixture, "onnx"),
    });
    const command = [`${root}packages/crossrank/bin/crossrank.js`, "convert", "./my-model", ...args];
    const printed = execFileSync(process.execPath, command, { cwd, encoding: "utf8" }).trimEnd();
    return `\`\`\`\n${printed}\n\`\`\``;
  } finally {
    rmSync(cwd, { recursive: true });
  }
}

/** A module of the tests of published models. */
async function ofTests(name) {
  const { createJiti } = createRequire(`${root}packages/crossrank/package.json`)("jiti");
  return createJiti(import.meta.url).import(`${root}packages/crossrank/test/published/${name}.ts`);
}

/** The forms that the test of published models builds. */
const published = async () => (await ofTests("forms")).publishedTable();

/** The conversions that the survey of published models does not decide by itself. */
const conversions = async () => (await ofTests("conversions")).conversionsTable();

const query = "How do vaccines teach the immune system to recognise a virus?";

/** Made when they are asked for. */
const sections = {
  "README.md": {
    demo: () => crossrank("rerank", "--query", query, "--documents", "examples/documents.jsonl"),
    snippet: () =>
      `\`\`\`js\n${readFileSync(`${root}examples/rerank.mjs`, "utf8").trimEnd()}\n\`\`\`\n\nIt prints:\n\n\`\`\`\n${output("examples/rerank.mjs")}\n\`\`\``,
    published,
  },
  "docs/guides/published-models.md": { conversions },
  "packages/crossrank/README.md": {
    rerank: () =>
      crossrank("rerank", "--query", query, "--documents", "examples/documents.jsonl", "--top-n", "5"),
    verify: () => crossrank("verify", "nano"),
    inspect: () => crossrank("inspect", "packages/conformance/fixtures/qwen3-system-user"),
  },
  "packages/convert/README.md": {
    onnx: () => conversion("--to", "onnx", "--dtype", "fp32,int8"),
    gguf: () => conversion("--to", "gguf", "--dtype", "F16,Q8_0"),
  },
};
const asked = process.argv.slice(2);
for (const [file, parts] of Object.entries(sections)) {
  let text = readFileSync(`${root}${file}`, "utf8");
  for (const [name, make] of Object.entries(parts)) {
    if (asked.length > 0 && !asked.includes(name)) continue;
    text = fillBlock(text, name, await make());
  }
  writeFileSync(`${root}${file}`, text);
}

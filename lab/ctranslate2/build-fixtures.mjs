// Writes the artifacts that the tests of backend-ctranslate2 run: `crossrank convert --to ctranslate2` of the conformance
// fixtures, each verified. Usage, after a build: node lab/ctranslate2/build-fixtures.mjs
import { cpSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { ctranslate2 } from "../../packages/backend-ctranslate2/dist/index.js";
import { convert } from "../../packages/convert/dist/index.js";
import { openModel } from "../../packages/hub/dist/index.js";

const packages = fileURLToPath(new URL("../../packages/", import.meta.url));
const suffixes = { fp32: "", fp16: "_fp16", int8: "_int8" };

for (const [name, dtypes] of Object.entries({
  "bert-logit": ["fp32", "fp16", "int8"],
  "xlm-roberta-logit": ["fp32"],
  "roberta-logit": ["fp32"],
  "bert-cosine-mean": ["fp32"],
})) {
  const output = mkdtempSync(join(tmpdir(), "crossrank-fixture-"));
  for (const dtype of dtypes) {
    const model = await openModel(join(packages, "conformance/fixtures", name));
    await convert({ model, to: "ctranslate2", dtype, output, force: true, backend: ctranslate2() });
    const to = join(packages, "backend-ctranslate2/test/fixtures", `${name}_${dtype}`);
    rmSync(to, { recursive: true, force: true });
    // The spellings are not read.
    cpSync(join(output, `ctranslate2/model${suffixes[dtype]}.ctranslate2`), to, {
      recursive: true,
      filter: (path) => !path.endsWith("vocabulary.json"),
    });
  }
  rmSync(output, { recursive: true });
}

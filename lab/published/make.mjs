// Makes folders of packages/crossrank/test/published/layouts.ts, for goldens.py: node make.mjs FOLDER LAYOUT …
import { renameSync } from "node:fs";
import { createRequire } from "node:module";
import { join } from "node:path";
import { fileURLToPath } from "node:url";

const packageFolder = new URL("../../packages/crossrank/", import.meta.url);
const { createJiti } = createRequire(new URL("package.json", packageFolder))("jiti");
const file = fileURLToPath(new URL("test/published/layouts.ts", packageFolder));
const { makeLayout } = await createJiti(file).import(file);
const [place, ...names] = process.argv.slice(2);
for (const name of names) renameSync(await makeLayout(name, place), join(place, name));

// node lab/gguf/quantise.mjs NUMBERS TYPE... : the float32 numbers of a file as each type, in NUMBERS.<type>
import { readFileSync, writeFileSync } from "node:fs";
import { encodeNumbers } from "../../packages/formats/dist/gguf/index.js";

const [path, ...types] = process.argv.slice(2);
const { buffer, byteOffset, length } = readFileSync(path);
const numbers = new Float32Array(buffer.slice(byteOffset, byteOffset + length));
for (const type of types) {
  const start = process.cpuUsage().user;
  writeFileSync(`${path}.${type}`, encodeNumbers(type, numbers));
  const microseconds = process.cpuUsage().user - start;
  console.log(`${type} ${((1e3 * microseconds) / numbers.length).toFixed(0)} ns of processor time a number`);
}

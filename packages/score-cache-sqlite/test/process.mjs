// A process of the tests: fills the cache at argv[2] with pairs argv[3] to argv[4], again and again with argv[5] "endless".
import { openSqliteScoreCache } from "../dist/index.js";
import { keyOf, scoreOf } from "./scores.mjs";

const [path, from, to, how] = process.argv.slice(2);
const cache = await openSqliteScoreCache(path);
process.send?.("open");
for (let round = 0; ; round += 1) {
  for (let start = Number(from); start < Number(to); start += 50) {
    const numbers = Array.from({ length: Math.min(50, Number(to) - start) }, (_, index) => start + index);
    const shift = how === "endless" ? round * 1_000_000 : 0;
    await cache.setMany(new Map(numbers.map((number) => [keyOf(number + shift), scoreOf(number + shift)])));
    process.send?.(start + shift);
  }
  if (how !== "endless") break;
}
await cache.dispose();
process.disconnect?.();

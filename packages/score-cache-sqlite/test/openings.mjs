// A process of the tests: opens new caches in the folder argv[2] at given moments, argv[3] milliseconds since 1970 and
// then argv[4] times, 8 ms apart, as others do at the same moments. Sends what was refused.
import { join } from "node:path";
import { openSqliteScoreCache } from "../dist/index.js";

const [folder, start, times] = process.argv.slice(2);
const refused = [];
for (let at = 0; at < Number(times); at += 1) {
  // Awake, so that all are there within microseconds.
  while (Date.now() < Number(start) + at * 8);
  try {
    const cache = await openSqliteScoreCache(join(folder, `${at}.sqlite`));
    await cache.dispose();
  } catch (error) {
    refused.push(error.message);
  }
}
process.send(refused, () => process.exit());

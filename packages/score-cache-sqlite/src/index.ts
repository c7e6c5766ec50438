// What `import … from "@crossrank/score-cache-sqlite"` gives: a score cache in one file.
export { ScoreCacheFileError } from "./errors.js";
export {
  openSqliteScoreCache,
  type SqliteScoreCache,
  type SqliteScoreCacheOptions,
} from "./sqlite-score-cache.js";

export { excludingOthers, type Release, tryExclude } from "./exclusion.js";
export { hashFile, readThrough } from "./read-through.js";
export { describeRefusal, FileWriteError, refusedWrite } from "./refusal.js";
export { removeUnfinished, writeInWhole, writeWholeFile } from "./whole-file.js";

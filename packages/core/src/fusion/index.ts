export {
  defaultRankConstant,
  type FusedDocument,
  type FusionEntry,
  type FusionList,
  type FusionOptions,
  fuse,
  reciprocalRank,
} from "./fuse.js";
export type { Normalisation } from "./normalise.js";

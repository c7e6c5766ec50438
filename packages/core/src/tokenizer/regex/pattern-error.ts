/** A regular expression that Oniguruma refuses, or that is not supported here. */
export class PatternError extends Error {}

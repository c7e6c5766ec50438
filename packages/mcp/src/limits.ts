/** Default limits of a call. */
export const defaultLimits = { maxDocuments: 1000, maxCharacters: 2_000_000 } as const;

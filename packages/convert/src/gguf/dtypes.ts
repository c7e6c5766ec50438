/** Precisions that are written, by their names in llama.cpp, the most precise first. */
export const ggufDtypes = [
  "F32",
  "F16",
  "Q8_0",
  "Q6_K",
  "Q5_K_M",
  "Q5_K_S",
  "Q4_K_M",
  "Q4_K_S",
  "Q4_0",
] as const;

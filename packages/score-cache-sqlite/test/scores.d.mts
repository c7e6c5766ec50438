import type { CachedScore } from "@crossrank/core";

export function keyOf(number: number): string;
export function scoreOf(number: number): CachedScore;

import type { Backend } from "@crossrank/core";

export declare const trivial: () => Backend;

export const page: string = "<!doctype html><title>crossrank</title>";
export const pageHeaders: Readonly<Record<string, string>> = { "content-type": "text/html; charset=utf-8" };

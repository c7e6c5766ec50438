#!/usr/bin/env node
import { CrossrankError } from "@crossrank/core";
import { publishModel } from "./files.js";

const [source, target, ...others] = process.argv.slice(2);
if (source === undefined || target === undefined || others.length > 0) {
  process.stderr.write(
    "crossrank-web-files MODEL TARGET: puts a model's files where a web server gives them out, with their list.\n" +
      "  crossrank-web-files node_modules/@crossrank/model-nano/model public/models/nano\n",
  );
  process.exitCode = 2;
} else {
  try {
    const files = await publishModel(source, target);
    const bytes = files.reduce((sum, { size }) => sum + size, 0);
    process.stdout.write(`${target}: ${files.length} files, ${(bytes / 1e6).toFixed(1)} MB\n`);
  } catch (error) {
    const isKnown = CrossrankError.isInstance(error) || (error instanceof Error && "code" in error);
    if (!isKnown) throw error;
    process.stderr.write(`${(error as Error).message}\n`);
    process.exitCode = 1;
  }
}

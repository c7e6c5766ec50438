import { mkdir, readFile } from "node:fs/promises";
import { dirname, join } from "node:path";
import { readProfile } from "@crossrank/core";
import { writeWholeFile } from "@crossrank/disk";
import { packagesAmong } from "../../backends.js";
import { consumerContract } from "../../consumer/contract.js";
import { pythonConsumer } from "../../consumer/python.js";
import { swiftConsumer, swiftPackage } from "../../consumer/swift.js";
import { type Context, print } from "../../context.js";
import { CommandError, UsageError } from "../../failure.js";
import { openModelFiles, readProfileFile } from "../../model.js";
import type { ProfiledModelOptions } from "../../options.js";
import { declaredClassesOf } from "../../registry.js";

export interface ConsumerCommandOptions extends ProfiledModelOptions {
  readonly to: "python" | "swift";
  readonly output: string;
  readonly artifact?: string;
}

export async function runConsumerCommand(
  model: string,
  { to, output, artifact, profile: profileFile, ...options }: ConsumerCommandOptions,
  { signal }: Context,
): Promise<void> {
  const files = await openModelFiles(model, options, signal);
  const overrides = await readProfileFile(profileFile);
  const { profile } = await readProfile(files, overrides, signal, () => declaredClassesOf(files, signal));
  const packages = packagesAmong((await files.list({ signal })).map(({ path }) => path));
  const contract = await consumerContract(files, profile, choosePackage(packages, artifact), signal);
  const written: Readonly<Record<string, string>> =
    to === "python"
      ? { "predict.py": pythonConsumer(contract) }
      : { "Package.swift": swiftPackage, "Sources/Predict/main.swift": swiftConsumer(contract) };
  for (const [path, content] of Object.entries(written)) {
    const place = join(output, ...path.split("/"));
    const before = await readFile(place, "utf8").catch(() => undefined);
    // What somebody wrote by hand is not taken away.
    if (before !== undefined && !before.includes('Written by "crossrank consumer"'))
      throw new CommandError(
        `${place} is there and was not written by crossrank consumer. Move it, or choose another --output`,
      );
    await mkdir(dirname(place), { recursive: true });
    await writeWholeFile(place, content);
    await print(`${place}\n`);
  }
}

function choosePackage(packages: readonly string[], asked: string | undefined): string | undefined {
  const found = asked?.replace(/[\\/]+$/, "");
  if (found !== undefined) {
    if (packages.includes(found)) return found;
    throw new UsageError(
      `--artifact ${found} is none of the model's Core ML packages: ${packages.join(", ") || "there is none"}`,
    );
  }
  const [only, ...others] = packages;
  if (others.length === 0) return only;
  const half = packages.filter((path) => /(^|\/)model(_fp16)?\.mlpackage$/.test(path));
  if (half.length === 1) return half[0];
  throw new UsageError(
    `the model has several Core ML packages (${packages.join(", ")}). Name one with --artifact`,
  );
}

import { type ModelFile, ModelFileNotFoundError, type ModelFiles } from "@crossrank/core";
import type { Platform } from "./platform.js";
import { type ConformanceOptions, defineSuite } from "./suite.js";

export type { CheckName } from "./checks/index.js";
export type { Fixture } from "./fixture.js";
export type { BackendCheckName, ConformanceOptions, Deviation, TestRunner } from "./suite.js";

/** The suite where there is no Node.js: it reads models through their `ModelFiles` alone. */
export interface BrowserConformanceOptions extends ConformanceOptions {
  /** What is held and should be let go of in the end, e.g. workers, by kind. Default: nothing is looked at. */
  readonly activeResources?: (() => ReadonlyMap<string, number>) | undefined;
}

/**
 * Defines the tests that every backend passes. It reads the fixtures, though loads no model, before it defines anything.
 *
 * @throws {TypeError} when a deviation names a fixture, check or case that there is not, or a fixture has no goldens.
 */
export async function defineConformanceSuite(options: BrowserConformanceOptions): Promise<void> {
  const { activeResources = () => new Map(), ...others } = options;
  await defineSuite(others, { copyWith, activeResources });
}

const copyWith: Platform["copyWith"] = async (files, path, change) => {
  const listed = await files.list();
  const size = listed.find((file) => file.path === path)?.size ?? 0;
  const bytes = change(await files.readBytes(path, { start: 0, end: size }));
  const changed: ModelFile[] = listed.flatMap((file) => {
    if (file.path !== path) return [file];
    return bytes === undefined ? [] : [{ path, size: bytes.length }];
  });
  const content = (): Uint8Array => {
    if (bytes !== undefined) return bytes;
    throw new ModelFileNotFoundError({
      model: files.id,
      expected: [path],
      fix: "It was left out on purpose.",
    });
  };
  const copy: ModelFiles = {
    id: files.id,
    revision: files.revision,
    list: async () => changed,
    readText: async (wanted, options) =>
      wanted === path ? new TextDecoder().decode(content()) : files.readText(wanted, options),
    readBytes: async (wanted, range, options) =>
      wanted === path ? content().slice(range.start, range.end) : files.readBytes(wanted, range, options),
    localPath: async (wanted) => {
      throw new ModelFileNotFoundError({
        model: files.id,
        expected: [wanted],
        fix: "The copy is in memory: read it through readBytes.",
      });
    },
  };
  return { files: copy, close: async () => undefined };
};

import { spawnSync } from "node:child_process";
import { existsSync, readFileSync } from "node:fs";
import { availableParallelism } from "node:os";
import { fileURLToPath } from "node:url";
import { expect, test } from "vitest";
import { loadAddon, platformName } from "../src/native.js";
import { describeNative } from "./fixtures.js";

/** OpenBLAS's names of processors with AVX2. An older name is a kernel that takes many times as long. */
const withAvx2 = ["Haswell", "Zen", "Excavator", "SkylakeX", "Cooperlake", "Sapphirerapids", "GraniteRapids"];

const isLinux = process.platform === "linux";
const built = fileURLToPath(
  new URL(`../native/crossrank-backend-mlx.${platformName()}.node`, import.meta.url),
);

describeNative("OpenBLAS", () => {
  test.runIf(isLinux)("has kernels for this processor", () => {
    const facts = readFileSync("/proc/cpuinfo", "utf8");
    const name = loadAddon().blasProcessor();
    if (/^flags\s*:.*\bavx2\b/m.test(facts))
      expect(withAvx2.map((one) => one.toLowerCase())).toContain(name?.toLowerCase());
    else expect(name).toEqual(expect.any(String));
  });

  test.runIf(isLinux && existsSync(built))("takes one thread, or as many as it is told", () => {
    const threadsWith = (count: string | undefined): string => {
      const { OPENBLAS_NUM_THREADS: _, ...others } = process.env;
      const env = count === undefined ? others : { ...others, OPENBLAS_NUM_THREADS: count };
      const program = `console.log(require(${JSON.stringify(built)}).blasThreads())`;
      return spawnSync(process.execPath, ["-e", program], { encoding: "utf8", env }).stdout.trim();
    };
    expect(threadsWith(undefined)).toBe("1");
    expect(threadsWith("1")).toBe("1");
    if (availableParallelism() > 1) expect(threadsWith("2")).toBe("2");
  });

  // Built here: a package of the platform lies elsewhere, with the same libraries.
  test.runIf(isLinux && existsSync(built))(
    "is what MLX multiplies matrices with, in place of its wheel's own",
    () => {
      // The dynamic linker says what it binds to what, and binds everything when the addon is loaded.
      const env = { ...process.env, LD_BIND_NOW: "1", LD_DEBUG: "bindings" };
      const program = `require(${JSON.stringify(built)})`;
      const { status, stderr } = spawnSync(process.execPath, ["-e", program], {
        ...{ encoding: "utf8", env, maxBuffer: 2 ** 28 },
      });
      expect(status).toBe(0);
      const bound = [...stderr.matchAll(/\/libmlx\.so \[0\] to (.+?) \[0\]: normal symbol `(cblas_\w+)'/g)];
      expect(bound.map(([, , symbol]) => symbol).sort()).toEqual([
        "cblas_cgemm",
        "cblas_dgemm",
        "cblas_sgemm",
      ]);
      for (const [, library] of bound) expect(library).toBe(built);
      expect(existsSync(built.replace(/[^/]*$/, `mlx-${platformName()}/libscipy_openblas.LICENSE.txt`))).toBe(
        true,
      );
    },
  );
});

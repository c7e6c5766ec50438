import { totalmem } from "node:os";
import { describe, expect, test } from "vitest";
import {
  choosePlacement,
  type MemorySource,
  readFreeMemory,
  requireTokens,
  settingsOf,
} from "../src/index.js";

test.each([
  [{}, { mostCopies: 4, cores: 16 }, { copies: 4, threads: 4 }],
  [{}, { mostCopies: 4, cores: 2 }, { copies: 2, threads: 1 }],
  [{}, { mostCopies: 1, mostThreads: 8, cores: 16 }, { copies: 1, threads: 8 }],
  [{ threads: 8 }, { mostCopies: 4, cores: 16 }, { copies: 2, threads: 8 }],
  [{ threads: 32 }, { mostCopies: 4, cores: 16 }, { copies: 1, threads: 32 }],
  [{ copies: 3 }, { mostCopies: 1, cores: 16 }, { copies: 3, threads: 5 }],
  [
    {},
    { mostCopies: 4, cores: 16, memory: { first: 1e9, further: 1e9, free: 4e9 } },
    { copies: 2, threads: 8 },
  ],
  [
    {},
    { mostCopies: 4, cores: 16, memory: { first: 3e9, further: 1e9, free: 4e9 } },
    { copies: 1, threads: 16 },
  ],
  [
    {},
    { mostCopies: 8, cores: 16, memory: { first: 1e9, further: 1e8, free: 4e9 } },
    { copies: 8, threads: 2 },
  ],
  [{}, { mostCopies: 4, cores: 2, memory: { first: 1, further: 1, free: 4e9 } }, { copies: 2, threads: 1 }],
  [
    {},
    { mostCopies: 4, cores: 16, memory: { first: 1, further: Number.NaN, free: 4e9 } },
    { copies: 1, threads: 16 },
  ],
  [
    { copies: 3 },
    { mostCopies: 4, cores: 16, memory: { first: 9e9, further: 9e9, free: 1 } },
    { copies: 3, threads: 5 },
  ],
])("placement of %j within %j", (asked, limits, expected) => {
  expect(choosePlacement(asked, limits)).toEqual(expected);
});

describe("free memory", () => {
  const meminfo = "MemTotal:       32000000 kB\nMemFree:         1000000 kB\nMemAvailable:   20000000 kB\n";
  const of = (files: Readonly<Record<string, string>>, platform: NodeJS.Platform = "linux"): number => {
    const source: MemorySource = { platform, read: (path) => files[path], free: 1e9, total: 32e9 };
    return readFreeMemory(source);
  };

  test("is what Linux says is available, and what another system says is free", () => {
    expect(of({ "/proc/meminfo": meminfo })).toBe(20_000_000 * 1024);
    expect(of({})).toBe(1e9);
    expect(of({}, "win32")).toBe(1e9);
    expect(of({}, "darwin")).toBe(8e9);
  });

  test("is no more than the limits of control groups leave, idle pages of files given back", () => {
    const v2 = {
      "/proc/meminfo": meminfo,
      "/proc/self/cgroup": "0::/system.slice/app.service\n",
      "/sys/fs/cgroup/system.slice/app.service/memory.max": "max\n",
      "/sys/fs/cgroup/system.slice/memory.max": "4000000000\n",
      "/sys/fs/cgroup/system.slice/memory.current": "3500000000\n",
      "/sys/fs/cgroup/system.slice/memory.stat": "anon 1\ninactive_file 1500000000\nactive_file 9\n",
    };
    expect(of(v2)).toBe(2e9);
    // A container is shown its own group as the root.
    const v1 = {
      "/proc/meminfo": meminfo,
      "/proc/self/cgroup": "9:name=systemd:/\n4:cpu,memory:/docker/0123\n0::/\n",
      "/sys/fs/cgroup/memory/memory.limit_in_bytes": "1000000000\n",
      "/sys/fs/cgroup/memory/memory.usage_in_bytes": "1200000000\n",
      "/sys/fs/cgroup/memory/memory.stat": "inactive_file 7\ntotal_inactive_file 100000000\n",
    };
    expect(of(v1)).toBe(0);
    const none = { ...v1, "/sys/fs/cgroup/memory/memory.limit_in_bytes": "9223372036854771712\n" };
    expect(of(none)).toBe(20_000_000 * 1024);
  });

  test("is known of this machine", () => {
    expect(readFreeMemory()).toBeGreaterThan(0);
    expect(readFreeMemory()).toBeLessThan(totalmem());
  });
});

test("equal settings are equal strings, and what is undefined is left out", () => {
  const settings = settingsOf({ memory: "low", flash: true, options: { b: 1, a: [2] }, none: undefined });
  expect(settings).toEqual({ memory: "low", flash: "true", options: '{"a":[2],"b":1}' });
});

test("an output about tokens needs their ids", () => {
  expect(() => requireTokens({ kinds: ["token-logits"] })).toThrow(/output\.tokens.*"token-logits"/);
  expect(() => requireTokens({ kinds: ["marked-states"], tokens: [-1] })).toThrow(/"marked-states"/);
  expect(() => requireTokens({ kinds: ["pooled"] })).not.toThrow();
  expect(() => requireTokens({ kinds: ["token-logits"], tokens: [7] })).not.toThrow();
});

// A process of its own for exclusion.test.ts: takes the exclusion, tells, and works until it is told to end or is killed.
import { appendFile, rm, writeFile } from "node:fs/promises";
import { setTimeout as sleep } from "node:timers/promises";

const [, , module, path, log, patience, mode] = process.argv;
const { excludingOthers } = await import(module);
const busy = () => new Error("busy");
const inside = `${path}.inside`;
try {
  await excludingOthers(path, Number(patience), busy, async () => {
    // Whoever finds the file is in at the same time as another: it is made and removed within the exclusion.
    await writeFile(inside, String(process.pid), { flag: "wx" }).catch(() =>
      appendFile(log, "two at once\n"),
    );
    await appendFile(log, `in ${process.pid}\n`);
    process.stdout.write("in\n");
    if (mode === "hold") await new Promise(() => setInterval(() => undefined, 1000));
    await sleep(Math.random() * 10);
    await rm(inside, { force: true });
  });
} catch (error) {
  process.stdout.write(`${error.message}\n`);
  process.exitCode = 3;
}

/**
 * Reports beside what else does the job: QEMU's analyzer where its script is, cat(1), and cp(1) of the bytes that are written.
 *
 * The analyzer is scripts/analyze-migration.py of QEMU's sources; MIGLAB_QEMU_PYTHON names the directory that holds it, or the
 * directory `python` of the same tree, as for the tests.
 * @module
 */
import { existsSync } from "node:fs";
import { type Bench, here, medians, newFile, row, say } from "./context.ts";
import { runProcess } from "./measure.ts";
import { Source } from "./source.ts";
import type { Row } from "./table.ts";

/** All of them. */
export async function reportRows(bench: Bench): Promise<Row[]> {
  const sequential = `${bench.directory}/sequential`, mapped = `${bench.directory}/mapped`;
  {
    await using source = new Source(bench);
    await source.ready();
    await source.save(newFile(sequential), { capabilities: [] });
    await source.save(newFile(mapped), { capabilities: ["mapped-ram"] });
  }
  const rows = [
    ...await analyzer(bench, sequential),
    ...await writing(bench, sequential, mapped),
    ...await large(bench),
  ];
  for (const path of [sequential, mapped]) Deno.removeSync(path);
  return rows;
}

async function miglab(...args: string[]): Promise<number> {
  return (await runProcess(Deno.execPath(), ["run", "-A", here("../main.ts"), ...args])).ms;
}

async function analyzer(bench: Bench, file: string): Promise<Row[]> {
  const where = Deno.env.get("MIGLAB_QEMU_PYTHON");
  const places = [`${where}/analyze-migration.py`, `${where}/../scripts/analyze-migration.py`];
  const script = where && places.find((path) => existsSync(path));
  if (!script) {
    say("analyze-migration.py is not here: MIGLAB_QEMU_PYTHON=DIRECTORY");
    return [];
  }
  say("analyzer");
  const theirs = async (...args: string[]) => (await runProcess("python3", [script, "-f", file, ...args])).ms;
  const few = { ...bench, runs: 2 };
  const directory = `${bench.directory}/extracted`;
  const extract = (work: () => Promise<{ readonly ms: number }>) => async () => {
    Deno.mkdirSync(directory);
    const { ms } = await work();
    Deno.removeSync(directory, { recursive: true });
    return ms;
  };
  const ours = ["run", "-A", here("../main.ts"), "extract", file, "--block", "pc.ram", "-o", `${directory}/pc.ram`];
  return [
    row(
      "inspect --json, sequential",
      await medians(few, () => miglab("inspect", "--json", file), () => theirs()),
      "analyzer",
    ),
    row(
      "extract pc.ram, sequential",
      await medians(
        few,
        extract(() => runProcess(Deno.execPath(), ours)),
        extract(() => runProcess("python3", [script, "-f", file, "-x"], directory)),
      ),
      "analyzer -x",
    ),
  ];
}

async function writing(bench: Bench, sequential: string, mapped: string): Promise<Row[]> {
  const rows: Row[] = [];
  const out = `${bench.directory}/out`, copy = `${bench.directory}/copy`;
  const jobs: readonly (readonly [what: string, args: readonly string[]])[] = [
    ["extract pc.ram, sequential", ["extract", sequential, "--block", "pc.ram", "-o", out]],
    ["extract pc.ram, mapped-ram", ["extract", mapped, "--block", "pc.ram", "-o", out]],
    ["convert, sequential to mapped-ram", ["convert", sequential, out, "--to", "mapped-ram"]],
    ["convert, mapped-ram to sequential", ["convert", mapped, out, "--to", "legacy"]],
  ];
  for (const [what, args] of jobs) {
    say(what);
    await miglab(...args); // the file that is copied beside
    Deno.renameSync(out, `${out}.first`);
    const figures = await medians(
      bench,
      () => (newFile(out), miglab(...args)),
      async () => (newFile(copy), (await runProcess("cp", ["--sparse=auto", `${out}.first`, copy])).ms),
    );
    rows.push(row(what, figures, "cp"));
    for (const path of [out, copy, `${out}.first`]) newFile(path);
  }
  return rows;
}

/** A guest of 8 GiB, most of it zero: time and memory do not grow with what is not there. */
async function large(bench: Bench): Promise<Row[]> {
  const rows: Row[] = [];
  const file = `${bench.directory}/large`;
  {
    await using source = new Source({ ram: "8G", data: bench.data });
    await source.ready();
    await source.save(newFile(file), { capabilities: ["mapped-ram"] });
  }
  const out = `${bench.directory}/out`;
  for (
    const [what, args] of [
      ["inspect", ["inspect", file]],
      ["extract --format elf", ["extract", file, "--format", "elf", "-o", out]],
      ["convert to sequential", ["convert", file, out, "--to", "legacy"]],
    ] as const
  ) {
    say(`8 GiB, ${what}`);
    newFile(out);
    const { ms, peakBytes } = await runProcess(Deno.execPath(), ["run", "-A", here("../main.ts"), ...args]);
    rows.push(row(`8G, ${bench.data} of data, ${what}`, [ms], ""));
    rows.push(row(`8G, ${bench.data} of data, ${what}, most memory held`, [peakBytes / 2 ** 20], "", "MiB"));
  }
  for (const path of [file, out]) newFile(path);
  return rows;
}

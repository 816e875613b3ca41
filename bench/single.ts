/**
 * Single figures: saves and loads of one guest, looking into its files, and the start of the program.
 *
 * Saves: the source process lives on, the file is new each time. Loads: a process of its own each time, so memory is fresh.
 * QEMU's time is that between its own events `setup` and `completed`, ours that of the library's call.
 * @module
 */
import { type Bench, here, medians, newFile, qemuLoad, qemuSave, row, say, waitingQemu } from "./context.ts";
import { runProcess, untilPrompt } from "./measure.ts";
import { ourLoad, Source } from "./source.ts";
import type { Row } from "./table.ts";

const FORMATS: readonly (readonly [what: string, capabilities: readonly string[]])[] = [
  ["sequential", []],
  ["mapped-ram", ["mapped-ram"]],
  ["mapped-ram, multifd", ["mapped-ram", "multifd"]],
];

const fileOf = ({ directory }: Bench, what: string) => `${directory}/${what.replace(/\W+/g, "-")}`;

/** All of them. */
export async function singleRows(bench: Bench): Promise<Row[]> {
  return [...await saves(bench), ...await loads(bench), ...await inspections(bench), ...await starts(bench)];
}

async function saves(bench: Bench): Promise<Row[]> {
  await using source = new Source(bench);
  await source.ready();
  await using vm = bench.withQemu ? await waitingQemu(bench) : undefined;
  if (vm) {
    await source.save(newFile(fileOf(bench, "sequential")), { capabilities: [] });
    await qemuLoad(vm, fileOf(bench, "sequential"), { capabilities: [] });
  }
  const rows: Row[] = [];
  for (const [what, capabilities] of FORMATS) {
    say(`save, ${what}`);
    const figures = await medians(
      bench,
      () => source.save(newFile(fileOf(bench, what)), { capabilities }),
      ...(vm ? [() => qemuSave(vm, `${bench.directory}/theirs`, { capabilities })] : []),
    );
    rows.push(row(`save ${bench.ram}, ${bench.data} of data, ${what}`, figures));
  }
  return rows;
}

async function loads(bench: Bench): Promise<Row[]> {
  const rows: Row[] = [];
  for (const [what, capabilities] of FORMATS) {
    say(`load, ${what}`);
    const figures = await medians(
      bench,
      () => ourLoad(fileOf(bench, what), { capabilities }),
      ...(bench.withQemu
        ? [async () => {
          await using vm = await waitingQemu(bench);
          return await qemuLoad(vm, fileOf(bench, what), { capabilities });
        }]
        : []),
    );
    rows.push(row(`load ${bench.ram}, ${bench.data} of data, ${what}`, figures));
  }
  return rows;
}

async function inspections(bench: Bench): Promise<Row[]> {
  const rows: Row[] = [];
  for (const what of ["sequential", "mapped-ram"]) {
    say(`inspect, ${what}`);
    let peak = 0;
    const file = fileOf(bench, what);
    const figures = await medians(
      bench,
      async () => {
        const { ms, peakBytes } = await runProcess(Deno.execPath(), ["run", "-A", here("../main.ts"), "inspect", file]);
        peak = Math.max(peak, peakBytes);
        return ms;
      },
      async () => (await runProcess("/bin/sh", ["-c", `exec cat ${file} >/dev/null`])).ms,
    );
    rows.push(row(`inspect, ${what}`, figures, "cat"));
    rows.push(row(`inspect, ${what}, most memory held`, [peak / 2 ** 20], "", "MiB"));
  }
  return rows;
}

async function starts(bench: Bench): Promise<Row[]> {
  say("start");
  const program = `${Deno.execPath()} run -A ${here("../main.ts")}`;
  const version = async (command: string, args: string[]) => (await runProcess(command, args)).ms;
  return [
    row(
      "--version",
      await medians(
        bench,
        () => version(Deno.execPath(), ["run", "-A", here("../main.ts"), "--version"]),
        ...(bench.withQemu ? [() => version("qemu-system-x86_64", ["--version"])] : []),
      ),
    ),
    row(
      "console, until the prompt",
      await medians(
        bench,
        () => untilPrompt(program, "(miglab)"),
        ...(bench.withQemu
          ? [() => untilPrompt("qemu-system-x86_64 -nodefaults -display none -accel tcg -S -monitor stdio", "(qemu)")]
          : []),
      ),
    ),
  ];
}

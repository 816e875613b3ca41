/**
 * Formats of a saved guest beside each other, as libvirt's developers show them: seconds of save and restore, bytes of the file.
 *
 *     idle    a guest of zeros                     dirty   a guest with random data
 *
 * In memory, and what is dirty on a disk too; direct-io skips the page cache and counts where that is a disk's.
 * @module
 */
import { type Bench, medians, newFile, qemuLoad, qemuSave, say, type Settings, waitingQemu } from "./context.ts";
import { ourLoad, Source } from "./source.ts";

/** One format of one guest in one place. Milliseconds and bytes; QEMU's are undefined where there is none. */
export interface FormatRow {
  readonly format: string;
  readonly save: number;
  readonly qemuSave?: number;
  readonly restore: number;
  readonly qemuRestore?: number;
  /** st_size of our file, and what it occupies. */
  readonly bytes: number;
  readonly occupied: number;
}

/** All formats of one guest in one place. */
export interface FormatTable {
  readonly guest: "idle" | "dirty";
  readonly place: "memory" | "disk";
  readonly rows: readonly FormatRow[];
}

const mapped = (channels: number, direct: boolean): Settings => ({
  capabilities: ["mapped-ram", "multifd"],
  parameters: { "multifd-channels": channels, "direct-io": direct },
});

const FORMATS: readonly (readonly [name: string, settings: Settings])[] = [
  ["legacy", { capabilities: [] }],
  ["mapped-ram", { capabilities: ["mapped-ram"] }],
  ["mapped-ram, 2 channels", mapped(2, false)],
  ["mapped-ram, 4 channels", mapped(4, false)],
  ["mapped-ram, direct-io, 1 channel", mapped(1, true)],
  ["mapped-ram, direct-io, 2 channels", mapped(2, true)],
  ["mapped-ram, direct-io, 4 channels", mapped(4, true)],
];

/** Every format of guests out of "idle" and "dirty", in places out of "memory" and "disk"; each table is told when it is there. */
export async function formatTables(
  bench: Bench,
  { guests, places }: { readonly guests: readonly string[]; readonly places: readonly string[] },
  told: (table: FormatTable) => void,
): Promise<FormatTable[]> {
  const tables: FormatTable[] = [];
  for (const guest of ["idle", "dirty"] as const) {
    if (!guests.includes(guest)) continue;
    const one = guest === "idle" ? { ...bench, data: "0" } : bench;
    await using source = new Source(one);
    await source.ready();
    await using vm = bench.withQemu ? await waitingQemu(one) : undefined;
    if (vm) {
      const first = `${bench.directory}/first`;
      await source.save(newFile(first), { capabilities: [] });
      await qemuLoad(vm, first, { capabilities: [] });
      Deno.removeSync(first);
    }
    for (const place of guest === "idle" ? ["memory"] as const : ["memory", "disk"] as const) {
      if (!places.includes(place)) continue;
      const directory = place === "memory" ? bench.directory : bench.disk;
      const turns = place === "disk" ? { ...one, runs: 2 } : one; // a disk takes its time
      const rows: FormatRow[] = [];
      for (const [format, settings] of FORMATS) {
        say(`${guest} guest, ${place}, ${format}`);
        const ours = `${directory}/ours`, theirs = `${directory}/theirs`;
        const [save, qemu] = await medians(
          turns,
          () => source.save(newFile(ours), settings),
          ...(vm ? [() => qemuSave(vm, theirs, settings)] : []),
        );
        const [restore, qemuRestore] = await medians(
          turns,
          () => ourLoad(ours, settings),
          ...(vm
            ? [async () => {
              await using target = await waitingQemu(one);
              return await qemuLoad(target, ours, settings);
            }]
            : []),
        );
        const { size, blocks } = Deno.statSync(ours);
        rows.push({ format, save, qemuSave: qemu, restore, qemuRestore, bytes: size, occupied: (blocks ?? 0) * 512 });
        for (const path of [ours, theirs]) newFile(path);
      }
      tables.push({ guest, place, rows });
      told(tables.at(-1)!);
    }
  }
  return tables;
}

const seconds = (ms: number | undefined) => ms === undefined ? "-" : (ms / 1000).toFixed(2);

/** As Markdown. */
export function formatFormats({ rows }: FormatTable): string {
  const cells = [
    ["format", "save s", "QEMU", "restore s", "QEMU", "st_size MiB", "blocks MiB"],
    ...rows.map((row) => [
      row.format,
      seconds(row.save),
      seconds(row.qemuSave),
      seconds(row.restore),
      seconds(row.qemuRestore),
      (row.bytes / 2 ** 20).toFixed(0),
      (row.occupied / 2 ** 20).toFixed(0),
    ]),
  ];
  const widths = cells[0].map((_, column) => Math.max(...cells.map((line) => line[column].length)));
  const line = (row: readonly string[]) => `| ${row.map((cell, i) => cell.padEnd(widths[i])).join(" | ")} |`;
  return [line(cells[0]), `|${widths.map((w) => "-".repeat(w + 2)).join("|")}|`, ...cells.slice(1).map(line)].join(
    "\n",
  ) + "\n";
}

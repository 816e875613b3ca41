/**
 * `deno task bench`: miglab beside a real QEMU, same guest, same files, turn by turn in the same minutes.
 *
 *     --ram 2G --data 1G   the guest, and how much of it is random      --runs 4   medians of so many, best even
 *     --directory DIR      files in memory, default /dev/shm            --disk DIR   files on a disk, default /tmp
 *     --guests idle,dirty --places memory,disk      of the tables of formats
 *     --only PART,...      single, formats, sockets, record, reports    --out DIR   RESULTS.md and chart.svg go here
 *
 * With all parts and no `--out` the results go into bench/; with `--only` they are printed alone.
 * @module
 */
import { parseArgs } from "node:util";
import { parseSize } from "../guest/size.ts";
import { qemuAvailable, qemuVersion } from "../tests/qemu/available.ts";
import { chart } from "./chart.ts";
import { type Bench, here, say } from "./context.ts";
import { formatFormats, type FormatTable, formatTables } from "./formats.ts";
import { recordRows } from "./record.ts";
import { reportRows } from "./reports.ts";
import { singleRows } from "./single.ts";
import { measureSockets } from "./sockets.ts";
import { describeMachine, formatTable, type Row } from "./table.ts";

const { values: options } = parseArgs({
  options: {
    ram: { type: "string", default: "2G" },
    data: { type: "string", default: "1G" },
    runs: { type: "string", default: "4" },
    directory: { type: "string", default: "/dev/shm" },
    disk: { type: "string", default: "/tmp" },
    only: { type: "string" },
    out: { type: "string" },
    guests: { type: "string", default: "idle,dirty" },
    places: { type: "string", default: "memory,disk" },
  },
});

const bench: Bench = {
  ram: options.ram,
  data: options.data,
  dataMiB: parseSize(options.data) / 2 ** 20,
  runs: parseInt(options.runs),
  directory: Deno.makeTempDirSync({ dir: options.directory, prefix: "miglab-bench-" }),
  disk: Deno.makeTempDirSync({ dir: options.disk, prefix: "miglab-bench-" }),
  withQemu: qemuAvailable(),
};

let chosen: FormatTable | undefined;
const table = (title: string, rows: readonly Row[]) => rows.length ? `## ${title}\n\n${formatTable(rows)}` : "";
const { ram, data, runs, directory } = bench;

const PARTS: Readonly<Record<string, () => Promise<string>>> = {
  single: async () => table("Single figures", await singleRows(bench)),
  formats: async () => {
    const tables = await formatTables(
      bench,
      { guests: options.guests.split(","), places: options.places.split(",") },
      (one) => {
        console.log(formatFormats(one)); // a long part: each table as it comes
        if (one.guest === "dirty" && one.place === "memory") chosen = one;
      },
    );
    return tables.map((one) =>
      `## Formats, ${one.guest} guest, files ${one.place === "memory" ? "in memory" : "on a disk"}\n\n${
        formatFormats(one)
      }`
    ).join("\n");
  },
  sockets: async () =>
    table("Sockets", bench.withQemu ? await measureSockets({ ram, data, runs, channels: [2, 4], say }) : []),
  record: async () => {
    const directories = [{ name: "tmpfs", path: directory }];
    const rows = bench.withQemu ? await recordRows({ ram, dataMiB: bench.dataMiB, runs, directories, say }) : [];
    return table("Recorder", rows);
  },
  reports: async () => table("Reports", await reportRows(bench)),
};

const machine = `${
  describeMachine(bench.withQemu ? qemuVersion() : undefined)
}. ${ram} guest, ${data} of random data. Medians of ${runs}; a ratio below 1 is faster.\n`;
const names = options.only?.split(",") ?? Object.keys(PARTS);
const unknown = names.find((name) => !(name in PARTS));
if (unknown !== undefined) throw new Error(`no part is named '${unknown}': ${Object.keys(PARTS).join(", ")}`);
const sections: string[] = [];
try {
  for (const name of names) {
    const section = await PARTS[name]();
    if (section) sections.push(section);
    console.log(section);
  }
} finally {
  for (const path of [bench.directory, bench.disk]) Deno.removeSync(path, { recursive: true });
}
console.log(machine);
const out = options.out ?? (options.only ? undefined : here("."));
if (out !== undefined) {
  Deno.writeTextFileSync(`${out}/RESULTS.md`, [`# Measured\n\n${machine}`, ...sections].join("\n"));
  if (chosen) Deno.writeTextFileSync(`${out}/chart.svg`, chart(chosen));
}

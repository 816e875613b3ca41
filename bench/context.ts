/**
 * What every part of the benchmark works with: the guest, where files go, how often, and medians of things done turn by turn.
 * @module
 */
import process from "node:process";
import { launchQemu, type Qemu } from "../tests/qemu/qemu.ts";
import { median, warmMemory } from "./measure.ts";
import type { Row } from "./table.ts";

/** How it is measured. */
export interface Bench {
  /** RAM of the guest: "2G". */
  readonly ram: string;
  /** How much of it is random: "1G". */
  readonly data: string;
  readonly dataMiB: number;
  /** Medians of so many; an even number, as who begins changes every other turn. */
  readonly runs: number;
  /** Of our own, on a file system in memory. */
  readonly directory: string;
  /** Of our own, on a disk. */
  readonly disk: string;
  /** A real QEMU 10 is here. */
  readonly withQemu: boolean;
}

/** A file of the benchmark, by its address. */
export function here(path: string): string {
  return new URL(path, import.meta.url).pathname;
}

/** Tell what is at work. */
export function say(text: string): void {
  process.stderr.write(`${text}\n`);
}

/** Remove a file that may be there. @returns the address of a new one */
export function newFile(path: string): string {
  try {
    Deno.removeSync(path);
  } catch {
    // the first run
  }
  return `file:${path}`;
}

/**
 * Use and free as much memory as a run will need, as pages of a file and as large pages: a virtual machine's host takes freed
 * memory back within seconds, and whoever comes first after that pays for it.
 */
export function warmUp({ directory, dataMiB }: Bench): void {
  warmMemory((dataMiB + 64) * 2.5 * 2 ** 20);
  const chunk = new Uint8Array(1 << 20);
  const path = `${directory}/warm`;
  const file = Deno.openSync(path, { write: true, create: true, truncate: true });
  for (let i = 0; i < dataMiB * 5 / 4; i++) file.writeSync(chunk);
  file.close();
  Deno.removeSync(path);
}

/** Run each of several things `runs` times, turn by turn, each beginning every other turn. */
export async function medians(bench: Bench, ...things: readonly (() => Promise<number>)[]): Promise<number[]> {
  const figures: number[][] = things.map(() => []);
  for (let run = 0; run < bench.runs; run++) {
    const order = [...things.entries()];
    for (const [i, thing] of run % 2 ? order.reverse() : order) {
      warmUp(bench);
      figures[i].push(await thing());
    }
  }
  return figures.map(median);
}

/** A line of a table from medians. */
export function row(what: string, [ours, theirs]: readonly number[], against = "QEMU", unit: Row["unit"] = "ms"): Row {
  return { what, unit, ours, ...(theirs === undefined ? {} : { theirs, against }) };
}

/** How a stream leaves or enters: capabilities, and parameters that differ from their defaults. */
export interface Settings {
  readonly capabilities: readonly string[];
  readonly parameters?: Readonly<Record<string, unknown>>;
}

const SWITCHED = ["mapped-ram", "multifd"];

/** A QEMU that waits for the guest. */
export function waitingQemu({ ram }: Bench): Promise<Qemu> {
  return launchQemu(["-machine", "pc-i440fx-10.0", "-m", ram, "-S", "-incoming", "defer"]);
}

/** Milliseconds in which QEMU loads a file. */
export async function qemuLoad(vm: Qemu, path: string, settings: Settings): Promise<number> {
  await prepareQemu(vm, settings);
  await vm.incoming(`file:${path}`);
  return vm.migrationMs();
}

/** Milliseconds in which QEMU saves into a new file. */
export async function qemuSave(vm: Qemu, path: string, settings: Settings): Promise<number> {
  await vm.again();
  await prepareQemu(vm, settings);
  await vm.migrate(newFile(path));
  return vm.migrationMs();
}

async function prepareQemu(vm: Qemu, { capabilities: names, parameters }: Settings): Promise<void> {
  const capabilities = [...SWITCHED, "events"].map((capability) => {
    return { capability, state: capability === "events" || names.includes(capability) };
  });
  await vm.qmp("migrate-set-capabilities", { capabilities });
  const plain = { "max-bandwidth": 0, "direct-io": false, "multifd-channels": 2 };
  await vm.qmp("migrate-set-parameters", { ...plain, ...parameters });
}

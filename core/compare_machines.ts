/**
 * Two machines that stand still, compared: guest-physical memory page by page, and what the monitor shows of devices. Memory is
 * read through `pmemsave`, so both must be on this machine.
 * @module
 */
import { Buffer } from "node:buffer";
import fs from "node:fs";
import { join } from "node:path";
import { differsInClocks } from "./pvclock.ts";
import type { AssembledWorkbench } from "./workbench.ts";

/** Pages that differ, next to each other. */
export interface DifferingPages {
  /** Guest-physical address of the first. */
  readonly address: number;
  /** How many of 4 KiB. */
  readonly pages: number;
}

type Place = { -readonly [K in keyof DifferingPages]: DifferingPages[K] };

/** What two machines have in common. */
export interface ComparedMachines {
  /** Nothing that was compared differs. */
  readonly equal: boolean;
  /** Bytes of memory compared. */
  readonly compared: number;
  /** Where it differs; the first hundred places. */
  readonly memory: readonly DifferingPages[];
  /** Pages in which only the clock differs that KVM writes there; they count as equal. */
  readonly clocks: readonly DifferingPages[];
  /** Lines of the monitor that differ, by the command that shows them; the first twenty of each. */
  readonly devices: readonly { readonly command: string; readonly source: string; readonly destination: string }[];
}

/** What tells of devices and stands still while the machine does. */
const DEVICE_LINES = ["info registers -a", "info pic", "info pci", "info mtree -f"];
/** Memory compared at a time. */
const PIECE = 64 << 20;
const PAGE = 4096;
const MAX_PLACES = 100;
const MAX_LINES = 20;

/**
 * Compare two machines that stand still.
 * @throws {CommandError} {TransportError} when one cannot be read
 */
export async function compareMachines(a: AssembledWorkbench, b: AssembledWorkbench): Promise<ComparedMachines> {
  const directory = Deno.makeTempDirSync({ prefix: "miglab-compare-" });
  try {
    const { places, clocks, compared } = await compareMemory(a, b, directory);
    const devices = await compareDevices(a, b);
    return { equal: places.length === 0 && devices.length === 0, compared, memory: places, clocks, devices };
  } finally {
    fs.rmSync(directory, { recursive: true, force: true });
  }
}

async function compareMemory(
  source: AssembledWorkbench,
  destination: AssembledWorkbench,
  directory: string,
): Promise<{ places: Place[]; clocks: Place[]; compared: number }> {
  const places: Place[] = [], clocks: Place[] = [];
  let compared = 0;
  for (const { base, length } of await ramRanges(source)) {
    for (let done = 0; done < length; done += PIECE) {
      const size = Math.min(PIECE, length - done);
      const [ours, theirs] = await Promise.all([source, destination].map(async (bench, index) => {
        const filename = join(directory, `memory${index}`);
        await bench.qmp("pmemsave", { val: base + done, size, filename });
        const bytes = fs.readFileSync(filename);
        fs.unlinkSync(filename);
        return bytes;
      }));
      compared += size;
      collect(ours, theirs, base + done, places, clocks);
      if (places.length >= MAX_PLACES) return { places, clocks, compared };
    }
  }
  return { places, clocks, compared };
}

/** Note the pages that differ, those apart where it is a clock. */
function collect(a: Buffer, b: Buffer, base: number, places: Place[], clocks: Place[]): void {
  if (Buffer.compare(a, b) === 0) return;
  for (let at = 0; at < a.length && places.length < MAX_PLACES; at += PAGE) {
    const [one, two] = [a.subarray(at, at + PAGE), b.subarray(at, at + PAGE)];
    if (Buffer.compare(one, two) === 0) continue;
    const list = differsInClocks(one, two) ? clocks : places;
    const last = list.at(-1);
    if (last && last.address + last.pages * PAGE === base + at) last.pages++;
    else if (list.length < MAX_PLACES) list.push({ address: base + at, pages: 1 });
  }
}

/** Where RAM lies, from the flat view of memory; all of it from 0 where that is not told. */
async function ramRanges(bench: AssembledWorkbench): Promise<{ base: number; length: number }[]> {
  const { out, error } = await bench.execute("info mtree -f");
  const view = error ? undefined : out.split(/^FlatView /m).find((text) => /^ AS "memory"/m.test(text));
  const ranges = [...(view ?? "").matchAll(/^ +([0-9a-f]{16})-([0-9a-f]{16}) \(prio -?\d+, (?:ram|rom|nv-ram)\)/gm)]
    .map(([, from, to]) => ({
      base: Number(`0x${from}`),
      length: Number(BigInt(`0x${to}`) - BigInt(`0x${from}`)) + 1,
    }));
  if (ranges.length > 0) return ranges;
  const { physical, memory } = bench.session.guest;
  if (physical?.length) return physical.map(({ base, length }) => ({ base, length }));
  return [{ base: 0, length: bench.session.remote?.ramBytes ?? memory.totalBytes }];
}

async function compareDevices(
  source: AssembledWorkbench,
  destination: AssembledWorkbench,
): Promise<ComparedMachines["devices"]> {
  const found: { command: string; source: string; destination: string }[] = [];
  for (const command of DEVICE_LINES) {
    const [a, b] = await Promise.all([source, destination].map((bench) => bench.execute(command)));
    if (a.error || b.error) continue; // a machine without
    const [ours, theirs] = [a, b].map(({ out }) => withoutTicks(inOrder(out)).split("\n"));
    let lines = 0;
    for (let i = 0; i < Math.max(ours.length, theirs.length) && lines < MAX_LINES; i++) {
      if (ours[i] === theirs[i]) continue;
      found.push({ command, source: ours[i]?.trim() ?? "", destination: theirs[i]?.trim() ?? "" });
      lines++;
    }
  }
  return found;
}

/**
 * The timer of a machine under KVM goes on ticking in the kernel while the machine stands: its request, line 0 of the first PIC
 * and pins 0 and 2 of the I/O APIC, says nothing about a migration.
 */
function withoutTicks(out: string): string {
  const pins = (list: string) => (list.match(/\d+/g) ?? []).filter((pin) => pin !== "0" && pin !== "2");
  return out
    .replace(/^(pic0: irr=)([0-9a-f]{2})/gm, (_, head, irr) => head + hexByte(parseInt(irr, 16) & 0xfe))
    .replace(/^( +(?:Remote )?IRR)\b(.*)$/gm, (_, head, list) => `${head} ${pins(list).join(" ") || "(none)"}`);
}

function hexByte(value: number): string {
  return value.toString(16).padStart(2, "0");
}

/** QEMU lists flat views in the order of their addresses in its memory: here, in that of their text. */
function inOrder(out: string): string {
  if (!out.startsWith("FlatView #")) return out;
  const views = out.split(/^FlatView #\d+\n/m).map((view) => {
    const spaces = view.match(/^ AS .*$/gm) ?? [];
    return [...spaces.sort(), view.replace(/^ AS .*\n/gm, "")].join("\n");
  });
  return views.sort().join("");
}

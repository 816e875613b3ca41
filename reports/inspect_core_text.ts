/**
 * What an ELF core says besides its memory, for people.
 *
 *     Memory
 *       0x0 - 0x9ffff    640 KiB at offset 0x2000
 *     Notes
 *       CORE NT_PRSTATUS 336 bytes (2), QEMU 0 440 bytes (2)
 *     Processors  2 (--json has all registers)
 *       0  rsp 0x0  rip 0xfff0  rflags 0x2  cs.base 0xffff0000  cr0 0x60000010
 *
 * @module
 */
import { hex } from "../stream/errors.ts";
import type { InspectCore } from "./inspect_core.ts";
import { type InspectStyle, printable, size } from "./text.ts";

/** Ranges, processors and lines of VMCOREINFO shown; the JSON has all. */
const SHOWN = 24;
/** Registers that say most, by what a note calls them. */
const FIRST = /^(rip|eip|pc|rsp|esp|sp|rflags|eflags|pstate|cpsr|cs|cs\.base|cr0|cr3|cr4|lr)$/;
/** Lines of VMCOREINFO that say most. */
const KERNEL = ["OSRELEASE", "PAGESIZE", "KERNELOFFSET", "BUILD-ID", "CRASHTIME"];

/** The paragraphs of a core. */
export function corePage(core: InspectCore, style: InspectStyle, width: number): string[][] {
  return [
    [`${"ELF".padEnd(14)}${core.elfClass} bits, ${core.byteOrder}-endian, ${core.machine}`],
    memory(core, style),
    notes(core, style),
    processors(core, style, width),
    kernel(core, style),
  ];
}

function memory({ memory }: InspectCore, style: InspectStyle): string[] {
  const ends = memory.slice(0, SHOWN).map(({ address, length }) => [hex(address), hex(address + length - 1)]);
  const wide = Math.max(...ends.flat().map((text) => text.length));
  const lines = memory.slice(0, SHOWN).map(({ length, offset, fileBytes }, i) => {
    const [from, to] = ends[i];
    const there = fileBytes === length ? "" : fileBytes === 0 ? ", none of it here" : `, ${size(fileBytes)} of it here`;
    const at = fileBytes > 0 ? ` at offset ${hex(offset)}` : "";
    return `  ${from.padStart(wide)} - ${to.padStart(wide)}  ${size(length).padStart(9)}${there}${at}`;
  });
  if (memory.length > SHOWN) lines.push(`  and ${memory.length - SHOWN} more`);
  return [style.bold("Memory"), ...lines];
}

function notes({ notes }: InspectCore, style: InspectStyle): string[] {
  const kinds = new Map<string, number>();
  for (const { name, type, bytes } of notes) {
    const kind = `${printable(name)} ${type} ${bytes} bytes`;
    kinds.set(kind, (kinds.get(kind) ?? 0) + 1);
  }
  const words = [...kinds].slice(0, SHOWN).map(([kind, count]) => count > 1 ? `${kind} (${count})` : kind);
  if (kinds.size > SHOWN) words.push(`${kinds.size - SHOWN} more kinds`);
  return words.length ? [style.bold("Notes"), `  ${words.join(", ")}`] : [];
}

function processors({ cpus }: InspectCore, style: InspectStyle, width: number): string[] {
  const lines = cpus.slice(0, SHOWN).map((registers, i) => {
    let line = `  ${i}`;
    for (const [name, value] of Object.entries(registers)) {
      const word = `  ${name} ${value}`;
      if (FIRST.test(name) && line.length + word.length <= width) line += word;
    }
    return line;
  });
  if (cpus.length > SHOWN) lines.push(`  and ${cpus.length - SHOWN} more`);
  return lines.length ? [`${style.bold("Processors")}  ${cpus.length} (--json has all registers)`, ...lines] : [];
}

function kernel({ vmcoreinfo }: InspectCore, style: InspectStyle): string[] {
  if (!vmcoreinfo) return [];
  const known = KERNEL.filter((name) => Object.hasOwn(vmcoreinfo, name));
  const lines = known.map((name) => `  ${name.padEnd(12)} ${printable(vmcoreinfo[name]).slice(0, 80)}`);
  return [`${style.bold("VMCOREINFO")}  ${Object.keys(vmcoreinfo).length} lines`, ...lines];
}

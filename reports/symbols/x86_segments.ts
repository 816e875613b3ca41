/**
 * Segment registers with their hidden part, in the words of QEMU's `info registers`.
 *
 *     CS   selector 0x0008, base 0x0000000000000000, limit 0xffffffff, flags 0x00cf9b00: DPL=0 CS32 [-RA]
 *
 * `flags` is the second word of the descriptor, its base and limit bits as they came. Of a processor in real mode QEMU says
 * nothing of it, and so do we.
 * Source: QEMU target/i386/cpu-dump.c (cpu_x86_dump_seg_cache), target/i386/machine.c (vmstate_segment).
 * @module
 */
import { bitField, integer, type Meaning } from "./rule.ts";
import { type FieldPlace, type FieldTable, wide } from "./x86_words.ts";

/** Of `env.segs`, by R_ES .. R_GS in QEMU target/i386/cpu.h. */
const NAMES = ["ES", "CS", "SS", "DS", "FS", "GS"];
/** HF_PE_MASK and HF_LMA_MASK of env.hflags. */
const HF_PE = 1n << 7n, HF_LMA = 1n << 14n;
/** System descriptors by their type. */
const SYSTEM_32 = ("Reserved TSS16-avl LDT TSS16-busy CallGate16 TaskGate IntGate16 TrapGate16 " +
  "Reserved TSS32-avl Reserved TSS32-busy CallGate32 Reserved IntGate32 TrapGate32").split(" ");
const SYSTEM_64 = ("<hiword> Reserved LDT Reserved Reserved Reserved Reserved Reserved Reserved " +
  "TSS64-avl Reserved TSS64-busy CallGate64 Reserved IntGate64 TrapGate64").split(" ");

/** Name of a segment or table register by the path of its struct; undefined for other paths. */
export function segmentName(path: string): string | undefined {
  const match = /^env\.(?:segs\[([0-5])\]|(ldt|tr|gdt|idt))$/.exec(path);
  return match ? match[2]?.toUpperCase() ?? NAMES[Number(match[1])] : undefined;
}

/** "DPL=0 CS32 [-RA]"; "" for a segment that is not present. @param hflags of the processor, in protected mode */
export function descriptorWords(flags: bigint, hflags: bigint): string {
  const bit = (at: number) => bitField(flags, at, at) === 1;
  const letter = (at: number, name: string) => bit(at) ? name : "-";
  const long = (hflags & HF_LMA) !== 0n;
  if (!bit(15)) return "";
  const dpl = `DPL=${bitField(flags, 13, 14)}`;
  if (!bit(12)) return `${dpl} ${(long ? SYSTEM_64 : SYSTEM_32)[bitField(flags, 8, 11)]}`;
  const accessed = letter(8, "A");
  if (!bit(11)) return `${dpl} ${bit(22) || long ? "DS" : "DS16"} [${letter(10, "E")}${letter(9, "W")}${accessed}]`;
  const width = bit(21) ? "CS64" : bit(22) ? "CS32" : "CS16";
  return `${dpl} ${width} [${letter(10, "C")}${letter(9, "R")}${accessed}]`;
}

function segmentFlags(value: bigint, place: FieldPlace): Meaning {
  const hflags = integer(place.device.value("env.hflags")) ?? 0n;
  return { text: wide(value, place), meaning: hflags & HF_PE ? descriptorWords(value, hflags) : "" };
}

const selector = (value: bigint): Meaning => ({ text: "0x" + value.toString(16).padStart(4, "0") });
const whole = (value: bigint, place: FieldPlace): Meaning => ({ text: wide(value, place) });

/** Fields of the segments and of the descriptor tables, which have no descriptor. */
export const SEGMENT_FIELDS: FieldTable = [
  ...[...NAMES.map((_, i) => `env.segs[${i}]`), "env.ldt", "env.tr", "env.gdt", "env.idt"].flatMap((at): FieldTable => [
    [`${at}.selector`, selector],
    [`${at}.base`, whole],
    [`${at}.limit`, whole],
    [`${at}.flags`, /[gi]dt$/.test(at) ? whole : segmentFlags],
  ]),
];

/**
 * Memory types: PAT and the MTRRs, with the addresses they are for.
 *
 *     env.pat PAT                0x0007040600070406  PA0=WB PA1=WT PA2=UC- PA3=UC PA4=WB PA5=WT PA6=UC- PA7=UC (MSR 0x277)
 *     MTRRfix4K_C0000            0x0505050505050505  0xc0000-0xc7fff WP (MSR 0x268)
 *     MTRRphys0                  base 0x0000000080000000, mask 0x000fffff80000800  0x80000000-0xffffffff UC
 *
 * Source: QEMU target/i386/cpu.h (MSR_MTRRfix64K_00000 and others), Intel SDM volume 3, "Memory Cache Control".
 * @module
 */
import { bitField, type DeviceView, hexText, integer, type Meaning } from "./rule.ts";
import { type FieldTable, flags, hexField, msr } from "./x86_words.ts";

/** By their encoding; UC- is of PAT alone. */
const TYPES: readonly (string | undefined)[] = ["UC", "WC", undefined, undefined, "WT", "WP", "WB", "UC-"];
/** Address of the first byte and bytes of each of the eight parts, and MSR, in the order of env.mtrr_fixed. */
const FIXED: readonly (readonly [name: string, start: number, part: number, msr: number])[] = [
  ["MTRRfix64K_00000", 0, 0x10000, 0x250],
  ["MTRRfix16K_80000", 0x80000, 0x4000, 0x258],
  ["MTRRfix16K_A0000", 0xa0000, 0x4000, 0x259],
  ...[..."CDEF"].flatMap((digit, i) =>
    [0, 0x8000].map((half) =>
      [
        `MTRRfix4K_${digit}${half ? "8" : "0"}000`,
        0xc0000 + i * 0x10000 + half,
        0x1000,
        0x268 + i * 2 + (half ? 1 : 0),
      ] as const
    )
  ),
];

function type(value: number, pat = false): string {
  return (value === 7 && !pat ? undefined : TYPES[value]) ?? `type ${value}`;
}

function pat(value: bigint): string {
  return Array.from({ length: 8 }, (_, i) => `PA${i}=${type(bitField(value, i * 8, i * 8 + 7), true)}`).join(" ");
}

/** Types of eight parts, those that are alike as one range. */
function fixed(value: bigint, start: number, part: number): string {
  const ranges: string[] = [];
  for (let from = 0, to = 1; from < 8; from = to++) {
    const here = bitField(value, from * 8, from * 8 + 7);
    while (to < 8 && bitField(value, to * 8, to * 8 + 7) === here) to++;
    ranges.push(`${hexText(start + from * part)}-${hexText(start + to * part - 1)} ${type(here)}`);
  }
  return ranges.join(", ");
}

const deftype = flags("0-7 -, 10 FE, 11 E");

/** PAT, and the MTRRs of fixed ranges. */
export const MEMORY_TYPE_FIELDS: FieldTable = [
  ["env.pat", msr("PAT", 0x277, pat)],
  ...FIXED.map(([name, start, part, number], i): FieldTable[number] => [
    `env.mtrr_fixed[${i}]`,
    msr(name, number, (value) => fixed(value, start, part)),
  ]),
  [
    "env.mtrr_deftype",
    msr("MTRRdefType", 0x2ff, (value) => [`default ${type(bitField(value, 0, 7))}`, deftype(value)].join(" ").trim()),
  ],
  ...Array.from({ length: 8 }, (_, i): FieldTable[number][] => [
    [`env.mtrr_var[${i}].base`, hexField()],
    [`env.mtrr_var[${i}].mask`, hexField()],
  ]).flat(),
];

/** A pair of registers for a range. @param path of the struct */
export function variableRange(path: string, device: DeviceView): Meaning | undefined {
  const match = /^env\.mtrr_var\[([0-7])\]$/.exec(path);
  const base = match ? integer(device.value(`${path}.base`)) : undefined;
  const mask = match ? integer(device.value(`${path}.mask`)) : undefined;
  if (!match || base === undefined || mask === undefined || base < 0n || mask < 0n) return undefined;
  const symbol = `MTRRphys${match[1]}`;
  if (!(mask & 0x800n)) return { symbol, meaning: "not valid" };
  const bits = mask >> 12n << 12n;
  const size = bits & -bits;
  const top = bits + size;
  // the mask of one range is ones down to its size: with anything else it is many ranges
  if (bits === 0n || (top & (top - 1n)) !== 0n) return { symbol, meaning: type(bitField(base, 0, 7)) };
  const start = base & bits;
  return { symbol, meaning: `${hexText(start)}-${hexText(start + size - 1n)} ${type(bitField(base, 0, 7))}` };
}

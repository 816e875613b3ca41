/**
 * Firmware for guests under test: 64 KiB for `-bios`, with the reset vector at its end, in 32-bit mode after 20 bytes.
 *
 *     0xff00  fa                        cli
 *             2e 66 0f 01 16 60 ff      lgdtl %cs:0xff60
 *             0f 20 c0                  mov %cr0, %eax
 *             0c 01                     or $1, %al
 *             0f 22 c0                  mov %eax, %cr0
 *             66 ea 20 ff ff ff 08 00   ljmpl $8, $0xffffff20
 *     0xff20  b8 10 00 00 00            mov $0x10, %eax
 *             8e d8                     mov %eax, %ds
 *             31 c0                     xor %eax, %eax
 *     0xff29  40                        inc %eax                 the next sweep
 *             bf FIRST                  mov $FIRST, %edi
 *             b9 PAGES                  mov $PAGES, %ecx
 *     0xff34  89 07                     mov %eax, (%edi)         number of the sweep into the page's first word
 *             81 c7 00 10 00 00         add $0x1000, %edi
 *             49                        dec %ecx
 *             75 f5                     jnz 0xff34
 *             eb e8                     jmp 0xff29
 *     0xff60  17 00 70 ff ff ff         GDT: 3 entries at 0xffffff70
 *     0xff70  0; 00cf9b000000ffff (flat code); 00cf93000000ffff (flat data)
 *     0xfff0  e9 0d ff                  jmp 0xff00               reset
 *
 * @module
 */

const SIZE = 0x10000;
const PIECES: readonly (readonly [offset: number, hex: string])[] = [
  [0xff00, "fa2e660f011660ff0f20c00c010f22c066ea20ffffff0800"],
  [0xff20, "b8100000008ed831c040bf78563412b9f0debc9a890781c7001000004975f5ebe8"],
  [0xff60, "170070ffffff"],
  [0xff78, "ffff0000009bcf00ffff00000093cf00"],
  [0xfff0, "e90dff"],
];
/** Where the two numbers stand. */
const FIRST_AT = 0xff2b;
const PAGES_AT = 0xff30;

/** Where the dirtying guest writes: bytes from the start of memory, all above 1 MiB. */
export const SWEEP = Object.freeze({ first: 4 << 20, pages: 1024 });

/** A guest that never stops writing: one word into each page of {@link SWEEP}, over and over. */
export function sweepingRom(sweep: { readonly first: number; readonly pages: number } = SWEEP): Uint8Array {
  const rom = new Uint8Array(SIZE);
  for (const [offset, hex] of PIECES) rom.set(Uint8Array.fromHex(hex), offset);
  const view = new DataView(rom.buffer);
  view.setUint32(FIRST_AT, sweep.first, true);
  view.setUint32(PAGES_AT, sweep.pages, true);
  return rom;
}

/** A guest that halts at once, with interrupts off. */
export function haltingRom(): Uint8Array {
  const rom = new Uint8Array(SIZE);
  rom.set([0xfa, 0xf4, 0xeb, 0xfd], 0xfff0); // cli; 1: hlt; jmp 1b
  return rom;
}

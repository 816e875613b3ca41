/**
 * Firmware that brings a guest into 64-bit mode with known values in two registers, and halts there. 64 KiB for `-bios`,
 * with page tables that `-device loader` puts at 0x8000: 2 MiB pages, the first and the fourth GiB as they are.
 *
 *     0xff00  cli; lgdtl %cs:0xff60; mov %cr0, %eax; or $1, %al; mov %eax, %cr0; ljmpl $8, $0xffffff20     16-bit
 *     0xff20  0f 20 e0  83 c8 20  0f 22 e0             cr4 |= PAE                                          32-bit
 *             b8 00 80 00 00  0f 22 d8                 cr3 = 0x8000
 *             b9 80 00 00 c0  0f 32  0d 00 01 00 00  0f 30     EFER |= LME
 *             0f 20 c0  0d 00 00 00 80  0f 22 c0       cr0 |= PG
 *             ea 90 ff ff ff 18 00                     ljmp $0x18, $0xffffff90
 *     0xff60  1f 00 70 ff ff ff                        GDT: 4 entries at 0xffffff70, the last 64-bit code
 *     0xff90  48 b8 RAX  49 bf R15  f4  eb fd          movabs; movabs; hlt; again                          64-bit
 *
 * @module
 */

const SIZE = 0x10000;
const PIECES: readonly (readonly [offset: number, hex: string])[] = [
  [0xff00, "fa2e660f011660ff0f20c00c010f22c066ea20ffffff0800"],
  [0xff20, "0f20e083c8200f22e0b8008000000f22d8b9800000c00f320d000100000f300f20c00d000000800f22c0ea90ffffff1800"],
  [0xff60, "1f0070ffffff"],
  [0xff78, "ffff0000009bcf00ffff00000093cf00ffff0000009baf00"],
  [0xff90, "48b8887766554433221149bf0123456789abcdeff4ebfd"],
  [0xfff0, "e90dff"],
];

/** What the guest puts into rax and r15. */
export const LONG_MODE_REGISTERS = Object.freeze({ rax: 0x1122334455667788n, r15: 0xefcdab8967452301n });

/** The firmware. */
export function longModeRom(): Uint8Array {
  const rom = new Uint8Array(SIZE);
  for (const [offset, hex] of PIECES) rom.set(Uint8Array.fromHex(hex), offset);
  return rom;
}

/** Its page tables, for address 0x8000. */
export function longModeTables(): Uint8Array {
  const tables = new Uint8Array(0x4000);
  const view = new DataView(tables.buffer);
  const put = (at: number, value: number) => view.setBigUint64(at, BigInt(value), true);
  put(0x0000, 0x9003);
  put(0x1000, 0xa003);
  put(0x1018, 0xb003);
  for (let i = 0; i < 512; i++) {
    put(0x2000 + i * 8, i * 0x200000 + 0x83);
    put(0x3000 + i * 8, 0xc0000000 + i * 0x200000 + 0x83);
  }
  return tables;
}

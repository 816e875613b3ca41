/**
 * What guests under test hold in RAM: pages of random bytes, every fifth zero, every seventh with its last byte only, laid
 * by `-device loader` (which does not migrate: a destination does without it).
 * @module
 */

const PAGE = 4096;
const MIB = 1 << 20;

/** Bytes of one content file. */
export const CONTENT_BYTES = 6 * MIB;

/** Bytes of a content file. */
export function contentBytes(length = CONTENT_BYTES): Uint8Array<ArrayBuffer> {
  const bytes = new Uint8Array(length);
  for (let page = 0; page < length / PAGE; page++) {
    const view = bytes.subarray(page * PAGE, (page + 1) * PAGE);
    if (page % 5 === 4) continue;
    if (page % 7 === 6) view[PAGE - 1] = page;
    else crypto.getRandomValues(view);
  }
  return bytes;
}

/** A temporary directory with a content file and firmware in it; goes away with `using`. */
export interface GuestFiles extends Disposable {
  /** Path of a file in the directory. */
  path(name: string): string;
  /** `-bios` and three `-device loader`: low memory, above the sweep, and the end of RAM. */
  readonly load: readonly string[];
  /** `-bios` alone, for a destination. */
  readonly bios: readonly string[];
}

/**
 * Write the files a guest is started with.
 * @param rom      the firmware
 * @param ramBytes `-m`, in bytes: content ends where it does
 */
export function guestFiles(rom: Uint8Array, ramBytes: number): GuestFiles {
  const directory = Deno.makeTempDirSync({ prefix: "miglab-guest-" });
  const path = (name: string) => `${directory}/${name}`;
  Deno.writeFileSync(path("rom"), rom);
  Deno.writeFileSync(path("content"), contentBytes());
  Deno.writeFileSync(path("low"), contentBytes(0x20000));
  const loader = (name: string, address: number) => [
    "-device",
    `loader,file=${path(name)},addr=0x${address.toString(16)},force-raw=on`,
  ];
  const bios = ["-bios", path("rom")];
  return {
    path,
    bios,
    load: [
      ...bios,
      ...loader("low", 0x10000),
      ...loader("content", 16 * MIB),
      ...loader("content", ramBytes - CONTENT_BYTES),
    ],
    [Symbol.dispose]: () => Deno.removeSync(directory, { recursive: true }),
  };
}

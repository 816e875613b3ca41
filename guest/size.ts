/**
 * Sizes as QEMU's command line reads them: `256M`, `1.5g`, `0x1000k`, `4096b`.
 *
 * A bare number is in the option's own unit (`-m`: MiB). Suffixes are binary, in either case. `-m` rounds up to 8 KiB.
 * Source: QEMU util/cutils.c (do_strtosz), hw/core/machine.c (machine_set_mem).
 * @module
 */

const UNITS = "BKMGTPE";

/** Smallest RAM a model guest can have, in bytes. */
export const MIN_RAM = 1 << 20;
/** Largest RAM a model guest can have, in bytes. */
export const MAX_RAM = 64 * 2 ** 30;

/**
 * Read a size.
 * @param unit what a bare number counts
 * @returns bytes, an integer below 2^53
 * @throws {RangeError} when the text is no size
 */
export function parseSize(text: string, unit: "B" | "K" | "M" | "G" = "B"): number {
  const match = /^\s*(?:(0x[0-9a-f]+)|(\d+(?:\.\d*)?|\.\d+))([bkmgtpe]?)$/i.exec(text);
  if (!match) throw new RangeError(`Cannot read size "${text}": expected a number with one of the suffixes ${UNITS}`);
  const [, hex, decimal, suffix] = match;
  const factor = 1024 ** UNITS.indexOf((suffix || unit).toUpperCase());
  if (factor === 1 && decimal?.includes(".")) throw new RangeError(`Cannot read size "${text}": a fraction of a byte`);
  const bytes = Math.floor(Number(hex ?? decimal) * factor);
  if (!(bytes < 2 ** 53)) throw new RangeError(`Cannot read size "${text}": too large`);
  return bytes;
}

/**
 * Read the RAM size of a machine as `-m` does: MiB without a suffix, rounded up to 8 KiB.
 * @throws {RangeError} below 1 MiB or above 64 GiB
 */
export function parseRamSize(text: string): number {
  return checkRamSize(parseSize(text, "M"));
}

/** Round a RAM size as QEMU does and hold it against the limits. @throws {RangeError} */
export function checkRamSize(bytes: number): number {
  if (!(bytes >= MIN_RAM && bytes <= MAX_RAM)) {
    throw new RangeError(`Cannot make a guest with ${bytes} bytes of RAM: expected between 1 MiB and 64 GiB`);
  }
  return Math.ceil(bytes / 8192) * 8192;
}

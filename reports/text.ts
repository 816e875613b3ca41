/**
 * Words that reports for people share.
 * @module
 */

/** Marks text; the functions of a plain style give their argument back. */
export interface InspectStyle {
  /** What the page is about, and headings. */
  readonly bold: (text: string) => string;
  /** Hashes. */
  readonly dim: (text: string) => string;
  /** An incomplete file. */
  readonly red: (text: string) => string;
  /** A complete one. */
  readonly green: (text: string) => string;
  /** Warnings and pages that are missing. */
  readonly yellow: (text: string) => string;
  /** Bars. */
  readonly cyan: (text: string) => string;
}

/** Bytes in the largest unit that leaves a number of at least 1. */
export function size(bytes: number): string {
  const units = ["bytes", "KiB", "MiB", "GiB", "TiB"];
  let unit = 0, value = bytes;
  while (value >= 1024 && unit < units.length - 1) {
    value /= 1024;
    unit++;
  }
  return `${unit === 0 || Number.isInteger(value) ? value : value.toFixed(value < 10 ? 2 : 1)} ${units[unit]}`;
}

/** Names come from the file: nothing in them may move the cursor. */
export function printable(name: string): string {
  // deno-lint-ignore no-control-regex -- they are what must not get through
  return name.replace(/[\x00-\x1f\x7f-\x9f]/g, (char) => "\\x" + char.charCodeAt(0).toString(16).padStart(2, "0"));
}

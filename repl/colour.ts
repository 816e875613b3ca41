/**
 * Colours: a dozen escape codes, or none. NO_COLOR (https://no-color.org) and `--color` decide, else whether a terminal
 * is there; no permission is asked for.
 * @module
 */

/** `--color`. */
export type ColourMode = "auto" | "always" | "never";

/** Marks text; each function returns its argument untouched when colours are off. */
export interface Style {
  readonly bold: Paint;
  readonly dim: Paint;
  readonly red: Paint;
  readonly green: Paint;
  readonly yellow: Paint;
  readonly cyan: Paint;
}

/** Text in, text out. */
export type Paint = (text: string) => string;

const paint = (on: number, off: number): Paint => (text) => text === "" ? "" : `\x1b[${on}m${text}\x1b[${off}m`;
const plain: Paint = (text) => text;

const COLOURED: Style = {
  bold: paint(1, 22),
  dim: paint(2, 22),
  red: paint(31, 39),
  green: paint(32, 39),
  yellow: paint(33, 39),
  cyan: paint(36, 39),
};

/** No escape codes at all. */
export const PLAIN: Style = { bold: plain, dim: plain, red: plain, green: plain, yellow: plain, cyan: plain };

/**
 * The style for one output.
 * @param terminal the output is a terminal
 * @param noColour NO_COLOR is set; `--color always` is stronger
 */
export function styleFor(mode: ColourMode, terminal: boolean, noColour: boolean = Deno.noColor): Style {
  if (mode === "always") return COLOURED;
  return mode === "auto" && terminal && !noColour ? COLOURED : PLAIN;
}

/**
 * Lines of `explain` as text, and as the objects of `--json`.
 *
 *     0x1b            4  00 00 00 01              sections[0].id = 1   number of the section in this stream only (migration/...)
 *
 * @module
 */
import { hex } from "../stream/errors.ts";
import type { KnownChannel } from "./channel_kind.ts";
import type { ExplainLine } from "./explain_lines.ts";
import { type InspectStyle, printable } from "./inspect_text.ts";

/** Bytes shown of a field. */
const SHOWN = 8;
/** Longest value shown, in characters. */
const VALUE_WIDTH = 100;

/** One line without its line feed. */
export function explainText(line: ExplainLine, style?: InspectStyle): string {
  const { offset, length, path, value, meaning, source, raw } = line;
  const bytes = raw.subarray(0, Math.min(SHOWN, length)).toHex().replace(/..(?=.)/g, "$& ");
  const shown = bytes + (bytes && length > SHOWN ? " .." : "");
  const what = value === undefined ? "" : ` = ${valueText(line)}`;
  const dim = style?.dim ?? ((text: string) => text);
  return `${hex(offset).padEnd(11)} ${String(length).padStart(8)}  ${dim(shown.padEnd(SHOWN * 3 + 2))} ` +
    `${style?.cyan(printable(path)) ?? printable(path)}${what}  ${printable(meaning)}` +
    (source ? dim(` (${source})`) : "");
}

function valueText({ value, path, length }: ExplainLine): string {
  if (typeof value === "string") {
    const text = printable(value);
    const cut = text.length > VALUE_WIDTH ? `${text.slice(0, VALUE_WIDTH)}...` : text;
    return /\b(records|pages)\[|\.bitmap$/.test(path) || /^-?\d+$/.test(value) ? cut : `"${cut}"`;
  }
  return typeof value === "number" && length >= 4 && value > 9 ? hex(value) : String(value);
}

/**
 * What stands over the lines of a channel, where there are several.
 * @param name of its file
 * @param channel left out: the main one
 */
export function channelText(name: string, channel?: KnownChannel): string {
  const what = !channel
    ? "main channel"
    : channel.kind === "empty"
    ? "empty: a postcopy-preempt channel on which no page was asked for"
    : `${channel.kind} channel${channel.id === undefined ? "" : ` ${channel.id}`}`;
  return `${printable(name)}: ${what}`;
}

/** The object of the contract: `{"offset", "length", "path", "value"?, "meaning", "source"?}`, with "channel" of a further one. */
export function explainJson({ raw: _, ...line }: ExplainLine): Omit<ExplainLine, "raw"> {
  return line;
}

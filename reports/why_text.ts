/**
 * `why` for people.
 *
 *     Unknown savevm section or instance 'i8254' 7
 *       where   sections[12].idstr at 0x3c426 (i8254)
 *       cause   the stream has state of ...
 *       do      start the destination with ...
 *
 * @module
 */
import { hex } from "../stream/errors.ts";
import { type InspectStyle, printable } from "./inspect_text.ts";
import type { WhyPlace, WhyReport } from "./why.ts";

const same = (text: string) => text;

/** The page, ending in a line feed. */
export function whyText({ findings, reason, reasonMeaning, unknown, damage }: WhyReport, style?: InspectStyle): string {
  const { bold = same, dim = same, red = same, cyan = same } = style ?? {};
  const blocks = findings.map(({ message, section, place, frame, damaged, cause, advice }) => {
    const where = place ? placeText(place, cyan) : "nothing in the file";
    const whose = section === undefined ? "" : dim(` (${printable(section)})`);
    return [
      bold(printable(message)),
      ...(place || !frame ? [`  where   ${where}${whose}${damaged ? red("  damaged") : ""}`] : []),
      `  cause   ${printable(cause)}`,
      `  do      ${printable(advice)}`,
    ].join("\n");
  });
  if (reason !== undefined && reasonMeaning !== undefined) blocks.push(`${printable(reason)}: ${reasonMeaning}`);
  if (unknown.length > 0) blocks.push(`No word on: ${unknown.map(printable).join("; ")}`);
  const seen = new Set(findings.map(({ place }) => place?.offset));
  const rest = damage.filter(({ offset }) => !seen.has(offset));
  if (rest.length > 0) {
    const lines = rest.slice(0, 10).map(({ offset, path, message }) =>
      `  ${hex(offset)} ${path}  ${printable(message)}`
    );
    blocks.push(["Wrong in the file besides:", ...lines].join("\n"));
  }
  return blocks.length === 0 ? "Nothing is known about this.\n" : blocks.join("\n\n") + "\n";
}

function placeText({ channel, offset, path, value }: WhyPlace, cyan: (text: string) => string): string {
  const what = value === undefined || value === null ? "" : ` = ${printable(String(value))}`;
  return `${cyan(printable(path))}${what} at ${hex(offset)}${channel === undefined ? "" : ` of channel ${channel}`}`;
}

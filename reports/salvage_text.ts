/**
 * The account of `salvage` for people.
 *
 *     /tmp/vm.sav: damaged
 *       0x1f0312  Cannot read page 0x2eeb000 of pc.ram at offset 0x1f0312 in "main": 318 bytes before the end, expected 4104
 *     pc.ram  16384 pages: 12011 recovered (801 with data), 4373 lost: 0x2eeb000-0x3ffffff
 *     48 devices recovered, 2 lost: 0000:00:03.0/e1000 0, globalstate 0
 *
 * @module
 */
import { hex } from "../stream/errors.ts";
import { printable } from "./inspect_text.ts";
import type { SalvagedBlock } from "./salvage_ram.ts";
import type { SalvageReport } from "./salvage.ts";

/** Ranges and damages shown; the JSON has all. */
const SHOWN = 8;

/** Some lines, each ending in a line feed. */
export function salvageText({ path, intact, damages, channels, ram, devices, iterables, lost }: SalvageReport): string {
  const name = path === "-" ? "standard input" : printable(path);
  const lines = [`${name}: ${intact ? "nothing is wrong with it" : damages.length ? "damaged" : "incomplete"}`];
  for (const { offset, message, channel } of damages.slice(0, SHOWN)) {
    const where = channel === undefined || message.includes(channel) ? "" : `${printable(channel)}: `;
    lines.push(`  ${hex(offset)}  ${where}${printable(message)}`);
  }
  if (damages.length > SHOWN) lines.push(`  and ${damages.length - SHOWN} more places`);
  for (const { file, name, bytes, packets } of channels) {
    const found = packets === undefined ? `${bytes} bytes` : `${packets} packets`;
    lines.push(`${printable(file)}: ${name} channel, ${found}`);
  }
  for (const block of ram) lines.push(blockText(block));
  const gone = lost.devices ?? [];
  const names = gone.slice(0, SHOWN).map(({ name, instanceId }) => `${printable(name)} ${instanceId}`).join(", ");
  lines.push(
    `${devices.length} devices recovered` +
      (lost.devices === null ? "" : `, ${gone.length} lost` + (gone.length ? `: ${names}` : "")) +
      (gone.length > SHOWN ? ` and ${gone.length - SHOWN} more` : ""),
  );
  for (const { name, instanceId, sections, bytes, ended } of iterables) {
    lines.push(
      `${printable(name)} ${instanceId}: ${sections.length} sections, ${bytes} bytes${ended ? "" : ", not all of it"}`,
    );
  }
  for (const note of lost.notes) lines.push(`note: ${printable(note)}`);
  return lines.join("\n") + "\n";
}

function blockText(block: SalvagedBlock): string {
  const { recoveredPages, dataPages, uncertainPages, inferredPages, lostPages, lost, pageBytes, lengthKnown } = block;
  const pages = recoveredPages + lostPages;
  const uncertain = (inferredPages ? `, ${inferredPages} of an inferred block` : "") +
    (uncertainPages ? `, ${uncertainPages} uncertain` : "");
  const ranges = lost.slice(0, SHOWN).map(([first, count]) => {
    return `${hex(first * pageBytes)}-${hex((first + count) * pageBytes - 1)}`;
  });
  const more = lost.length > SHOWN ? ", ..." : "";
  return `${printable(block.block).padEnd(24)} ${pages} pages: ${recoveredPages} recovered (${dataPages} with data` +
    `${uncertain}), ${lostPages} lost${ranges.length ? `: ${ranges.join(", ")}${more}` : ""}` +
    (lengthKnown ? "" : " (its length is not known)");
}

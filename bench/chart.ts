/**
 * The tables of formats as a picture: bars of save and restore, ours beside QEMU's. Plain SVG, readable on light and dark.
 * @module
 */
import type { FormatTable } from "./formats.ts";

const WIDTH = 860, LABEL = 250, BAR = 9, GAP = 3, ROW = 4 * BAR + 3 * GAP + 14, HEAD = 58;
const COLOURS = { ours: "#2a7fde", qemu: "#9aa0a6" };

function text(x: number, y: number, content: string, more = ""): string {
  return `<text x="${x}" y="${y}" ${more}>${content.replaceAll("&", "&amp;").replaceAll("<", "&lt;")}</text>`;
}

/** One picture of one table. Shorter is faster; a bar ends in its seconds. */
export function chart({ guest, place, rows }: FormatTable): string {
  const longest = Math.max(
    1,
    ...rows.flatMap((row) => [row.save, row.restore, row.qemuSave ?? 0, row.qemuRestore ?? 0]),
  );
  const room = WIDTH - LABEL - 70;
  const height = HEAD + rows.length * ROW + 8;
  const bars = rows.flatMap((row, i) => {
    const top = HEAD + i * ROW;
    const figures = [
      [row.save, COLOURS.ours, "save"],
      [row.qemuSave, COLOURS.qemu, ""],
      [row.restore, COLOURS.ours, "restore"],
      [row.qemuRestore, COLOURS.qemu, ""],
    ] as const;
    return [
      text(8, top + 2 * BAR + GAP, row.format),
      ...figures.flatMap(([ms, colour, name], k) => {
        if (ms === undefined) return [];
        const y = top + k * (BAR + GAP), length = Math.max(1, ms / longest * room);
        return [
          name ? text(LABEL - 6, y + BAR, name, 'text-anchor="end" class="small"') : "",
          `<rect x="${LABEL}" y="${y}" width="${length.toFixed(1)}" height="${BAR}" fill="${colour}"/>`,
          text(LABEL + length + 5, y + BAR - 1, `${(ms / 1000).toFixed(2)} s`, 'class="small"'),
        ];
      }),
    ];
  });
  return [
    `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${WIDTH} ${height}" width="${WIDTH}" height="${height}">`,
    "<style>text{font:13px sans-serif;fill:#555}.small{font-size:10px}@media(prefers-color-scheme:dark){text{fill:#bbb}}</style>",
    text(
      8,
      20,
      `${guest} guest, files ${place === "memory" ? "in memory" : "on a disk"}: shorter is faster`,
      'font-weight="bold"',
    ),
    `<rect x="8" y="32" width="10" height="10" fill="${COLOURS.ours}"/>`,
    text(24, 41, "miglab"),
    `<rect x="90" y="32" width="10" height="10" fill="${COLOURS.qemu}"/>`,
    text(106, 41, "QEMU"),
    ...bars.filter((line) => line !== ""),
    "</svg>",
    "",
  ].join("\n");
}

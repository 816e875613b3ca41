/**
 * The report: a Markdown table, one line for each thing measured.
 * @module
 */

/** One line. Undefined figures were not measured: there is nobody to measure. */
export interface Row {
  readonly what: string;
  readonly unit: "ms" | "MiB";
  /** Medians. */
  readonly ours: number;
  readonly theirs?: number;
  /** Whose the other figure is: "QEMU", "cat". */
  readonly against?: string;
}

/** The whole table. A ratio below 1 is to our favour. */
export function formatTable(rows: readonly Row[]): string {
  const cells = [
    ["measured", "miglab", "beside", "ratio"],
    ...rows.map(({ what, unit, ours, theirs, against }) => [
      what,
      `${round(ours)} ${unit}`,
      theirs === undefined ? "-" : `${against} ${round(theirs)} ${unit}`,
      theirs === undefined ? "-" : (ours / theirs).toFixed(2),
    ]),
  ];
  const widths = cells[0].map((_, column) => Math.max(...cells.map((line) => line[column].length)));
  const format = (line: readonly string[]) => `| ${line.map((cell, i) => cell.padEnd(widths[i])).join(" | ")} |`;
  const rule = `|${widths.map((width) => "-".repeat(width + 2)).join("|")}|`;
  return [format(cells[0]), rule, ...cells.slice(1).map(format)].join("\n") + "\n";
}

function round(figure: number): string {
  return figure >= 100 ? figure.toFixed(0) : figure.toFixed(1);
}

/** Processor, memory, kernel and programs, in one line. */
export function describeMachine(qemu: string | undefined): string {
  const read = (path: string, pattern: RegExp) => pattern.exec(Deno.readTextFileSync(path))?.[1].trim();
  const gib = (Number(read("/proc/meminfo", /^MemTotal:\s*(\d+)/m)) / 1048576).toFixed(0);
  return [
    `${navigator.hardwareConcurrency} x ${read("/proc/cpuinfo", /^model name\s*:(.*)$/m) ?? Deno.build.arch}`,
    `${gib} GiB`,
    `Linux ${Deno.osRelease()}`,
    `Deno ${Deno.version.deno}`,
    qemu ? `QEMU ${qemu}` : "no QEMU 10, so nothing beside it (.ci/qemu installs one)",
  ].join(", ");
}

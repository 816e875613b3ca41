/**
 * `info channels`: what went through each further channel of the present or last migration. Not a command of QEMU's.
 *
 *     channel 0: 524480 kbytes, normal: 131072 pages, zero: 12 pages, 1834.21 mbps
 *
 * @module
 */
import type { Command } from "../core/command.ts";
import type { Plugin } from "../core/plugin.ts";

/** One channel of the answer. */
export interface ChannelInfo {
  /** Number of the multifd channel. */
  readonly id: number;
  /** Bytes on the wire; of a file, bytes of pages. */
  readonly bytes: number;
  /** Pages sent as data. */
  readonly normal: number;
  /** Pages it found to be zero. */
  readonly zero: number;
  /** Megabits per second over the whole migration. */
  readonly mbps: number;
}

const infoChannels: Command = {
  hmp: {
    name: "info channels",
    params: "",
    help: "show what went through each multifd channel (not in QEMU)",
    format: (channels: readonly ChannelInfo[]) =>
      channels.map(({ id, bytes, normal, zero, mbps }) =>
        `channel ${id}: ${Math.floor(bytes / 1024)} kbytes, normal: ${normal} pages, zero: ${zero} pages, ` +
        `${mbps.toFixed(2)} mbps\n`
      ).join("") || "no multifd channels\n",
  },
  qmp: { name: "x-query-channels" },
  run({ outgoing }): ChannelInfo[] {
    const { counters, totalTime, times } = outgoing;
    const ms = Math.max(1, totalTime - times.setup);
    return (counters.channels ?? []).map((channel, id) => ({ id, ...channel, mbps: channel.bytes * 8 / ms / 1000 }));
  },
};

/** What the channels of a migration carry. */
export const multifdChannels: Plugin = Object.freeze<Plugin>({
  name: "multifd-channels",
  help: "info channels",
  commands: [infoChannels],
});

/**
 * Where the registers of a configuration space have their bytes: those of the header, and capabilities as a whole. What a
 * chipset keeps behind the header has no place told, nor have extended capabilities.
 *
 * Source: PCI Local Bus 3.0, chapter 6 and appendix H; PCI-to-PCI Bridge 1.2, chapter 3; PCI Express 3.0, chapter 7.
 * @module
 */
import type { Registers } from "./pci_parts.ts";
import type { Part } from "./rule.ts";

type Place = readonly [offset: number, length: number];

const EVERY: Readonly<Record<string, Place>> = {
  id: [0, 4],
  command: [4, 2],
  status: [6, 2],
  revision: [8, 1],
  class: [9, 3],
  cache_line_size: [0x0c, 1],
  latency_timer: [0x0d, 1],
  header_type: [0x0e, 1],
  bist: [0x0f, 1],
  interrupt_line: [0x3c, 1],
  interrupt_pin: [0x3d, 1],
};
const ENDPOINT: Readonly<Record<string, Place>> = {
  ...EVERY,
  subsystem: [0x2c, 4],
  rom: [0x30, 4],
  min_gnt: [0x3e, 1],
  max_lat: [0x3f, 1],
};
const BRIDGE: Readonly<Record<string, Place>> = {
  ...EVERY,
  primary_bus: [0x18, 1],
  secondary_bus: [0x19, 1],
  subordinate_bus: [0x1a, 1],
  secondary_latency_timer: [0x1b, 1],
  io_window: [0x1c, 2],
  secondary_status: [0x1e, 2],
  memory_window: [0x20, 4],
  prefetchable_window: [0x24, 12],
  rom: [0x38, 4],
  bridge_control: [0x3e, 2],
};

/** Bytes of a capability by its id; of others the id and the offset of the next one. */
const CAPABILITY_BYTES: Readonly<Record<number, (config: Registers, at: number) => number>> = {
  0x01: () => 8,
  0x05: (config, at) => {
    const control = config.u16(at + 2);
    return 10 + (control & 0x80 ? 4 : 0) + (control & 0x100 ? 10 : 0);
  },
  0x09: (config, at) => Math.max(3, config.u8(at + 2)),
  0x0d: () => 8,
  0x11: () => 12,
};

/** The same parts, with their bytes where those are known. */
export function withPlaces(config: Registers, parts: readonly Part[]): Part[] {
  const table = [ENDPOINT, BRIDGE][config.u8(0x0e) & 0x7f] ?? EVERY;
  return parts.map((part) => {
    const place = Object.hasOwn(table, part.name) ? table[part.name] : numbered(config, part);
    return place && config.has(...place) ? { ...part, offset: place[0], length: place[1] } : part;
  });
}

/** bar[2], capability[0x98] */
function numbered(config: Registers, { name }: Part): Place | undefined {
  const [, kind, number] = /^(bar|capability)\[(\d+|0x[0-9a-f]+)\]$/.exec(name) ?? [];
  if (kind === undefined) return undefined;
  const at = Number(number);
  if (kind === "bar") {
    const offset = 0x10 + 4 * at;
    // bits 2..0 are 100 of memory of 64 bits
    return [offset, (config.u8(offset) & 7) === 4 ? 8 : 4];
  }
  return [at, CAPABILITY_BYTES[config.u8(at)]?.(config, at) ?? 2];
}

/**
 * PCI devices of a stream as their configuration space has them, and what bridges let through.
 *
 *     idstr     0000:00:02.0/vga            domain, root bus, slot and function, then the section's own name
 *               0000:00:01.0:00.0/vga       behind a bridge, which is 0000:00:01.0; deeper ones go on like that
 *               0000:80:03.0:00.0/...       of an expander at slot 3: 80 is its bus, and it has no window
 *     body      u32 version | configuration, little-endian: 0x04 command, bit 1 decodes memory; 0x0a class; 0x0e header
 *     bridge    header 1: windows, see pci_registers.ts; 0x3e control, bit 3 lets VGA through
 *
 * Source: QEMU hw/pci/pci.c (pcibus_get_dev_path, vmstate_pci_device), pci_bridge.c (pci_bridge_init_vga_aliases),
 * hw/pci-bridge/pci_expander_bridge.c.
 * @module
 */
import type { DeviceSection } from "./guest.ts";
import { readWindow } from "./pci_registers.ts";

/** version_id of vmstate_pci_device. */
const PCI_VERSION = 2;
const PCI_COMMAND = 0x04, PCI_HEADER_TYPE = 0x0e;
const PCI_BRIDGE_CONTROL = 0x3e;
const PCI_COMMAND_MEMORY = 2, PCI_BRIDGE_CTL_VGA = 8;
/** Bytes of the configuration that are looked at. */
const HEADER = 0x40;
const PCI_DEVICE = /^([0-9a-f]{4}:[0-9a-f]{2}(?::[0-9a-f]{2}\.[0-7])+)\/([^/]+)$/;
/** The device that makes a further root bus. */
const EXPANDER = /^[0-9a-f]{4}:(?!00)[0-9a-f]{2}:[0-9a-f]{2}\.[0-7]$/;

/** A device with its configuration. */
export interface PciDevice {
  /** Where it is: "0000:00:02.0". */
  readonly path: string;
  /** What its section is called: "vga". */
  readonly name: string;
  /** The first 64 bytes of its configuration. */
  readonly config: DataView;
}

/** Addresses from `base` on, `end` not among them. */
export interface Span {
  readonly base: number;
  readonly end: number;
}

/** Whether a section may be that of a PCI device. */
export function isPciDevice(idstr: string): boolean {
  return PCI_DEVICE.test(idstr);
}

/** Whether a device answers to addresses of memory at all. */
export function decodesMemory(config: DataView): boolean {
  return (config.getUint16(PCI_COMMAND, true) & PCI_COMMAND_MEMORY) !== 0;
}

/** The PCI devices among sections. */
export class PciDevices {
  /** Those that are no bridges. */
  readonly endpoints: readonly PciDevice[];
  readonly #bridges = new Map<string, DataView>();

  /** Sections that do not begin with a configuration are left out. */
  constructor(sections: readonly DeviceSection[]) {
    const endpoints: PciDevice[] = [];
    for (const { idstr, body } of sections) {
      const [, path, name] = PCI_DEVICE.exec(idstr) ?? [];
      if (path === undefined || body.length < 4 + HEADER) continue;
      const view = new DataView(body.buffer, body.byteOffset, 4 + HEADER);
      const header = view.getUint8(4 + PCI_HEADER_TYPE) & 0x7f;
      if (view.getUint32(0) !== PCI_VERSION || header > 1) continue;
      const config = new DataView(body.buffer, body.byteOffset + 4, HEADER);
      if (header === 1) this.#bridges.set(path, config);
      else endpoints.push({ path, name, config });
    }
    this.endpoints = endpoints;
  }

  /** What of a span is seen by the processor, where a device at `path` has it. */
  through(path: string, span: Span): readonly Span[] {
    let seen: readonly Span[] = [span];
    for (let up = above(path); up !== undefined; up = above(up)) {
      const config = this.#bridges.get(up);
      if (config) seen = windows(config).flatMap((window) => seen.flatMap((each) => common(each, window)));
      else if (!EXPANDER.test(up)) return [];
    }
    return seen;
  }

  /** Whether 0xa0000 gets as far as to a device at `path`. */
  letsVgaThrough(path: string): boolean {
    for (let up = above(path); up !== undefined; up = above(up)) {
      const config = this.#bridges.get(up);
      if (!config && EXPANDER.test(up)) continue;
      const control = config?.getUint16(PCI_BRIDGE_CONTROL, true) ?? 0;
      if (!config || !decodesMemory(config) || !(control & PCI_BRIDGE_CTL_VGA)) return false;
    }
    return true;
  }
}

/** The bridge a device is behind; undefined on a root bus. */
function above(path: string): string | undefined {
  const end = path.lastIndexOf(":");
  return end > "0000:00".length ? path.slice(0, end) : undefined;
}

/** What a bridge passes on: memory, and memory that may be prefetched. */
function windows(config: DataView): Span[] {
  if (!decodesMemory(config)) return [];
  const spans = (["memory", "prefetchable"] as const).map((kind): Span => {
    const { base, limit } = readWindow(config, kind);
    return { base: Number(base), end: Number(limit) + 1 };
  });
  return spans.filter(({ base, end }) => base < end && Number.isSafeInteger(end));
}

function common(a: Span, b: Span): Span[] {
  const base = Math.max(a.base, b.base), end = Math.min(a.end, b.end);
  return base < end ? [{ base, end }] : [];
}

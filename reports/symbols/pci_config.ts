/**
 * A PCI configuration space as its registers.
 *
 *     id                       1af4:1041  virtio-net
 *     command                  0x0507  IO MEMORY MASTER SERR INTX_DISABLE
 *     class                    0x020000  Ethernet controller
 *     bar[4]                   64 bit prefetchable memory at 0xfe000000
 *     capability[0x98]
 *       id                     0x11  MSI-X
 *
 * Words as `info pci` has them. A BAR of which all bits are 0 is none, or one that has no place yet: both look alike, so it is
 * left out. What has a place but is switched off in `command` is said to be. Source: PCI Local Bus 3.0, chapter 6; PCI-to-PCI
 * Bridge 1.2, chapter 3; QEMU hw/pci/pci.c, pci-hmp-cmds.c (hmp_info_pci_device), include/standard-headers/linux/pci_regs.h.
 * @module
 */
import { readBar, readRom, readWindow, type WindowKind } from "../../guest/pci_registers.ts";
import { capabilities } from "./pci_capabilities.ts";
import { chipsetRegisters } from "./pci_chipset.ts";
import { extendedCapabilities } from "./pci_extended.ts";
import { BRIDGE_CONTROL, className, COMMAND, deviceName, idText, STATUS } from "./pci_names.ts";
import { flags, present, register, Registers, words } from "./pci_parts.ts";
import { withPlaces } from "./pci_places.ts";
import { hexText, type Meaning, type Part } from "./rule.ts";

/** Bytes of the header that every device has. */
const HEADER = 0x40;
const COMMAND_IO = 1, COMMAND_MEMORY = 2, STATUS_CAP_LIST = 0x10;
/** Bytes of a space with extended capabilities. */
const EXTENDED = 0x1000;

/** What a configuration space says; undefined where it is too short to have a header. */
export function describeConfig(bytes: Uint8Array): Meaning | undefined {
  if (bytes.length < HEADER) return undefined;
  const config = new Registers(bytes);
  const vendor = config.u16(0), device = config.u16(2);
  const what = [deviceName(vendor, device), className(config.u16(0x0a))].filter((name) => name !== undefined);
  return {
    text: `${bytes.length} bytes`,
    meaning: `${idText(vendor, device)} ${what.join(", ")}`.trim(),
    parts: withPlaces(config, configParts(config)),
  };
}

function configParts(config: Registers): Part[] {
  const header = config.u8(0x0e) & 0x7f;
  const kind = ["endpoint", "PCI bridge", "CardBus bridge"][header];
  const parts: Part[] = [
    ...commonParts(config, kind),
    ...(header === 0 ? endpointParts(config) : header === 1 ? bridgeParts(config) : []),
  ];
  const pin = config.u8(0x3d), line = config.u8(0x3c);
  parts.push({ name: "interrupt_line", value: line, text: String(line) });
  parts.push({ name: "interrupt_pin", value: pin, text: String(pin), meaning: pinName(pin) ?? (pin ? "" : "none") });
  if (header === 0) {
    if (config.u8(0x3e)) parts.push(register("min_gnt", config.u8(0x3e), 2));
    if (config.u8(0x3f)) parts.push(register("max_lat", config.u8(0x3f), 2));
  } else if (header === 1) {
    parts.push(flags("bridge_control", config.u16(0x3e), 4, BRIDGE_CONTROL));
  }
  parts.push(...chipsetRegisters(config));
  if (config.u16(6) & STATUS_CAP_LIST && header < 2) parts.push(...capabilities(config));
  if (config.length >= EXTENDED) parts.push(...extendedCapabilities(config));
  return parts;
}

function commonParts(config: Registers, kind: string | undefined): Part[] {
  const vendor = config.u16(0), device = config.u16(2), type = config.u8(0x0e), bist = config.u8(0x0f);
  const many = type & 0x80 ? "multifunction" : "";
  return present([
    words("id", idText(vendor, device), deviceName(vendor, device)),
    flags("command", config.u16(4), 4, COMMAND),
    flags("status", config.u16(6), 4, STATUS),
    register("revision", config.u8(8), 2),
    register("class", config.u16(0x0a) << 8 | config.u8(9), 6, className(config.u16(0x0a))),
    config.u8(0x0c) !== 0 && register("cache_line_size", config.u8(0x0c), 2, `${config.u8(0x0c) * 4} bytes`),
    config.u8(0x0d) !== 0 && register("latency_timer", config.u8(0x0d), 2),
    register("header_type", type, 2, [kind, many].filter((word) => word).join(", ")),
    bist !== 0 && register("bist", bist, 2),
  ]);
}

function endpointParts(config: Registers): Part[] {
  const vendor = config.u16(0x2c), device = config.u16(0x2e);
  return present([
    ...barParts(config, 6),
    words("subsystem", idText(vendor, device)),
    romPart(config, 0x30),
  ]);
}

function bridgeParts(config: Registers): Part[] {
  const bus = (name: string, at: number): Part => ({ name, value: config.u8(at), text: String(config.u8(at)) });
  return present([
    ...barParts(config, 2),
    bus("primary_bus", 0x18),
    bus("secondary_bus", 0x19),
    bus("subordinate_bus", 0x1a),
    config.u8(0x1b) !== 0 && register("secondary_latency_timer", config.u8(0x1b), 2),
    windowPart(config, "io_window", "I/O"),
    flags("secondary_status", config.u16(0x1e), 4, STATUS),
    windowPart(config, "memory_window", "memory"),
    windowPart(config, "prefetchable_window", "prefetchable"),
    romPart(config, 0x38),
  ]);
}

function barParts(config: Registers, count: number): Part[] {
  const parts: Part[] = [];
  for (let n = 0; n < count; n++) {
    const at = 0x10 + 4 * n;
    if (config.u32(at) === 0) continue;
    const { space, address, wide, prefetchable } = readBar(config.view, at);
    const bits = space === "I/O" ? "I/O" : `${wide ? 64 : 32} bit${prefetchable ? " prefetchable" : ""} memory`;
    const name = `bar[${n}]`;
    if (address === 0n) parts.push(words(name, bits, "not mapped"));
    else parts.push(words(name, `${bits} at ${hexText(address)}`, decoded(config, space)));
    if (wide) n++;
  }
  return parts;
}

/** Why a place is not in use; undefined where it is. */
function decoded(config: Registers, space: "I/O" | "memory"): string | undefined {
  return config.u16(4) & (space === "I/O" ? COMMAND_IO : COMMAND_MEMORY) ? undefined : "switched off in command";
}

function romPart(config: Registers, at: number): Part | undefined {
  const { address, enabled } = readRom(config.view, at);
  if (address === 0n && !enabled) return undefined;
  return words("rom", `at ${hexText(address)}`, enabled ? decoded(config, "memory") : "switched off");
}

function windowPart(config: Registers, name: string, kind: WindowKind): Part {
  const { base, limit } = readWindow(config.view, kind);
  if (base > limit) return words(name, "closed");
  const digits = kind === "I/O" ? 4 : 8;
  return words(
    name,
    `${hexText(base, digits)}..${hexText(limit, digits)}`,
    decoded(config, kind === "I/O" ? kind : "memory"),
  );
}

/** "INTA" for 1. */
export function pinName(pin: number): string | undefined {
  return pin >= 1 && pin <= 4 ? "INT" + "ABCD"[pin - 1] : undefined;
}

/**
 * The model guest: a machine made here, as `qemu-system-x86_64 -nodefaults -machine pc -m N -S` has it.
 *
 *     pc.ram                  N                 what --content says
 *     /rom@etc/acpi/tables    0x20000 of 2 MiB  a FACS, else zero
 *     pc.bios                 0x40000           our own: the reset vector leads to F000:E05B, which is cli; hlt; jmp
 *     pc.rom                  0x20000           zero
 *     /rom@etc/table-loader   0x1000 of 64 KiB  zero
 *     /rom@etc/acpi/rsdp      0x1000            an RSDP without tables
 *
 * Its devices are the real sections of such a machine after a reset (model_devices.ts); the two that hold the RAM size are
 * made to fit. A QEMU 10.0 with the same command line loads a stream of it, under TCG and KVM, and then rests in `hlt`.
 * @module
 */
import { type Content, fillContent } from "./content.ts";
import { writePhysical } from "./access.ts";
import { DEFAULT_GLOBALS, type DeviceSection, type Guest } from "./guest.ts";
import { GuestMemory } from "./memory.ts";
import { modelDevices } from "./model_devices.ts";
import { physicalMapFor } from "./physical.ts";
import { checkRamSize } from "./size.ts";

/** Machine type of the model guest. */
export const MODEL_MACHINE = "pc-i440fx-10.0";

/** What RAM holds when nobody says: a pattern in the second MiB, so that reports have something to show. */
export const DEFAULT_CONTENT: Content = Object.freeze({ kind: "pattern", at: 1 << 20, bytes: 1 << 20 });

/** How a model guest is made. */
export interface ModelGuestOptions {
  /** `-m`, in bytes; rounded up to 8 KiB. 1 MiB to 64 GiB. */
  readonly ramBytes: number;
  /** Laid over RAM in order. Default: {@link DEFAULT_CONTENT}. */
  readonly content?: Content | readonly Content[];
  /** `-uuid`: 16 bytes in printed order. */
  readonly uuid?: Uint8Array;
  /** Reads a file for `file:` content. */
  readonly readFile?: (path: string) => Uint8Array;
}

/**
 * Make a model guest.
 * @throws {RangeError} when the RAM size is out of range, or content does not fit into it
 */
export function createModelGuest(options: ModelGuestOptions): Guest {
  const ramBytes = checkRamSize(options.ramBytes);
  const memory = new GuestMemory([
    { idstr: "pc.ram", usedLength: ramBytes },
    { idstr: "pc.bios", usedLength: 0x40000, readonly: true },
    { idstr: "pc.rom", usedLength: 0x20000, readonly: true },
    { idstr: "/rom@etc/acpi/tables", usedLength: 0x20000, maxLength: 0x200000, readonly: true },
    { idstr: "/rom@etc/table-loader", usedLength: 0x1000, maxLength: 0x10000, readonly: true },
    { idstr: "/rom@etc/acpi/rsdp", usedLength: 0x1000, resizeable: true, readonly: true },
  ]);
  writeFirmware(memory);
  let devices: DeviceSection[] | undefined;
  const guest: Guest = {
    kind: "model",
    configuration: options.uuid ? { machine: MODEL_MACHINE, uuid: options.uuid } : { machine: MODEL_MACHINE },
    targetPageSize: 4096,
    memory,
    get devices() {
      return devices ??= modelDevices().map((device) => sized(device, ramBytes));
    },
    iterables: [],
    ramSectionId: 1,
    globals: { ...DEFAULT_GLOBALS },
    physical: physicalMapFor(MODEL_MACHINE, memory),
  };
  const content = options.content ?? DEFAULT_CONTENT;
  for (const layer of Array.isArray(content) ? content : [content]) {
    if (layer.kind === "file") layFile(guest, layer.path, layer.address, options.readFile);
    else if (layer === DEFAULT_CONTENT) fillContent(memory.block("pc.ram")!, fitting(ramBytes));
    else fillContent(memory.block("pc.ram")!, layer);
  }
  return guest;
}

/** The default pattern, in a guest that may have less than 2 MiB. */
function fitting(ramBytes: number): Exclude<Content, { kind: "file" }> {
  const at = 1 << 20;
  return { kind: "pattern", at, bytes: Math.min(1 << 20, ramBytes - at) };
}

function layFile(guest: Guest, path: string, address: number, readFile?: (path: string) => Uint8Array): void {
  if (!readFile) throw new RangeError(`Cannot lay "${path}" into the guest: no way to read files was given`);
  const bytes = readFile(path);
  const done = writePhysical(guest, address, bytes);
  if (done < bytes.length) {
    throw new RangeError(
      `Cannot lay "${path}" at 0x${address.toString(16)}: the guest has no memory at 0x${
        (address + done).toString(16)
      }`,
    );
  }
}

/** Firmware of our own, and the two tables a look into the blocks would miss. */
function writeFirmware(memory: GuestMemory): void {
  const bios = memory.block("pc.bios")!;
  // ffff0  ea 5b e0 00 f0              ljmp $0xf000, $0xe05b
  // ffff5  "06/23/99" 00 fc 00         date and model byte, where a PC has them
  bios.write(bios.usedLength - 16, Uint8Array.fromHex("ea5be000f030362f32332f393900fc00"));
  // fe05b  fa        cli
  // fe05c  f4        hlt               an NMI leaves it
  // fe05d  eb fd     jmp 0xfe05c
  bios.write(bios.usedLength - 0x10000 + 0xe05b, Uint8Array.of(0xfa, 0xf4, 0xeb, 0xfd));

  const rsdp = new Uint8Array(20);
  rsdp.set(new TextEncoder().encode("RSD PTR "));
  rsdp.set(new TextEncoder().encode("MIGLAB"), 9);
  rsdp[8] = -rsdp.reduce((sum, byte) => sum + byte, 0) & 0xff;
  memory.block("/rom@etc/acpi/rsdp")!.write(0, rsdp);

  const facs = new Uint8Array(64);
  facs.set(new TextEncoder().encode("FACS"));
  facs[4] = facs.length;
  memory.block("/rom@etc/acpi/tables")!.write(0, facs);
}

/**
 * A section with the RAM size put into it, as a firmware would look for it.
 * Source: QEMU hw/i386/pc.c (pc_cmos_init), hw/pci-host/i440fx.c (I440FX_COREBOOT_RAM_SIZE).
 */
function sized(device: DeviceSection, ramBytes: number): DeviceSection {
  const body = new DataView(device.body.buffer, device.body.byteOffset, device.body.length);
  const below = ramBytes >= 0xe0000000 ? 0xc0000000 : ramBytes;
  if (device.idstr === "mc146818rtc") {
    // the CMOS bytes come first in the section, so index = offset; KiB up to 640, KiB above 1 MiB (twice), 64 KiB
    // above 16 MiB, 64 KiB above 4 GiB
    body.setUint16(0x15, 640, true);
    const extended = Math.min(0xffff, Math.floor((below - 0x100000) / 1024));
    body.setUint16(0x17, extended, true);
    body.setUint16(0x30, extended, true);
    body.setUint16(0x34, below > 0x1000000 ? Math.min(0xffff, Math.floor((below - 0x1000000) / 65536)) : 0, true);
    const above = (ramBytes - below) / 65536;
    body.setUint16(0x5b, above & 0xffff, true);
    body.setUint8(0x5d, above >> 16);
  }
  // 8 MiB units in PCI configuration, which follows a 4-byte version
  if (device.idstr === "0000:00:00.0/I440FX") body.setUint8(4 + 0x57, Math.min(255, Math.floor(ramBytes / 2 ** 23)));
  return device;
}

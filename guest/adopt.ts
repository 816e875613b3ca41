/**
 * Making a guest of what a stream holds.
 *
 *     new GuestBuilder()                   take what comes: kind "adopted", blocks as listed
 *     new GuestBuilder({ expect: guest })  the content lands in that guest's memory; ask `matchBlocks` first
 *
 *     setConfiguration, setBlocks, then any order of startIterable/addPart/endIterable and addDevice, describe, finish
 *
 * @module
 */
import { readGlobalState } from "./global_state.ts";
import {
  DEFAULT_GLOBALS,
  type DeviceSection,
  type Guest,
  type GuestConfiguration,
  type IterableSection,
  type RunState,
  type StreamGlobals,
} from "./guest.ts";
import { GuestMemory, type RamBlockSpec } from "./memory.ts";
import { physicalMapFor } from "./physical.ts";

/** Blocks QEMU lets grow, with their maximum: the stream does not say it. Source: hw/core/loader.c, hw/acpi/utils.c. */
const RESIZEABLE: Record<string, number> = {
  "/rom@etc/acpi/tables": 0x200000,
  "/rom@etc/table-loader": 0x10000,
  "/rom@etc/acpi/rsdp": 0x1000,
};

/** Most bytes of RAM a guest can be adopted with: what is known of each MiB costs a byte. */
export const MAX_ADOPTED = 2 ** 40;

/** What stands in the header of a section. */
export interface SectionHeader {
  /** "dirty-bitmap", "0000:00:03.0/vfio". */
  readonly idstr: string;
  /** Tells sections of one idstr apart. */
  readonly instanceId: number;
  /** Of the handler that wrote it. */
  readonly versionId: number;
  /** What PART and END refer to. */
  readonly sectionId: number;
}

/** Text of one device in the VMDESCRIPTION. */
export interface DeviceText {
  /** Its "name". */
  readonly idstr: string;
  /** Its "instance_id". */
  readonly instanceId: number;
  /** The whole object, as it stands in the description. */
  readonly text: string;
}

/** Collects a guest while a stream is read. */
export class GuestBuilder {
  readonly #expect?: Guest;
  #configuration: GuestConfiguration = { machine: "" };
  #memory?: GuestMemory;
  #targetPageSize = 4096;
  #ramSectionId = 0;
  #globals: StreamGlobals = { ...DEFAULT_GLOBALS };
  readonly #devices: DeviceSection[] = [];
  readonly #iterables = new Map<
    number,
    { header: SectionHeader; start: Uint8Array; parts: Uint8Array[]; end?: Uint8Array }
  >();

  /** Begin with nothing. @param options.expect a guest whose memory takes the content; it stays the owner until `finish` */
  constructor(options: { readonly expect?: Guest } = {}) {
    this.#expect = options.expect;
  }

  /** Memory to put pages into; there once {@link GuestBuilder.setBlocks} was called. */
  get memory(): GuestMemory {
    if (!this.#memory) throw new TypeError("Cannot put pages into the guest: its RAM blocks are not known yet");
    return this.#memory;
  }

  /** What the configuration section said. */
  setConfiguration(configuration: GuestConfiguration): this {
    this.#configuration = configuration;
    return this;
  }

  /** How the stream was framed; only what differs from the defaults. */
  setGlobals(globals: Partial<StreamGlobals>): this {
    this.#globals = { ...this.#globals, ...globals };
    return this;
  }

  /**
   * The block list of the `ram` section.
   * @param specs in list order. With `expect` they must have passed {@link matchBlocks}; resizable blocks get their size
   * @param targetPageSize bytes
   * @param ramSectionId   id of the `ram` section
   * @throws {RangeError} for more than 1 TiB, before anything is allocated
   */
  setBlocks(specs: readonly RamBlockSpec[], targetPageSize: number, ramSectionId: number): GuestMemory {
    this.#targetPageSize = targetPageSize;
    this.#ramSectionId = ramSectionId;
    if (this.#expect) {
      for (const { idstr, usedLength } of specs) {
        const block = this.#expect.memory.block(idstr);
        if (block?.resizeable) block.usedLength = Math.min(hostAligned(usedLength), block.maxLength);
      }
      return this.#memory = this.#expect.memory;
    }
    const total = specs.reduce((sum, spec) => sum + spec.usedLength, 0);
    if (!(total <= MAX_ADOPTED && specs.every((spec) => spec.usedLength >= 0))) {
      throw new RangeError(`Cannot hold ${total} bytes of RAM blocks: expected at most 1 TiB`);
    }
    // a block listed twice is one block, as it is to QEMU
    const once = new Map<string, RamBlockSpec>();
    const { machine } = this.#configuration;
    for (const spec of specs) {
      if (!once.has(spec.idstr)) once.set(spec.idstr, { readonly: isRom(spec.idstr, machine), ...resizeable(spec) });
    }
    return this.#memory = new GuestMemory([...once.values()], "listed");
  }

  /** A SECTION_FULL. The body becomes the guest's: pass a copy where the bytes are borrowed. */
  addDevice(section: DeviceSection): this {
    this.#devices.push(section);
    return this;
  }

  /** A SECTION_START of an iterable other than ram. The body becomes the guest's, here and below. */
  startIterable(header: SectionHeader, start: Uint8Array): this {
    this.#iterables.set(header.sectionId, { header, start, parts: [] });
    return this;
  }

  /** A SECTION_PART; empty ones are left out. @returns false when no START had that id */
  addPart(sectionId: number, body: Uint8Array): boolean {
    const section = this.#iterables.get(sectionId);
    if (section && body.length > 0) section.parts.push(body);
    return section !== undefined;
  }

  /** The PART added last grew: its body came in pieces. */
  replacePart(sectionId: number, body: Uint8Array): void {
    const parts = this.#iterables.get(sectionId)?.parts;
    if (parts) parts[Math.max(0, parts.length - 1)] = body;
  }

  /** A SECTION_END. @returns false when no START had that id */
  endIterable(sectionId: number, body: Uint8Array): boolean {
    const section = this.#iterables.get(sectionId);
    if (section) section.end = body;
    return section !== undefined;
  }

  /** Attach the descriptions; each goes to the first device of its name and instance that has none. */
  describe(texts: readonly DeviceText[]): this {
    const queues = new Map<string, number[]>();
    this.#devices.forEach((device, i) => {
      if (device.description !== undefined) return;
      const key = `${device.instanceId} ${device.idstr}`;
      const queue = queues.get(key);
      if (queue) queue.push(i);
      else queues.set(key, [i]);
    });
    for (const { idstr, instanceId, text } of texts) {
      const i = queues.get(`${instanceId} ${idstr}`)?.shift();
      if (i !== undefined) this.#devices[i] = { ...this.#devices[i], description: text };
    }
    return this;
  }

  /** What the stream said the guest was doing, so far; undefined without a `globalstate` section. */
  get savedRunState(): RunState | undefined {
    const section = this.#devices.find(({ idstr }) => idstr === "globalstate");
    return section && readGlobalState(section.body);
  }

  /** The guest. A stream without a `ram` section gives one without memory, or with that of `expect`. */
  finish(): Guest {
    const memory = this.#memory ?? this.#expect?.memory ?? new GuestMemory([], "listed");
    return {
      kind: "adopted",
      configuration: this.#configuration,
      targetPageSize: this.#targetPageSize,
      memory,
      devices: this.#devices,
      iterables: [...this.#iterables.values()].map(({ header, start, parts, end }): IterableSection => {
        const { idstr, instanceId, versionId, sectionId } = header;
        return { idstr, instanceId, versionId, sectionId, start, parts, ...(end ? { end } : {}) };
      }),
      ramSectionId: this.#ramSectionId,
      globals: this.#globals,
      savedRunState: this.savedRunState,
      physical: physicalMapFor(this.#configuration.machine, memory, this.#devices),
    };
  }
}

function resizeable(spec: RamBlockSpec): RamBlockSpec {
  const maxLength = Object.hasOwn(RESIZEABLE, spec.idstr) ? RESIZEABLE[spec.idstr] : undefined;
  return maxLength === undefined
    ? spec
    : { ...spec, maxLength: Math.max(maxLength, spec.usedLength), resizeable: true };
}

/**
 * A ROM to the guest, by the names QEMU gives them: the stream does not say it. Machines without PCI write theirs.
 * Source: hw/core/loader.c rom_set_mr, hw/pci/pci.c pci_add_option_rom, hw/i386/pc.c pc_memory_init,
 * hw/i386/x86-common.c x86_bios_rom_init.
 */
function isRom(idstr: string, machine: string): boolean {
  if (idstr === "pc.bios" || idstr === "pc.rom") return !/^(isapc|microvm)/.test(machine);
  return idstr.startsWith("/rom@") || /^[0-9a-f:.]+\/.*\.rom$/.test(idstr);
}

/**
 * Would a QEMU with this guest's blocks take the block list? Checked in list order, as it is parsed. A block of the guest
 * that is not listed is no fault, nor is one listed twice.
 *
 * Source: QEMU migration/ram.c (parse_ramblocks, parse_ramblock), system/physmem.c (qemu_ram_resize).
 * @param list lengths in bytes, as received
 * @param options.mappedRam lengths are not compared, as QEMU does not
 * @returns QEMU's sentence for the first block it refuses, or undefined
 */
export function matchBlocks(
  expect: Guest,
  list: readonly Pick<RamBlockSpec, "idstr" | "usedLength">[],
  options: { readonly mappedRam?: boolean } = {},
): string | undefined {
  for (const { idstr, usedLength } of list) {
    const block = expect.memory.block(idstr);
    if (!block) return `Unknown ramblock "${idstr}", cannot accept migration`;
    if (options.mappedRam) continue;
    const length = hostAligned(usedLength);
    if (length === block.usedLength) continue;
    if (!block.resizeable) {
      return `Size mismatch: ${idstr}: ${hex(length)} != ${hex(block.usedLength)}: Invalid argument`;
    }
    if (length > block.maxLength) {
      return `Size too large: ${idstr}: ${hex(length)} > ${hex(block.maxLength)}: Invalid argument`;
    }
  }
  return undefined;
}

/** QEMU rounds a received length up to the host's page, 4 KiB. */
function hostAligned(length: number): number {
  return Math.ceil(length / 4096) * 4096;
}

function hex(value: number): string {
  return "0x" + value.toString(16);
}

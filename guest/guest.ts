/**
 * A virtual machine once decoded: what a stream is made from, and what it becomes.
 *
 * *Adopted*: everything a loaded stream held, so that it can be saved again in any format.
 * *Model*: made here, with a plausible machine and a small set of devices (see model.ts).
 * @module
 */
import type { GuestMemory } from "./memory.ts";

/** RunState of QAPI, the values a stream or a monitor may show. */
export type RunState =
  | "debug"
  | "inmigrate"
  | "internal-error"
  | "io-error"
  | "paused"
  | "postmigrate"
  | "prelaunch"
  | "finish-migrate"
  | "restore-vm"
  | "running"
  | "save-vm"
  | "shutdown"
  | "suspended"
  | "watchdog"
  | "guest-panicked"
  | "colo";

/** A non-iterable device section (SECTION_FULL): bytes, and their description when there is one. */
export interface DeviceSection {
  /** Name it travels under: device path and vmsd name. */
  readonly idstr: string;
  /** Tells devices of one name apart. */
  readonly instanceId: number;
  /** Version of its layout. */
  readonly versionId: number;
  /** The id it travels under; kept so that a saved stream equals the loaded one. */
  readonly sectionId: number;
  /** What stands between header and footer. Owned by the guest. */
  body: Uint8Array;
  /** Text of its object in the VMDESCRIPTION, `{"name": "timer", "instance_id": 0, ...}`. */
  readonly description?: string;
  /** True for sections written during setup, before the first PART of ram (`early_setup`: virtio-mem). */
  readonly early?: boolean;
}

/** An iterable section other than ram (dirty-bitmap, spapr/htab): its pieces as they travelled. */
export interface IterableSection {
  /** "dirty-bitmap", "spapr/htab". */
  readonly idstr: string;
  /** Tells sections of one name apart. */
  readonly instanceId: number;
  /** Version of its layout. */
  readonly versionId: number;
  /** The id it travels under. */
  readonly sectionId: number;
  /** Body of its START. */
  readonly start: Uint8Array;
  /** Bodies of PARTs, in order, empty ones left out. */
  readonly parts: readonly Uint8Array[];
  /** Body of its END, where it had one. */
  readonly end?: Uint8Array;
}

/** Configuration a stream begins with, apart from capabilities (those belong to the migration). */
export interface GuestConfiguration {
  /** Versioned machine name: "pc-i440fx-10.0". Empty when the stream had no configuration section. */
  readonly machine: string;
  /** Written only by targets whose page size is not fixed (arm, aarch64). */
  readonly targetPageBits?: number;
  /** 16 bytes in printed order; travels with validate-uuid. */
  readonly uuid?: Uint8Array;
}

/** How a stream of this guest is framed (properties of QEMU's `migration` object). */
export interface StreamGlobals {
  /** A configuration section follows the header. */
  sendConfiguration: boolean;
  /** Each section ends with `7e` and its id. */
  sendSectionFooter: boolean;
  /** SWITCHOVER_START is sent when the guest has been stopped (machine types from 10.0 on). */
  sendSwitchoverStart: boolean;
  /** The `globalstate` section says what the guest was doing. */
  storeGlobalState: boolean;
  /** No VMDESCRIPTION behind the end (a machine property). */
  suppressVmdesc: boolean;
  /** multifd: a SYNC packet belongs to each end of a section. Left out: as its machine type has it (up to 8.0). */
  multifdFlushAfterEachSection?: boolean;
}

/** Defaults of QEMU 10.0 with a 10.0 machine. */
export const DEFAULT_GLOBALS: Readonly<StreamGlobals> = Object.freeze({
  sendConfiguration: true,
  sendSectionFooter: true,
  sendSwitchoverStart: true,
  storeGlobalState: true,
  suppressVmdesc: false,
});

/** A virtual machine. */
export interface Guest {
  /** Where it came from. */
  readonly kind: "model" | "adopted";
  /** What a stream of it begins with. */
  readonly configuration: GuestConfiguration;
  /** Bytes of a target page: 4096 for x86, 1024 for some arm boards. */
  readonly targetPageSize: number;
  /** Its RAM. */
  readonly memory: GuestMemory;
  /** In stream order. `globalstate` is among them; savers rewrite its body with the run state. */
  readonly devices: DeviceSection[];
  /** Iterable sections other than ram, as they came. */
  readonly iterables: readonly IterableSection[];
  /** Section id of ram. */
  readonly ramSectionId: number;
  /** How it was framed; a save frames it alike. */
  readonly globals: StreamGlobals;
  /** Run state the stream carried (adopted), or undefined. */
  readonly savedRunState?: RunState;
  /** Where guest-physical addresses lie, for x, xp and pmemsave; undefined when the machine is not known. */
  readonly physical?: PhysicalMap;
}

/** One range of guest-physical addresses backed by a block. */
export interface PhysicalRange {
  /** Guest-physical address of the first byte. */
  readonly base: number;
  /** Bytes. */
  readonly length: number;
  /** The block behind it. */
  readonly idstr: string;
  /** Byte of the block at `base`. */
  readonly blockOffset: number;
}

/** Ranges sorted by base, not overlapping; what no range covers cannot be accessed. */
export type PhysicalMap = readonly PhysicalRange[];

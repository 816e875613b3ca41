/**
 * Numbers of the wire, in QEMU's spelling. Source: migration/savevm.h, migration/ram.h, migration/savevm.c.
 * @module
 */

export const QEMU_VM_FILE_MAGIC = 0x5145564d;
export const QEMU_VM_FILE_VERSION_COMPAT = 2;
export const QEMU_VM_FILE_VERSION = 3;

export const QEMU_VM_EOF = 0x00;
export const QEMU_VM_SECTION_START = 0x01;
export const QEMU_VM_SECTION_PART = 0x02;
export const QEMU_VM_SECTION_END = 0x03;
export const QEMU_VM_SECTION_FULL = 0x04;
export const QEMU_VM_SUBSECTION = 0x05;
export const QEMU_VM_VMDESCRIPTION = 0x06;
export const QEMU_VM_CONFIGURATION = 0x07;
export const QEMU_VM_COMMAND = 0x08;
export const QEMU_VM_SECTION_FOOTER = 0x7e;

export const RAM_SAVE_FLAG_FULL = 0x01;
export const RAM_SAVE_FLAG_ZERO = 0x02;
export const RAM_SAVE_FLAG_MEM_SIZE = 0x04;
export const RAM_SAVE_FLAG_PAGE = 0x08;
export const RAM_SAVE_FLAG_EOS = 0x10;
export const RAM_SAVE_FLAG_CONTINUE = 0x20;
export const RAM_SAVE_FLAG_XBZRLE = 0x40;
export const RAM_SAVE_FLAG_HOOK = 0x80;
export const RAM_SAVE_FLAG_COMPRESS_PAGE = 0x100;
export const RAM_SAVE_FLAG_MULTIFD_FLUSH = 0x200;

/** Version of the `ram` section. */
export const RAM_SAVE_VERSION = 4;

export const MAPPED_RAM_HDR_VERSION = 1;
/** Bytes of a MappedRamHeader: u32 version, u64 page_size, u64 bitmap_offset, u64 pages_offset. */
export const MAPPED_RAM_HDR_SIZE = 28;
/** pages_offset is the next multiple of this in the file. */
export const MAPPED_RAM_FILE_OFFSET_ALIGNMENT = 0x100000;

export const MULTIFD_MAGIC = 0x11223344;
export const CPR_MAGIC = 0x51435052;

/** enum qemu_vm_cmd; the index is the number on the wire. */
export const MIG_CMD = [
  "INVALID",
  "OPEN_RETURN_PATH",
  "PING",
  "POSTCOPY_ADVISE",
  "POSTCOPY_LISTEN",
  "POSTCOPY_RUN",
  "POSTCOPY_RAM_DISCARD",
  "PACKAGED",
  "ENABLE_COLO",
  "POSTCOPY_RESUME",
  "RECV_BITMAP",
  "SWITCHOVER_START",
] as const;
/** Name of a MIG_CMD. */
export type MigCommandName = typeof MIG_CMD[number];

/** Exact payload lengths; undefined: the command judges itself (mig_cmd_args). */
export const MIG_CMD_LENGTH: readonly (number | undefined)[] = [
  undefined,
  0,
  4,
  undefined,
  0,
  0,
  undefined,
  4,
  0,
  0,
  undefined,
  0,
];

/** Capability names a configuration section may hold, in enum order (qapi/migration.json MigrationCapability). */
export const MIGRATION_CAPABILITIES = [
  "xbzrle",
  "rdma-pin-all",
  "auto-converge",
  "zero-blocks",
  "events",
  "postcopy-ram",
  "x-colo",
  "release-ram",
  "return-path",
  "pause-before-switchover",
  "multifd",
  "dirty-bitmaps",
  "postcopy-blocktime",
  "late-block-activate",
  "x-ignore-shared",
  "validate-uuid",
  "background-snapshot",
  "zero-copy-send",
  "postcopy-preempt",
  "switchover-ack",
  "dirty-limit",
  "mapped-ram",
] as const;
/** One of QEMU's capability names. */
export type MigrationCapability = typeof MIGRATION_CAPABILITIES[number];

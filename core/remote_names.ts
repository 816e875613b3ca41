/**
 * What a machine can be asked to complete: the kinds of names that stand on a line of its monitor, and its answer.
 * @module
 */

/** What could stand for one argument. */
export type NameKind =
  /** A device and its properties: "e1000,netdev=n0". */
  | "device-options"
  /** A user-creatable object and its properties. */
  | "object-options"
  /** A network backend and its options. */
  | "netdev-options"
  | "chardev-backends"
  /** Devices that can be unplugged, by id. */
  | "devices"
  | "objects"
  | "netdevs"
  /** Backends and NICs: whatever has a link. */
  | "net-clients"
  | "chardevs"
  | "ringbufs"
  /** Block devices. */
  | "blocks"
  /** Block devices, and nodes that were given a name. */
  | "nodes"
  /** Block devices, and block jobs. */
  | "jobs"
  /** Internal snapshots, by tag and by id. */
  | "snapshots"
  | "trace-events"
  /** Keys joined by hyphens. */
  | "keys"
  | "watchdog-actions"
  /** Sets of descriptors, by number. */
  | "fdsets"
  | "qom-paths"
  /** Properties of the object named before. */
  | "qom-properties";

/** What a machine knows that could stand there. */
export interface Names {
  /** The fitting ones, sorted. */
  readonly words: readonly string[];
  /** The end of what was typed that they replace. */
  readonly typed: string;
  /** More may follow a word without a blank. */
  readonly open?: boolean;
  /** Said where there are none. */
  readonly hint?: string;
}

/**
 * What a workbench is made of, and how it is opened.
 * @module
 */
import type { Content } from "../guest/content.ts";
import type { ByteSource } from "../stream/channel.ts";
import type { HostLimits, Plugin } from "./plugin.ts";
import type { InspectHook } from "./session.ts";
import type { Transport } from "./transport.ts";

/** Where the stream of a saved guest is. */
export interface SavedStream {
  /** Offset in the file, where the stream stands there as it is. */
  readonly offset?: number;
  /** Gives the stream, where it does not. */
  readonly source?: ByteSource;
  /** Why what packs the stream ended early, once it has. */
  problem(): string | undefined;
  /** Give the file back. */
  close(): void;
}

/** Where in its file, and in which files beside it, a saved guest is. */
export interface SavedPlace {
  /** Where the stream, or what it is packed in, begins. */
  readonly offset: number;
  /** Files of further channels. */
  readonly channels?: readonly string[];
  /** Internal snapshot of a qcow2 image, by name or id. */
  readonly snapshot?: string;
}

/** The parts a workbench is put together from. */
export interface Assembly {
  /** Plugins every workbench put together like this has. */
  readonly plugins: readonly Plugin[];
  /** Transports, in the order their schemes are tried. */
  readonly transports: readonly Transport[];
  /** What `inspect FILE` shows. */
  readonly inspect?: InspectHook;
  /** Imports a module that exports a plugin. */
  readonly importPlugin?: (specifier: string) => Promise<Plugin>;
  /** Reads a file for `file:PATH@ADDRESS` content. */
  readonly readFile?: (path: string) => Uint8Array;
  /**
   * Finds the stream of a saved guest in its file; with further channels in files of their own it gives all of them as one.
   * Absent: the file is the stream.
   */
  readonly findStream?: (path: string, place: SavedPlace) => Promise<SavedStream>;
}

/** How a workbench is opened. */
export interface WorkbenchOptions {
  /** RAM of the model guest: bytes, or "256M". Default 256 MiB. With `incoming`: what comes must fit it. */
  readonly ram?: string | number;
  /** What its RAM holds: "zero", "pattern", "random:seed=7,bytes=1G", "file:PATH@ADDRESS". */
  readonly content?: string | Content | readonly Content[];
  /** A saved guest to load instead of making one. */
  readonly guest?: string;
  /** Where in that file the stream begins. */
  readonly offset?: number;
  /** Files of the further channels it was sent over: multifd, postcopy-preempt. */
  readonly channels?: readonly string[];
  /** Where that file is a qcow2 image: the internal snapshot, by name or id. Default: the one taken last that has VM state. */
  readonly snapshot?: string;
  /**
   * A running QEMU's monitor socket: PATH, unix:PATH or tcp:HOST:PORT. Then the machine is QEMU's, and nothing that describes
   * one may be given.
   */
  readonly qmp?: string;
  /** Be a destination: a URI, or "defer" to wait for `migrate_incoming`. */
  readonly incoming?: string;
  /** `-S`: do not start the guest. */
  readonly stopped?: boolean;
  /** Further plugins. */
  readonly plugins?: readonly Plugin[];
  /** Whose rules to follow; nothing is executed either way. Default "tcg". */
  readonly accelerator?: "tcg" | "kvm";
  /** KVM's `dirty-ring-size` is set. */
  readonly dirtyRing?: boolean;
  /** `-global migration.NAME=VALUE`. */
  readonly globals?: Readonly<Record<string, string>>;
  /** Machine type whose defaults hold: "pc-i440fx-8.2". */
  readonly machine?: string;
  /** `-name` */
  readonly name?: string;
  /** "11111111-2222-3333-4444-555555555555" */
  readonly uuid?: string;
  /** `-only-migratable` */
  readonly onlyMigratable?: boolean;
  /** Reasons that block migration. */
  readonly blockers?: readonly string[];
  /** What the host lacks, for the rules that ask. */
  readonly host?: HostLimits;
  /** Lines QEMU would write on stderr. Default: they are dropped. */
  readonly report?: (line: string) => void;
  /** Inspect hook, in place of the assembly's. */
  readonly inspect?: InspectHook;
}

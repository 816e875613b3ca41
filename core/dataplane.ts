/**
 * The seam between the monitor's state machines and the bytes: what a save and a load are asked to do, and whom they
 * tell. `save.ts` and `load.ts` implement it; `outgoing.ts` and `incoming.ts` call it.
 * @module
 */
import type { Guest, RunState } from "../guest/guest.ts";
import type { RamCounters, RamStrategy, Tables } from "./plugin.ts";
import type { Channel } from "./transport.ts";

/** Told about the moments of a save that the monitor shows. */
export interface SaveObserver {
  /** Headers and the RAM block list are written: first dirty sync done, then status `active`. */
  setupDone(): void;
  /** A dirty bitmap sync happened (`counters.dirtySyncCount` is already increased): MIGRATION_PASS. Not called for the first. */
  pass(): void;
  /**
   * All that could be sent while the guest ran is sent. Stop it, pass through pre-switchover if asked to, and end in
   * status `device`. The save goes on when the promise resolves; a rejection fails it.
   */
  switchover(): void | Promise<void>;
  /** Run state to write into `globalstate`: what the guest was before `switchover` stopped it. */
  runState(): RunState;
}

/** One outgoing migration. */
export interface SaveRequest {
  /** The guest to write. */
  readonly guest: Guest;
  /** Where the stream goes; closed by the caller. */
  readonly channel: Channel;
  /** Further channels (multifd), open, in the order of their numbers; closed by the caller. */
  readonly channels?: readonly Channel[];
  /** Is the capability on? Fixed while a migration runs. */
  readonly capability: (name: string) => boolean;
  /** Value of a parameter now: bandwidth and the like may change while it runs. */
  readonly parameter: (name: string) => unknown;
  /** Codecs of plugins. */
  readonly tables?: Partial<Tables>;
  /** Chosen by capability; undefined: plain pages in the stream. */
  readonly strategy?: RamStrategy;
  /** Kept true while the save runs. */
  readonly counters: RamCounters;
  /** Aborted by `migrate_cancel`. */
  readonly signal: AbortSignal;
  /** Told about the moments the monitor shows. */
  readonly observer: SaveObserver;
  /** Lines QEMU would write on stderr beside the error itself. */
  readonly report?: (line: string) => void;
  /** Told after each 100 ms window, in bytes and pages per second. */
  readonly onRate?: (rate: { bytesPerSecond: number; pagesPerSecond: number; expectedDowntimeMs: number }) => void;
}

/** One incoming migration. */
export interface LoadRequest {
  /** Where the stream comes from; closed by the caller. */
  readonly channel: Channel;
  /** Further channels (multifd), open; closed by the caller. */
  readonly channels?: readonly Channel[];
  /** Threads for them that were started ahead; closed by the caller. */
  readonly threads?: { take(): Worker | undefined };
  /** Is the capability on here? Compared with what the stream says. */
  readonly capability: (name: string) => boolean;
  /** Value of a parameter, by QMP name. */
  readonly parameter: (name: string) => unknown;
  /** Codecs of plugins. */
  readonly tables: Tables;
  /**
   * Be strict, as a QEMU that was started with this machine: name, blocks and sizes must match, content lands in this
   * guest's memory. Undefined: adopt whatever comes.
   */
  readonly expect?: Guest;
  /**
   * Take the validated capabilities (and postcopy) as the stream has them, instead of comparing them with `capability`: for
   * opening a file whose settings nobody typed.
   */
  readonly anyCapabilities?: boolean;
  /** This process's `-uuid`, 16 bytes. */
  readonly uuid?: Uint8Array;
  /** Aborting it ends the load at the next record. */
  readonly signal: AbortSignal;
  /** Bytes read so far and, where known, of how many. Called at most every few milliseconds. */
  readonly progress?: (bytes: number, total: number | undefined) => void;
  /** Lines QEMU would write on stderr for faults and remarks, without program name. */
  readonly report: (line: string) => void;
  /** Remarks of ours on what is loaded, a sentence each. */
  readonly warn?: (text: string) => void;
  /** A further channel failed the load: what `error-desc` says then. */
  readonly channelFailed?: (description: string) => void;
}

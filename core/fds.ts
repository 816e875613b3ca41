/**
 * Descriptors a session was given: names (`getfd`) and sets (`add-fd`).
 *
 *     names   belong to one monitor connection; the same name again replaces and closes the old one
 *     fdsets  belong to the process: id -> descriptors, newest first; a set disappears with its last descriptor
 *
 * QEMU receives them over its socket (SCM_RIGHTS). Here whoever runs the command passes a {@link HeldFd}; a command
 * that brings none fails as QEMU's does. Source: QEMU monitor/fds.c.
 * @module
 */
import fs from "node:fs";
import { CommandError } from "../stream/errors.ts";
import type { HeldFd } from "./transport.ts";

const NONE = "No file descriptor supplied via SCM_RIGHTS";

/** Answer of `add-fd`. */
export interface AddedFd {
  /** Given, or the lowest that was free. */
  readonly fdsetId: number;
  /** Number in this process. */
  readonly fd: number;
}

/** One set in the answer of `query-fdsets`. */
export interface FdsetDescription {
  /** N of `/dev/fdset/N`. */
  readonly fdsetId: number;
  /** Oldest first. */
  readonly fds: readonly { readonly fd: number; readonly opaque?: string }[];
}

/** A descriptor of a set: closed when it was removed and nobody uses it any more. */
class FdsetEntry implements HeldFd {
  readonly fd: number;
  readonly flags: number;
  readonly path?: string;
  readonly opaque?: string;
  #users = 0;
  #removed = false;

  constructor(held: HeldFd, opaque?: string, private readonly emptied: () => void = () => {}) {
    this.fd = held.fd;
    this.flags = held.flags;
    this.path = held.path;
    this.opaque = opaque;
  }

  get inUse(): boolean {
    return this.#users > 0;
  }

  use(): () => void {
    this.#users++;
    let released = false;
    return () => {
      if (released) return;
      released = true;
      this.#users--;
      this.#settle();
    };
  }

  remove(): void {
    this.#removed = true;
    this.#settle();
  }

  #settle(): void {
    if (!this.#removed || this.inUse) return;
    closeHeld(this);
    this.emptied();
  }
}

/** One set. `used` are removed descriptors a channel still works on: they keep the set alive, as QEMU's duplicates do. */
interface Fdset {
  readonly entries: FdsetEntry[];
  readonly used: Set<FdsetEntry>;
}

/** Names of one monitor connection over the sets of the process. Its methods are the descriptor part of `TransportContext`. */
export class FdTable {
  readonly #names = new Map<string, HeldFd>();
  readonly #sets: Map<number, Fdset>;

  /**
   * An empty table.
   * @param sharing a table whose sets this one shall show as well
   */
  constructor(sharing?: FdTable) {
    this.#sets = sharing ? sharing.#sets : new Map();
  }

  /** The table of another monitor connection: names of its own, the same sets. */
  connection(): FdTable {
    return new FdTable(this);
  }

  /**
   * `getfd NAME`: register a descriptor; the table owns it from now on, also when the name is refused.
   * @throws {CommandError} without a descriptor, or for a name that starts with a digit
   */
  getfd(name: string, held: HeldFd | undefined): void {
    if (!held) throw new CommandError(NONE);
    if (/^[0-9]/.test(name)) {
      closeHeld(held);
      throw new CommandError("Parameter 'fdname' expects a name not starting with a digit");
    }
    const old = this.#names.get(name);
    this.#names.set(name, held);
    if (old) closeHeld(old);
  }

  /** `closefd NAME`. @throws {CommandError} when there is no such name */
  closefd(name: string): void {
    const held = this.takeNamedFd(name);
    if (!held) throw new CommandError(`File descriptor named '${name}' not found`);
    closeHeld(held);
  }

  /** Take (and forget) a named descriptor; the caller owns it. */
  takeNamedFd(name: string): HeldFd | undefined {
    const held = this.#names.get(name);
    this.#names.delete(name);
    return held;
  }

  /** Names in use, for completion. */
  names(): string[] {
    return [...this.#names.keys()];
  }

  /**
   * `add-fd`: put a descriptor into a set; the table owns it from now on, also when the id is refused.
   * @param fdsetId the lowest free one when left out
   * @throws {CommandError} without a descriptor, or for a negative id
   */
  addFd(held: HeldFd | undefined, options: { fdsetId?: number; opaque?: string } = {}): AddedFd {
    if (!held) throw new CommandError(NONE);
    let id = options.fdsetId;
    if (id === undefined) { for (id = 0; this.#sets.has(id);) id++; }
    if (id < 0) {
      closeHeld(held);
      throw new CommandError("Parameter 'fdset-id' expects a non-negative value");
    }
    const set: Fdset = this.#sets.get(id) ?? { entries: [], used: new Set() };
    this.#sets.set(id, set);
    const entry = new FdsetEntry(held, options.opaque ?? held.opaque, () => {
      set.used.delete(entry);
      this.#dropIfEmpty(id);
    });
    set.entries.unshift(entry);
    return { fdsetId: id, fd: held.fd };
  }

  /** `remove-fd`: one descriptor, or all of a set. @throws {CommandError} when there is none such */
  removeFd(fdsetId: number, fd?: number): void {
    const set = this.#sets.get(fdsetId);
    const gone = set?.entries.filter((entry) => fd === undefined || entry.fd === fd) ?? [];
    if (!set || (fd !== undefined && gone.length === 0)) {
      const what = `fdset-id:${fdsetId}` + (fd === undefined ? "" : `, fd:${fd}`);
      throw new CommandError(`File descriptor named '${what}' not found`);
    }
    for (const entry of gone) {
      set.entries.splice(set.entries.indexOf(entry), 1);
      if (entry.inUse) set.used.add(entry);
      entry.remove();
    }
    this.#dropIfEmpty(fdsetId);
  }

  /** `query-fdsets`: highest id first. */
  queryFdsets(): FdsetDescription[] {
    return [...this.#sets].sort(([a], [b]) => b - a).map(([fdsetId, { entries }]) => ({
      fdsetId,
      fds: entries.toReversed().map(({ fd, opaque }) => opaque === undefined ? { fd } : { fd, opaque }),
    }));
  }

  /** Descriptors of a set, newest first; undefined when there is no such set. */
  fdset(id: number): readonly HeldFd[] | undefined {
    return this.#sets.get(id)?.entries;
  }

  /** Close the names of this connection, as QEMU does when it ends; the sets stay. */
  closeNames(): void {
    for (const held of this.#names.values()) closeHeld(held);
    this.#names.clear();
  }

  /** Close everything. */
  close(): void {
    this.closeNames();
    for (const id of [...this.#sets.keys()]) this.removeFd(id);
  }

  #dropIfEmpty(id: number): void {
    const set = this.#sets.get(id);
    if (set && set.entries.length === 0 && set.used.size === 0) this.#sets.delete(id);
  }
}

/**
 * Open a path as a descriptor to hand to {@link FdTable.getfd} or {@link FdTable.addFd}.
 * @param flags open(2) flags of `node:fs` constants; `O_RDONLY` when left out
 * @param mode  permission bits of a file that is created
 */
export function holdPath(path: string, flags: number = fs.constants.O_RDONLY, mode = 0o600): HeldFd {
  return { fd: fs.openSync(path, flags, mode), flags, path };
}

/**
 * A descriptor this process already has: opened with `node:fs`, or inherited from whoever started it.
 * @throws {CommandError} when there is no such descriptor
 */
export function holdNumber(fd: number): HeldFd {
  try {
    const text = fs.readFileSync(`/proc/self/fdinfo/${fd}`, "latin1");
    return { fd, flags: parseInt(/^flags:\s*([0-7]+)/m.exec(text)![1], 8) };
  } catch {
    throw new CommandError(`Invalid file descriptor number '${fd}'`);
  }
}

/** Close a descriptor. One that was inherited cannot be closed from here and stays open until the process ends. */
export function closeHeld(held: HeldFd): void {
  if (held.fd <= 2) return;
  try {
    fs.closeSync(held.fd);
  } catch {
    // EBADF: not one of ours
  }
}

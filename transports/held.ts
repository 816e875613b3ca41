/**
 * What a descriptor is, and how this process can use it.
 *
 *     opened here with node:fs, or 0-2   node:fs works on the number itself
 *     inherited, a regular file          reopened through /proc/self/fd/N: an open file of its own, so the position is
 *                                        read from /proc/self/fdinfo/N and not written back
 *     inherited, a pipe or a socket      only node:net works on the number
 *
 * Everything under /proc needs all permissions (`-A`).
 * @module
 */
import fs from "node:fs";
import { errnoText } from "../core/errno.ts";
import type { HeldFd } from "../core/transport.ts";
import { TransportError } from "../stream/errors.ts";

/** What stands behind a descriptor. */
export type HeldKind = "file" | "block" | "pipe" | "socket" | "other";

const { O_ACCMODE, O_RDONLY, O_RDWR, O_WRONLY } = { O_ACCMODE: 3, ...fs.constants };

/** Linux open(2) flags that matter here. Node names O_DIRECT and O_APPEND, but not the mask. */
export const ACCESS_MODE: number = O_ACCMODE;

/** May the descriptor be read? */
export function canRead(flags: number): boolean {
  const mode = flags & ACCESS_MODE;
  return mode === O_RDONLY || mode === O_RDWR;
}

/** May the descriptor be written? */
export function canWrite(flags: number): boolean {
  const mode = flags & ACCESS_MODE;
  return mode === O_WRONLY || mode === O_RDWR;
}

/** Did this process open the number with node:fs (or is it one of the standard three)? */
export function isOwn(fd: number): boolean {
  try {
    fs.fstatSync(fd);
    return true;
  } catch {
    return false;
  }
}

/** Kind of what the descriptor shows; undefined when it is not open. */
export function kindOf(fd: number): HeldKind | undefined {
  try {
    const stat = isOwn(fd) ? fs.fstatSync(fd) : fs.statSync(`/proc/self/fd/${fd}`);
    return kindOfStat(stat);
  } catch {
    return undefined;
  }
}

/** Kind of a file as `stat` describes it. */
export function kindOfStat(stat: fs.Stats): HeldKind {
  if (stat.isFile()) return "file";
  if (stat.isBlockDevice()) return "block";
  if (stat.isFIFO()) return "pipe";
  return stat.isSocket() ? "socket" : "other";
}

/** Position of the open file, in bytes. */
export function positionOf(fd: number): number {
  try {
    return Number(/^pos:\s*(\d+)/m.exec(fs.readFileSync(`/proc/self/fdinfo/${fd}`, "latin1"))![1]);
  } catch (error) {
    throw new TransportError(`Cannot read the position of descriptor ${fd}: ${errnoText(error)}`);
  }
}

/** Open once more what a descriptor shows, with flags of one's own: never created, never cut. */
export function reopen(held: HeldFd, flags: number): number {
  const { O_CREAT, O_EXCL, O_TRUNC } = fs.constants;
  try {
    return fs.openSync(`/proc/self/fd/${held.fd}`, flags & ~(O_CREAT | O_EXCL | O_TRUNC));
  } catch (error) {
    throw new TransportError(`Failed to dup() given file descriptor fd=${held.fd}: ${errnoText(error)}`);
  }
}

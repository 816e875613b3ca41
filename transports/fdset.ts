/**
 * `/dev/fdset/N`: not a path but a descriptor of set N, taken where access mode and O_DIRECT fit, newest first.
 * Source: QEMU util/osdep.c (qemu_open_internal), monitor/fds.c (monitor_fdset_dup_fd_add).
 * @module
 */
import fs from "node:fs";
import type { HeldFd, TransportContext } from "../core/transport.ts";
import { CommandError } from "../stream/errors.ts";
import { ACCESS_MODE } from "./held.ts";

const PREFIX = "/dev/fdset/";

/** The flags QEMU prints, with Linux's numbers for x86 and generic architectures. */
const MASK = ACCESS_MODE | fs.constants.O_DIRECT;

/**
 * Find the descriptor a file name means.
 *
 * @param flags as for open(2); they stand in the error as they are
 * @returns undefined when the name is an ordinary path
 * @throws {CommandError} for a bad number, an unknown set, or when no descriptor fits
 */
export function fdsetMember(path: string, flags: number, context: TransportContext): HeldFd | undefined {
  if (!path.startsWith(PREFIX)) return undefined;
  const id = parseFd(path.slice(PREFIX.length));
  if (id === undefined) throw new CommandError(`Could not parse fdset ${path}`);
  const set = context.fdset(id);
  if (!set) throw new CommandError(`Failed to find fdset ${PREFIX}${id}`);
  const held = set.find((one) => (one.flags & MASK) === (flags & MASK));
  if (!held) throw new CommandError(`Failed to find file descriptor with matching flags=0x${flags.toString(16)}`);
  return held;
}

/**
 * A descriptor number as QEMU reads it: decimal, leading blanks and a plus allowed, nothing behind, at most an int.
 * Source: util/cutils.c (qemu_parse_fd).
 */
export function parseFd(text: string): number | undefined {
  const match = /^[ \t-\r]*(?:\+?(\d+)|-0+)$/.exec(text);
  if (!match) return undefined;
  const value = Number(match[1] ?? 0);
  return value <= 0x7fffffff ? value : undefined;
}

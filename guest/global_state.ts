/**
 * The `globalstate` section: what the guest was doing when it was saved.
 *
 *     be32      size, strlen(runstate) + 1
 *     byte[32]  runstate, NUL padded
 *     u8        has_vm_was_suspended, 1
 *     u8        vm_was_suspended
 *     byte[66]  unused, 0
 *
 * Source: QEMU migration/global_state.c (vmstate_globalstate).
 * @module
 */
import type { RunState } from "./guest.ts";

/** Bytes of a globalstate body. */
export const GLOBALSTATE_SIZE = 104;

/** Every RunState of QAPI, in its order. */
export const RUN_STATES: readonly RunState[] = Object.freeze([
  "debug",
  "inmigrate",
  "internal-error",
  "io-error",
  "paused",
  "postmigrate",
  "prelaunch",
  "finish-migrate",
  "restore-vm",
  "running",
  "save-vm",
  "shutdown",
  "suspended",
  "watchdog",
  "guest-panicked",
  "colo",
]);

/**
 * The run state in a body.
 * @returns undefined when the body is cut or names no run state QEMU knows
 */
export function readGlobalState(body: Uint8Array): RunState | undefined {
  if (body.length < 36) return undefined;
  const end = body.subarray(4, 36).indexOf(0);
  const name = String.fromCharCode(...body.subarray(4, end < 0 ? 36 : 4 + end));
  return RUN_STATES.find((state) => state === name);
}

/** A body that says the guest was in `state`. */
export function globalStateBody(state: RunState, wasSuspended: boolean = state === "suspended"): Uint8Array {
  const body = new Uint8Array(GLOBALSTATE_SIZE);
  new DataView(body.buffer).setUint32(0, state.length + 1);
  for (let i = 0; i < state.length; i++) body[4 + i] = state.charCodeAt(i);
  body[36] = 1;
  body[37] = wasSuspended ? 1 : 0;
  return body;
}

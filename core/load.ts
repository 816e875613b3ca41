/**
 * Loading a guest from a stream.
 * @module
 */
import type { Guest } from "../guest/guest.ts";
import type { LoadRequest } from "./dataplane.ts";

/** Read one stream to its end. @throws {StreamError} with QEMU's sentences and reason */
export function loadGuest(_request: LoadRequest): Promise<Guest> {
  return Promise.reject(new Error("not yet"));
}

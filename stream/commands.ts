/**
 * COMMAND records: what a source tells its destination between sections.
 *
 *     08 u16 command, u16 length, payload
 *     POSTCOPY_ADVISE       u64 OR of block page sizes, u64 target page size; or nothing (dirty bitmaps only)
 *     POSTCOPY_RAM_DISCARD  u8 0, str8 block, u8 0, { u64 start, u64 length }
 *     PACKAGED              u32 length of a blob that follows outside the payload
 *     RECV_BITMAP           str8 block
 *
 * Judged as the receiver does, with its postcopy state kept along. Source: QEMU migration/savevm.c
 * loadvm_process_command and the loadvm_postcopy_handle_* functions.
 * @module
 */
import * as C from "./constants.ts";
import { hex, StreamError } from "./errors.ts";
import type { RamBlockEntry } from "./records.ts";

/** Ranges of a block that were changed after they had been sent, in bytes. */
export interface DiscardedRanges {
  readonly idstr: string;
  readonly ranges: readonly { readonly start: number; readonly length: number }[];
}

/** Take the payload of POSTCOPY_RAM_DISCARD apart; what it lacks is left out. */
export function parseDiscard(payload: Uint8Array): DiscardedRanges {
  const view = new DataView(payload.buffer, payload.byteOffset, payload.byteLength);
  const nameLength = payload[1];
  const ranges = [];
  for (let at = 3 + nameLength; at + 16 <= payload.length; at += 16) {
    ranges.push({ start: Number(view.getBigUint64(at)), length: Number(view.getBigUint64(at + 8)) });
  }
  return { idstr: String.fromCharCode(...payload.subarray(2, 2 + nameLength)), ranges };
}

/** PostcopyState of the receiver; QEMU prints the number. */
export type PostcopyState = 0 | 1 | 2 | 3 | 4;

/** What the commands of a stream have said so far. */
export class CommandState {
  returnPath = false;
  /** 0 none, 1 advised, 2 discarding, 3 listening, 4 running. */
  postcopy: PostcopyState = 0;
  /** Words of POSTCOPY_ADVISE when it had a payload. */
  advised?: { pageSizes: number; targetPageSize: number; offset: number };
  colo = false;

  /**
   * Judge one command and follow it.
   * @param offset of the record, for errors
   * @param blocks the RAM block list, as far as known
   * @throws {StreamError} in QEMU's words
   */
  apply(
    command: number,
    payload: Uint8Array,
    place: { channel: string; offset: number },
    blocks: readonly RamBlockEntry[],
  ): void {
    const name = C.MIG_CMD[command];
    const fault = (found: string, expected: string, qemu: string, reason = "Operation not permitted"): never => {
      throw new StreamError(`Cannot accept command ${name}`, { ...place, found, expected, qemu: [qemu], reason });
    };
    const view = new DataView(payload.buffer, payload.byteOffset, payload.byteLength);
    const inState = (label: string, ...allowed: PostcopyState[]) => {
      if (allowed.includes(this.postcopy)) return;
      fault(
        `postcopy state ${this.postcopy}`,
        allowed.join(" or "),
        `CMD_POSTCOPY_${label} in wrong postcopy state (${this.postcopy})`,
      );
    };
    switch (name) {
      case "OPEN_RETURN_PATH":
        this.returnPath = true;
        break;
      case "PING":
        if (!this.returnPath) {
          fault(
            "no return path",
            "OPEN_RETURN_PATH before",
            `CMD_PING (${hex(view.getUint32(0))}) received with no return path`,
          );
        }
        break;
      case "POSTCOPY_ADVISE":
        inState("ADVISE", 0);
        if (payload.length !== 0 && payload.length !== 16) {
          fault(
            `${payload.length} bytes`,
            "16 or 0",
            `CMD_POSTCOPY_ADVISE invalid length (${payload.length})`,
            "Invalid argument",
          );
        }
        if (payload.length === 16) {
          const pageSizes = Number(view.getBigUint64(0)), targetPageSize = Number(view.getBigUint64(8));
          this.advised = { pageSizes, targetPageSize, offset: place.offset };
          this.postcopy = 1;
        }
        break;
      case "POSTCOPY_RAM_DISCARD":
        this.#discard(payload, view, inState, fault, blocks);
        this.postcopy = 2;
        break;
      case "POSTCOPY_LISTEN":
        inState("LISTEN", 1, 2);
        this.postcopy = 3;
        break;
      case "POSTCOPY_RUN":
        inState("RUN", 3);
        this.postcopy = 4;
        break;
      case "RECV_BITMAP":
        if (payload.length < 2) {
          fault("no name", "a block name", "loadvm_handle_recv_bitmap: failed to read block name", "Invalid argument");
        }
        break;
      case "ENABLE_COLO":
        this.colo = true;
        break;
    }
  }

  #discard(
    payload: Uint8Array,
    view: DataView,
    inState: (label: string, ...allowed: PostcopyState[]) => void,
    fault: (found: string, expected: string, qemu: string) => never,
    blocks: readonly RamBlockEntry[],
  ): void {
    const label = "CMD_POSTCOPY_RAM_DISCARD";
    inState("RAM_DISCARD", 1, 2);
    const { length } = payload;
    if (length < 20) fault(`${length} bytes`, "at least 20", `${label} invalid length (${length})`);
    if (payload[0] !== 0) fault(`version ${payload[0]}`, "0", `${label} invalid version (${payload[0]})`);
    const nameLength = payload[1];
    if (nameLength === 0 || 3 + nameLength > length) {
      fault("no block name", "one", `${label} Failed to read RAMBlock ID`);
    }
    const idstr = String.fromCharCode(...payload.subarray(2, 2 + nameLength));
    const nul = payload[2 + nameLength];
    if (nul !== 0) fault(`byte ${nul} after the name`, "0", `${label} missing nil (${nul})`);
    const rest = length - 3 - nameLength;
    if (rest === 0 || rest % 16) {
      fault(`${rest} bytes of ranges`, "a multiple of 16", `${label} invalid length (${rest})`);
    }
    const block = blocks.find((entry) => entry.idstr === idstr);
    if (!block) {
      fault(`block ${JSON.stringify(idstr)}`, "one of the list", `ram_discard_range: Failed to find block '${idstr}'`);
      return;
    }
    for (let at = 3 + nameLength; at < length; at += 16) {
      const start = Number(view.getBigUint64(at)), bytes = Number(view.getBigUint64(at + 8));
      if (start + bytes > block.usedLength) {
        fault(
          `range ${hex(start)}+${hex(bytes)}`,
          `inside ${hex(block.usedLength)}`,
          `ram_block_discard_range: Overrun block '${idstr}' (${start}/${bytes.toString(16)}/${
            block.usedLength.toString(16)
          })`,
        );
      }
    }
  }

  /** Once blocks are listed: does POSTCOPY_ADVISE agree with them? Blocks without an extra have pages of 4 KiB. */
  checkAdvise(channel: string, blocks: readonly RamBlockEntry[], pageSize: number): void {
    if (!this.advised) return;
    const { pageSizes, targetPageSize, offset } = this.advised;
    const own = blocks.reduce((sum, block) => sum | (block.pageSize ?? Math.max(4096, pageSize)), 0);
    const fault = (found: string, expected: string, qemu: string) => {
      throw new StreamError("Cannot accept command POSTCOPY_ADVISE", {
        channel,
        offset,
        found,
        expected,
        qemu: [qemu],
        reason: "Operation not permitted",
      });
    };
    if (pageSizes !== own) {
      fault(
        `page sizes ${hex(pageSizes)}`,
        hex(own),
        `Postcopy needs matching RAM page sizes (s=${pageSizes.toString(16)} d=${own.toString(16)})`,
      );
    }
    if (targetPageSize !== pageSize) {
      fault(
        `target page size ${targetPageSize}`,
        String(pageSize),
        `Postcopy needs matching target page sizes (s=${targetPageSize} d=${pageSize})`,
      );
    }
  }
}

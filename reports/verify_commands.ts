/**
 * What the decoder lets pass in commands: postcopy's conversation as a careful reader would hold it.
 *
 *     RAM_DISCARD   ranges on host pages, none twice
 *     LISTEN        after at least one RAM_DISCARD, or QEMU 10.0 waits for itself for ever
 *
 * Source: QEMU migration/savevm.c (loadvm_postcopy_handle_listen, loadvm_postcopy_ram_handle_discard).
 * @module
 */
import type { StreamDecoder } from "../stream/decode.ts";
import { hex } from "../stream/errors.ts";
import type { CommandRecord } from "../stream/records.ts";
import type { Report } from "./findings.ts";

/** Ranges remembered of all discards together. */
const RANGE_LIMIT = 1 << 16;

/** Follows the commands of one stream. */
export class CommandChecks {
  readonly #decoder: StreamDecoder;
  readonly #report: Report;
  readonly #ranges: { block: string; start: number; end: number }[] = [];
  #discards = 0;
  #returnPath = false;
  #switchover = false;
  #listened = false;
  #discardAt: { offset: number; path: string } | undefined;

  constructor(decoder: StreamDecoder, report: Report) {
    this.#decoder = decoder;
    this.#report = report;
  }

  take({ name, payload, offset }: CommandRecord, path: string): void {
    switch (name) {
      case "OPEN_RETURN_PATH":
        if (this.#returnPath) this.#report("warning", offset, path, "the return path is opened again");
        this.#returnPath = true;
        return;
      case "SWITCHOVER_START":
        if (this.#switchover) this.#report("warning", offset, path, "the switchover starts again");
        this.#switchover = true;
        return;
      case "POSTCOPY_RAM_DISCARD":
        this.#discards++;
        this.#discardAt ??= { offset, path };
        return this.#discard(payload, offset, path);
      case "POSTCOPY_LISTEN":
        this.#listened = true;
        if (this.#discards > 0 || !this.#decoder.commands.advised) return;
        return this.#report(
          "error",
          offset,
          path,
          "LISTEN without a RAM_DISCARD before it: QEMU 10.0 then waits for itself",
        );
    }
  }

  /** The decoder has seen that each range is inside its block. */
  #discard(payload: Uint8Array, offset: number, path: string): void {
    const view = new DataView(payload.buffer, payload.byteOffset, payload.byteLength);
    const length = payload[1];
    const block = String.fromCharCode(...payload.subarray(2, 2 + length));
    const { blocks, framing } = this.#decoder.ram;
    const unit = blocks.find(({ idstr }) => idstr === block)?.pageSize ?? framing.pageSize;
    for (let at = 3 + length, i = 0; at + 16 <= payload.length; at += 16, i++) {
      const start = Number(view.getBigUint64(at)), bytes = Number(view.getBigUint64(at + 8));
      const where = `${path}.ranges[${i}]`, place = offset + 5 + at;
      const range = `${hex(start)}+${hex(bytes)} of ${block}`;
      if (start % unit || bytes % unit) {
        this.#report("error", place, where, `range ${range} is not made of whole pages of ${unit} bytes`);
      }
      if (bytes === 0) this.#report("error", place, where, `range ${range} is empty`);
      const end = start + bytes;
      const other = this.#ranges.find((r) => r.block === block && r.start < end && start < r.end);
      if (other) {
        this.#report("error", place, where, `range ${range} was discarded before, from ${hex(other.start)} on`);
      }
      if (this.#ranges.length < RANGE_LIMIT) this.#ranges.push({ block, start, end });
    }
  }

  /** At the end of the stream. */
  judge(_end: number, eof: boolean): void {
    if (!eof || this.#listened || !this.#discardAt) return;
    const { offset, path } = this.#discardAt;
    this.#report("error", offset, path, "RAM is discarded and LISTEN never comes: QEMU would wait for ever");
  }
}

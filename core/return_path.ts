/**
 * The return path: short messages against the stream's direction.
 *
 *     u16 type, u16 length, payload
 *     SHUT 1 u32 status | PONG 2 u32 value | REQ_PAGES 3, REQ_PAGES_ID 4, RECV_BITMAP 5, RESUME_ACK 6, SWITCHOVER_ACK 7
 *
 * A precopy source waits for SHUT before it is done; its status says whether the destination loaded everything.
 * Source: QEMU migration/migration.c source_return_path_thread, migrate_send_rp_message.
 * @module
 */
import { TransportError } from "../stream/errors.ts";
import type { Channel } from "./transport.ts";

const MIG_RP_MSG_SHUT = 1;
const MIG_RP_MSG_PONG = 2;
const MIG_RP_MSG_SWITCHOVER_ACK = 7;
const NAMES = ["INVALID", "SHUT", "PONG", "REQ_PAGES", "REQ_PAGES_ID", "RECV_BITMAP", "RESUME_ACK", "SWITCHOVER_ACK"];
/** Exact payload lengths by type; undefined: at most 512. */
const LENGTHS: readonly (number | undefined)[] = [undefined, 4, 4, 12, undefined, undefined, 4, 0];
const LENGTH_LIMIT = 512;

/** The source's end: reads messages until SHUT. */
export class OutgoingReturnPath {
  readonly #channel: Channel;
  readonly #done: Promise<Error | undefined>;
  /** Values of PONGs, newest last. */
  readonly pongs: number[] = [];
  /** The destination agreed to the switchover. */
  switchoverAck = false;

  constructor(channel: Channel) {
    this.#channel = channel;
    this.#done = channel.returnPath && channel.read
      ? this.#listen().then(() => undefined, (error: Error) => error)
      : Promise.resolve(new TransportError("Unable to read from file: Bad file descriptor"));
  }

  /** Wait for the destination's farewell. @throws {TransportError} when it says no, or says nothing legal */
  async finish(): Promise<void> {
    const error = await this.#done;
    if (error) throw error;
  }

  async #listen(): Promise<void> {
    const buffer = new Uint8Array(4 + LENGTH_LIMIT);
    const view = new DataView(buffer.buffer);
    const hex = (n: number) => n.toString(16).padStart(4, "0");
    for (;;) {
      await this.#fill(buffer.subarray(0, 4));
      const type = view.getUint16(0), length = view.getUint16(2);
      if (type === 0 || type >= NAMES.length || length > LENGTH_LIMIT) {
        throw new TransportError(`Received invalid message 0x${hex(type)} length 0x${hex(length)}`);
      }
      const exact = LENGTHS[type];
      if (exact !== undefined && exact !== length) {
        const what = `'${NAMES[type]}' message (0x${hex(type)})`;
        throw new TransportError(`Received ${what} with incorrect length ${length} expecting ${exact}`);
      }
      await this.#fill(buffer.subarray(4, 4 + length));
      if (type === MIG_RP_MSG_SHUT) {
        const status = view.getUint32(4);
        if (status) throw new TransportError(`Sibling indicated error ${status}`);
        return;
      }
      if (type === MIG_RP_MSG_PONG) this.pongs.push(view.getUint32(4));
      if (type === MIG_RP_MSG_SWITCHOVER_ACK) this.switchoverAck = true;
    }
  }

  async #fill(target: Uint8Array): Promise<void> {
    for (let done = 0; done < target.length;) {
      const got = await this.#channel.read!(target.subarray(done));
      if (got <= 0) throw new TransportError("Unable to read from socket: Connection reset by peer");
      done += got;
    }
  }
}

/** The destination's end: answers. Does nothing on a channel without a way back. */
export class IncomingReturnPath {
  constructor(readonly channel: Channel) {}

  /** Answer a PING. */
  async pong(value: number): Promise<void> {
    await this.#send(MIG_RP_MSG_PONG, value);
  }

  /** Say farewell: 0 when everything was loaded, 1 when not. */
  async shut(status: number): Promise<void> {
    await this.#send(MIG_RP_MSG_SHUT, status);
  }

  async #send(type: number, value: number): Promise<void> {
    if (!this.channel.returnPath || !this.channel.write) return;
    const message = new Uint8Array(8);
    const view = new DataView(message.buffer);
    view.setUint16(0, type);
    view.setUint16(2, 4);
    view.setUint32(4, value);
    try {
      await this.channel.write(message);
    } catch {
      // the source has gone; whether that matters it knows itself
    }
  }
}

/**
 * One connection and its twin: bytes go on in both directions, and a copy of each goes into a file.
 * @module
 */
import fs from "node:fs";
import { HEAD_BYTES } from "./capture.ts";
import { errnoText } from "./errno.ts";
import type { Channel } from "./transport.ts";

const BUFFER = 1 << 20;

/** What a direction left behind. */
export interface KeptDirection {
  /** The file; there is none when nothing passed. */
  readonly path: string;
  /** In it. */
  readonly bytes: number;
}

/** A connection that is passed on. */
export interface RecordPass {
  /** From the source, so far. */
  readonly bytes: number;
  /** Resolves when both sides are closed; never rejects. */
  readonly ended: Promise<void>;
  /** Why not everything that passed was kept; known at the end. */
  readonly problem: string | undefined;
  /** From the source. */
  readonly out: KeptDirection;
  /** From the destination. */
  readonly back: KeptDirection;
  /** End it now. */
  abort(): void;
}

/** The first bytes of a direction, those that tell what it carries. */
export function headOf({ path, bytes }: KeptDirection): Uint8Array {
  const head = new Uint8Array(Math.min(bytes, HEAD_BYTES));
  if (head.length === 0) return head;
  const fd = fs.openSync(path, "r");
  try {
    return head.subarray(0, fs.readSync(fd, head, 0, head.length, 0));
  } finally {
    fs.closeSync(fd);
  }
}

/** A file with what passed. */
export class PassCopy implements KeptDirection {
  bytes = 0;
  #fd: number | undefined;
  #problem: string | undefined;

  /** Nothing is made before there is something to write. */
  constructor(readonly path: string) {}

  /** Keep these bytes. */
  write(piece: Uint8Array): void {
    if (this.#problem !== undefined) return;
    try {
      this.#fd ??= fs.openSync(this.path, "wx", 0o600);
      for (let done = 0; done < piece.length;) done += fs.writeSync(this.#fd, piece, done, piece.length - done);
      this.bytes += piece.length;
    } catch (error) {
      this.#problem = errnoText(error);
    }
  }

  /** @returns why not everything is in it */
  close(): string | undefined {
    if (this.#fd !== undefined) fs.closeSync(this.#fd);
    this.#fd = undefined;
    return this.#problem;
  }
}

/** Over any two channels: two buffers for each direction, reading and writing overlap. */
export class ChannelPass implements RecordPass {
  readonly ended: Promise<void>;
  problem: string | undefined;
  readonly out: PassCopy;
  readonly back: PassCopy;

  constructor(private readonly source: Channel, private readonly destination: Channel, base: string) {
    this.out = new PassCopy(`${base}.bin`);
    this.back = new PassCopy(`${base}.rp.bin`);
    this.ended = this.#run();
  }

  get bytes(): number {
    return this.out.bytes;
  }

  abort(): void {
    this.source.abort();
    this.destination.abort();
  }

  async #run(): Promise<void> {
    // whichever side ends, the other is told by the same: QEMU ends both directions at once
    const ends = [
      pump(this.source, this.destination, this.out),
      pump(this.destination, this.source, this.back),
    ];
    await Promise.race(ends);
    await Promise.allSettled([this.source.close(), this.destination.close()]);
    await Promise.all(ends);
    for (const copy of [this.out, this.back]) this.problem ??= copy.close();
  }
}

/** Pass bytes on until either side ends. */
async function pump(from: Channel, to: Channel, copy: PassCopy): Promise<void> {
  let [buffer, next] = [new Uint8Array(BUFFER), new Uint8Array(BUFFER)];
  try {
    let reading = from.read!(buffer);
    for (;;) {
      const got = await reading;
      if (got === 0) return;
      const piece = buffer.subarray(0, got);
      [buffer, next] = [next, buffer];
      reading = from.read!(buffer);
      if (reading instanceof Promise) reading.catch(() => {}); // looked at in the next turn
      const writing = to.write!(piece);
      copy.write(piece);
      await writing;
    }
  } catch {
    // reset, or closed from the other side: the capture has what passed
  }
}

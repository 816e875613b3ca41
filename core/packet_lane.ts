/**
 * One multifd channel of a load, as the receiver sees it: something that runs, stops at SYNC packets and may fail. Here is the
 * one that reads on the thread of the load; packet_thread.ts has the one with a thread of its own.
 * @module
 */
import type { RamBlock } from "../guest/memory.ts";
import type { MultifdCodec } from "../stream/multifd_codec.ts";
import type { TouchAhead } from "./lane.ts";
import { type PacketPort, PacketReader, UNPACKED_BYTES } from "./packet_reader.ts";
import type { Channel } from "./transport.ts";

/** What all channels of a load work on. */
export interface PacketTarget {
  /** Block of that name; undefined when there is none. */
  block(idstr: string): RamBlock | undefined;
  /** All of them, for threads that have to know them before the first page; left out: no threads. */
  readonly blocks?: readonly RamBlock[];
  /** Threads that were started ahead. */
  readonly threads?: { take(): Worker | undefined };
  /** Bytes of a target page. */
  readonly pageSize: number;
  /** How pages are packed; undefined: not at all. */
  readonly codec?: MultifdCodec;
  /** Told of pages that were written. */
  readonly ahead?: TouchAhead;
}

/** One channel. */
export interface PacketLane {
  /** "multifd 0". */
  readonly name: string;
  /** Bytes read so far, the first message included. */
  readonly offset: number;
  /** Stands at a SYNC packet. */
  readonly stopped: boolean;
  /** Read until the connection ends between two packets or the load is over. @throws why it cannot go on */
  run(): Promise<void>;
  /** Go on behind the SYNC packet. */
  goOn(): void;
  /** The load is over. Resolves when guest memory is not written any more. */
  finish(): void | Promise<void>;
}

/** A channel that is read on this thread. */
export class OwnLane implements PacketLane, PacketPort {
  readonly name: string;
  offset = 0;
  stopped = false;
  readonly #target: PacketTarget;
  readonly #channel: Channel;
  readonly #reader: PacketReader;
  readonly #changed: () => void;
  #over = false;
  #goOn?: () => void;

  /**
   * Wait for `run`.
   * @param changed  called when the channel has stopped
   * @param unpacked memory all such channels share: nobody waits between filling and emptying it
   */
  constructor(
    channel: Channel,
    id: number,
    target: PacketTarget,
    changed: () => void,
    unpacked: () => Uint8Array<ArrayBuffer>,
  ) {
    const { block, pageSize, codec } = target;
    this.#channel = channel;
    this.#target = target;
    this.#changed = changed;
    const usedLength = (idstr: string) => block(idstr)?.usedLength;
    this.#reader = new PacketReader({ id, pageSize, usedLength, codec, unpacked }, this);
    this.name = this.#reader.name;
  }

  run(): Promise<void> {
    return this.#reader.run();
  }

  goOn(): void {
    this.stopped = false;
    this.#goOn?.();
  }

  finish(): void {
    this.#over = true;
    this.#goOn?.();
  }

  read(view: Uint8Array<ArrayBuffer>): number | Promise<number> {
    return this.#channel.read!(view);
  }

  /** By way of a buffer: V8 collects garbage for seconds when views of guest memory are handed to reads. */
  land(idstr: string, offset: number, from: Uint8Array<ArrayBuffer>, at: number, length: number): void {
    if (this.#over) return; // what the load has left may be somebody else's by now
    const block = this.#target.block(idstr)!;
    this.#target.ahead?.wrote(block, offset);
    block.land(offset, from, at, length);
  }

  zero(idstr: string, offset: number, length: number): void {
    const block = this.#target.block(idstr)!;
    if (!this.#over && !block.isUntouched(offset)) block.zero(offset, length);
  }

  stop(): Promise<void> {
    if (this.#over) return Promise.resolve();
    const { promise, resolve } = Promise.withResolvers<void>();
    this.#goOn = resolve;
    this.stopped = true;
    this.#changed();
    return promise;
  }

  progress(offset: number): void {
    this.offset = offset;
  }

  over(): boolean {
    return this.#over;
  }
}

/** Memory for pages that are being unpacked. */
export function unpackedMemory(pageSize: number): () => Uint8Array<ArrayBuffer> {
  let memory: Uint8Array<ArrayBuffer> | undefined;
  return () => memory ??= new Uint8Array(UNPACKED_BYTES + pageSize);
}

/**
 * A proxy between the two sides of a migration that keeps what passes: every channel in both directions.
 *
 *     source --> listen here --> forward --> destination        bytes go on as they come; a copy goes into a file
 *            <--             <--         <--
 *
 * Passing comes first: when the disk is full the migration goes on, and the capture says that it is not complete. Memory is
 * two buffers for each direction, whatever the guest's size.
 * @module
 */
import fs from "node:fs";
import { join } from "node:path";
import { CommandError, TransportError } from "../stream/errors.ts";
import { parseUri } from "./address.ts";
import {
  type Capture,
  type CapturedChannel,
  HEAD_BYTES,
  kindOfChannel,
  makeCaptureDirectory,
  writeCapture,
} from "./capture.ts";
import { errnoText } from "./errno.ts";
import type { Channel, Listener, MigrateAddress, Transport, TransportContext } from "./transport.ts";

const BUFFER = 1 << 20;
/** ms without a connection that end a recording: multifd channels follow the main one at once. */
const QUIET_MS = 500;

/** How a migration is recorded. */
export interface RecordOptions {
  /** Where the source connects: `unix:PATH`, `tcp:HOST:PORT`. Without a host: this machine only. */
  readonly listen: string;
  /** Where the destination is. */
  readonly forward: string;
  /** A directory to make. */
  readonly directory: string;
  /** Schemes of both. */
  readonly transports: readonly Transport[];
  /** Aborting it ends the recording. */
  readonly signal?: AbortSignal;
  /** Told once where it listens: port 0 has become a number. */
  readonly onListening?: (uri: string) => void;
  /** Told what has passed, from the source, now and then. */
  readonly onProgress?: (bytes: number) => void;
}

const NOWHERE: TransportContext = {
  takeNamedFd: () => undefined,
  fdset: () => undefined,
  warn: () => {},
  report: () => {},
};

/**
 * Record one migration: until all connections are closed, and no further one came for half a second.
 * @throws {CommandError} {TransportError} when nothing can listen there, nothing answers at the other side, or nothing can
 * be kept; a failure of the migration itself is in the capture
 */
export async function record(options: RecordOptions): Promise<Capture> {
  const { transports, directory, onListening } = options;
  const from = parseUri(localByDefault(options.listen), transports);
  if (from.transport.kind !== "socket" && from.transport.kind !== "buffer") {
    throw new CommandError(`Cannot record at '${options.listen}': a source connects to unix: or tcp:`);
  }
  const to = parseUri(options.forward, transports);
  makeCaptureDirectory(directory);
  const listener = from.transport.listen(from.address, NOWHERE);
  const recording = new Recording(options, listener, () => to.transport.connect(to.address, NOWHERE));
  onListening?.(listenerUri(listener, from.transport, from.address));
  return await recording.run();
}

/** `tcp::PORT` is every address to QEMU; a recorder listens to others only when told to. */
function localByDefault(uri: string): string {
  return uri.replace(/^tcp::/, "tcp:127.0.0.1:");
}

function listenerUri(listener: Listener, transport: Transport, asked: MigrateAddress): string {
  const address = listener.addresses?.[0] ?? asked;
  if ("type" in address && address.type === "inet") return `tcp:${address.host}:${address.port}`;
  return transport.format(address);
}

class Recording {
  readonly #passes: Pass[] = [];
  readonly #done = Promise.withResolvers<void>();
  #began = 0;
  #open = 0;
  #quiet: ReturnType<typeof setTimeout> | undefined;
  #failure: unknown;

  constructor(
    private readonly options: RecordOptions,
    private readonly listener: Listener,
    private readonly connect: () => Channel | Promise<Channel>,
  ) {}

  async run(): Promise<Capture> {
    const { signal, onProgress, directory } = this.options;
    const stop = () => this.#done.resolve();
    signal?.addEventListener("abort", stop, { once: true });
    if (signal?.aborted) stop();
    const timer = onProgress && setInterval(() => onProgress(this.#bytes), 100);
    this.#accept();
    try {
      await this.#done.promise;
    } finally {
      clearInterval(timer);
      clearTimeout(this.#quiet);
      signal?.removeEventListener("abort", stop);
      this.listener.close();
    }
    for (const pass of this.#passes) pass.abort();
    await Promise.all(this.#passes.map((pass) => pass.ended));
    const used = new Set<string>();
    const channels = this.#passes.map((pass) => pass.keep(used));
    const problem = this.#passes.find((one) => one.problem !== undefined)?.problem;
    const capture: Capture = { capture: 1, channels, complete: problem === undefined };
    writeCapture(directory, capture);
    if (this.#failure) throw this.#failure;
    if (problem !== undefined) throw new TransportError(`Cannot record into '${directory}': ${problem}`);
    return capture;
  }

  get #bytes(): number {
    return this.#passes.reduce((sum, pass) => sum + pass.bytes, 0);
  }

  async #accept(): Promise<void> {
    for (;;) {
      let source: Channel;
      try {
        source = await this.listener.accept();
      } catch {
        return this.#done.resolve(); // closed
      }
      clearTimeout(this.#quiet);
      const now = performance.now();
      if (this.#passes.length === 0) this.#began = now;
      this.#open++;
      try {
        const destination = await this.connect();
        const base = join(this.options.directory, `connection${this.#passes.length}`);
        const pass = new Pass(source, destination, base, now - this.#began, this.#began);
        this.#passes.push(pass);
        pass.ended.then(() => this.#closed());
      } catch (error) {
        source.abort();
        await source.close();
        this.#failure = error;
        return this.#done.resolve();
      }
    }
  }

  #closed(): void {
    if (--this.#open > 0) return;
    clearTimeout(this.#quiet);
    this.#quiet = setTimeout(() => this.#done.resolve(), QUIET_MS);
  }
}

/** One connection and its twin. */
class Pass {
  /** Resolves when both sides are closed; never rejects. */
  readonly ended: Promise<void>;
  /** Why not everything that passed was kept. */
  problem: string | undefined;
  #closed = 0;
  readonly #out: Copy;
  readonly #back: Copy;

  constructor(
    private readonly source: Channel,
    private readonly destination: Channel,
    private readonly base: string,
    private readonly opened: number,
    private readonly began: number,
  ) {
    this.#out = new Copy(`${base}.bin`);
    this.#back = new Copy(`${base}.rp.bin`);
    this.ended = this.#run();
  }

  /** From the source. */
  get bytes(): number {
    return this.#out.bytes;
  }

  abort(): void {
    this.source.abort();
    this.destination.abort();
  }

  /** Give the files the names of what is in them. */
  keep(used: Set<string>): CapturedChannel {
    const { kind, id } = kindOfChannel(this.#out.head);
    const stem = kind === "multifd" ? `ch${id}` : kind;
    let name = stem;
    for (let n = 1; used.has(name); n++) name = `${stem}.${n}`;
    used.add(name);
    const directory = this.base.slice(0, this.base.lastIndexOf("/"));
    const rename = (copy: Copy, file: string) => {
      if (copy.made) fs.renameSync(copy.path, join(directory, file));
      else fs.writeFileSync(join(directory, file), "", { mode: 0o600 });
    };
    rename(this.#out, `${name}.bin`);
    if (this.#back.bytes > 0) rename(this.#back, `${name}.rp.bin`);
    return {
      file: `${name}.bin`,
      kind,
      ...(id === undefined ? {} : { id }),
      bytes: this.#out.bytes,
      opened: Math.round(this.opened),
      closed: Math.round(this.#closed),
      ...(this.#back.bytes > 0 ? { back: { file: `${name}.rp.bin`, bytes: this.#back.bytes } } : {}),
    };
  }

  async #run(): Promise<void> {
    // whichever side ends, the other is told by the same: QEMU ends both directions at once
    const ends = [
      pump(this.source, this.destination, this.#out),
      pump(this.destination, this.source, this.#back),
    ];
    await Promise.race(ends);
    await Promise.allSettled([this.source.close(), this.destination.close()]);
    await Promise.all(ends);
    this.#closed = performance.now() - this.began;
    for (const copy of [this.#out, this.#back]) this.problem ??= copy.close();
  }
}

/** Pass bytes on until either side ends; reading and writing overlap. */
async function pump(from: Channel, to: Channel, copy: Copy): Promise<void> {
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

/** A file with what passed. */
class Copy {
  /** The first bytes. */
  head = new Uint8Array(0);
  bytes = 0;
  made = false;
  #fd: number | undefined;
  #problem: string | undefined;

  constructor(readonly path: string) {}

  write(piece: Uint8Array): void {
    if (this.head.length < HEAD_BYTES) {
      const more = piece.subarray(0, HEAD_BYTES - this.head.length);
      this.head = Uint8Array.from([...this.head, ...more]);
    }
    if (this.#problem !== undefined) return;
    try {
      if (this.#fd === undefined) {
        this.#fd = fs.openSync(this.path, "wx", 0o600);
        this.made = true;
      }
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

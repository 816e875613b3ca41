/**
 * A proxy between the two sides of a migration that keeps what passes: every channel in both directions.
 *
 *     source --> listen here --> forward --> destination        bytes go on as they come; a copy goes into a file
 *            <--             <--         <--
 *
 * Passing comes first: when the disk is full the migration goes on, and the capture says that it is not complete. Memory is
 * two buffers for each direction, or a pipe and what it holds, whatever the guest's size. Where FFI and reading the Workers'
 * modules are allowed, and both sides are Unix sockets or TCP over IPv4, the kernel passes the bytes on (splice_pass.ts), else this
 * program does (record_pass.ts).
 * @module
 */
import fs from "node:fs";
import { join } from "node:path";
import { CommandError, TransportError } from "../stream/errors.ts";
import { parseUri } from "./address.ts";
import {
  type Capture,
  type CapturedChannel,
  kindOfChannel,
  makeCaptureDirectory,
  reserveCapture,
  writeCapture,
} from "./capture.ts";
import { streamEnded } from "./capture_end.ts";
import { ChannelPass, headOf, type RecordPass } from "./record_pass.ts";
import { canPassDescriptors } from "./scm_rights.ts";
import type { MigrateAddress, Transport, TransportContext } from "./transport.ts";

/** ms without a connection that end a recording: multifd channels follow the main one at once. */
const QUIET_MS = 500;

/** That may wait for a destination's Unix socket: its usual room is used up before both sides are at work. */
const WAITING_BYTES = 1 << 20;

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
  /** Let this program pass the bytes on even where the kernel could. */
  readonly copy?: boolean;
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
  const forget = makeCaptureDirectory(directory);
  let door: Ends | undefined;
  try {
    const ends = !options.copy && canPassDescriptors() ? await kernelEnds(from.address, to.address) : undefined;
    door = ends ?? channelEnds(from, to);
    reserveCapture(directory);
  } catch (error) {
    door?.close();
    forget();
    throw error;
  }
  onListening?.(door.uri);
  return await new Recording(options, door, forget).run();
}

/** `tcp::PORT` is every address to QEMU; a recorder listens to others only when told to. */
function localByDefault(uri: string): string {
  return uri.replace(/^tcp::/, "tcp:127.0.0.1:");
}

/** Where connections come in, and how they are passed on. */
interface Ends {
  /** Where it listens. */
  readonly uri: string;
  /** Wait for a connection, and connect its twin. Rejects once it is closed. */
  accept(): Promise<(base: string) => RecordPass>;
  close(): void;
}

interface End {
  readonly transport: Transport;
  readonly address: MigrateAddress;
}

function channelEnds(from: End, to: End): Ends {
  const listener = from.transport.listen(from.address, NOWHERE);
  return {
    uri: uriOf(listener.addresses?.[0] ?? from.address, from.transport),
    async accept() {
      const source = await listener.accept();
      try {
        const destination = await to.transport.connect(to.address, NOWHERE);
        return (base) => new ChannelPass(source, destination, base);
      } catch (error) {
        source.abort();
        await source.close();
        throw new Unreachable(error);
      }
    },
    close: () => listener.close(),
  };
}

/** By descriptors; undefined where one side cannot be reached so. */
async function kernelEnds(from: MigrateAddress, to: MigrateAddress): Promise<Ends | undefined> {
  const [{ connectFd, listenFd, reaches, roomToSend }, { canSplice, SpliceTeam }] = await Promise.all([
    import("./fd_sockets.ts"),
    import("./splice_pass.ts"),
  ]);
  if (!canSplice() || !await reaches(to)) return undefined;
  const team = await SpliceTeam.start();
  const listener = await listenFd(from).catch((error) => {
    team.close();
    throw error;
  });
  if (!listener) return team.close(), undefined;
  const port = listener.port;
  return {
    uri: "path" in from ? `unix:${from.path}` : `tcp:${(from as { host: string }).host}:${port}`,
    async accept() {
      const source = await listener.accept();
      try {
        const destination = await connectFd(to);
        if ("path" in to) roomToSend(destination, WAITING_BYTES); // that of TCP grows by itself
        return (base) => team.pass(source, destination, base);
      } catch (error) {
        source.shut();
        source.close();
        throw new Unreachable(error);
      }
    },
    close() {
      listener.close();
      team.close();
    },
  };
}

/** The destination does not answer. */
class Unreachable extends Error {
  constructor(readonly reason: unknown) {
    super("nobody is behind the recorder");
  }
}

function uriOf(address: MigrateAddress, transport: Transport): string {
  if ("type" in address && address.type === "inet") return `tcp:${address.host}:${address.port}`;
  return transport.format(address);
}

interface Recorded {
  readonly pass: RecordPass;
  readonly opened: number;
  closed: number;
}

class Recording {
  readonly #passes: Recorded[] = [];
  readonly #done = Promise.withResolvers<void>();
  #began = 0;
  #open = 0;
  #quiet: ReturnType<typeof setTimeout> | undefined;
  #failure: unknown;

  /** @param forget takes away a capture that has nothing in it */
  constructor(
    private readonly options: RecordOptions,
    private readonly ends: Ends,
    private readonly forget: () => void,
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
      this.ends.close();
    }
    for (const { pass } of this.#passes) pass.abort();
    await Promise.all(this.#passes.map(({ pass }) => pass.ended));
    const used = new Set<string>();
    const channels = this.#passes.map((one) => keep(one, directory, used));
    const problem = this.#passes.find(({ pass }) => pass.problem !== undefined)?.pass.problem;
    const ended = channels.some(({ file, kind }) => kind !== "multifd" && streamEnded(join(directory, file)));
    const capture: Capture = { capture: 1, channels, complete: problem === undefined, ended };
    if (channels.length > 0) writeCapture(directory, capture);
    else this.forget();
    if (this.#failure) throw this.#failure;
    if (problem !== undefined) throw new TransportError(`Cannot record into '${directory}': ${problem}`);
    return capture;
  }

  get #bytes(): number {
    return this.#passes.reduce((sum, { pass }) => sum + pass.bytes, 0);
  }

  async #accept(): Promise<void> {
    for (;;) {
      let begin: (base: string) => RecordPass;
      try {
        begin = await this.ends.accept();
      } catch (error) {
        if (error instanceof Unreachable) this.#failure = error.reason;
        return this.#done.resolve();
      }
      clearTimeout(this.#quiet);
      const now = performance.now();
      if (this.#passes.length === 0) this.#began = now;
      this.#open++;
      const pass = begin(join(this.options.directory, `connection${this.#passes.length}`));
      const recorded: Recorded = { pass, opened: now - this.#began, closed: 0 };
      this.#passes.push(recorded);
      pass.ended.then(() => this.#closed(recorded));
    }
  }

  #closed(recorded: Recorded): void {
    recorded.closed = performance.now() - this.#began;
    if (--this.#open > 0) return;
    clearTimeout(this.#quiet);
    this.#quiet = setTimeout(() => this.#done.resolve(), QUIET_MS);
  }
}

/** Give the files of a connection the names of what is in them. */
function keep({ pass, opened, closed }: Recorded, directory: string, used: Set<string>): CapturedChannel {
  const { out, back } = pass;
  const { kind, id } = kindOfChannel(headOf(out));
  const stem = kind === "multifd" ? `ch${id}` : kind;
  let name = stem;
  for (let n = 1; used.has(name); n++) name = `${stem}.${n}`;
  used.add(name);
  const file = `${name}.bin`, backFile = `${name}.rp.bin`;
  if (fs.existsSync(out.path)) fs.renameSync(out.path, join(directory, file));
  else fs.writeFileSync(join(directory, file), "", { mode: 0o600 });
  if (back.bytes > 0) fs.renameSync(back.path, join(directory, backFile));
  return {
    file,
    kind,
    ...(id === undefined ? {} : { id }),
    bytes: out.bytes,
    opened: Math.round(opened),
    closed: Math.round(closed),
    ...(back.bytes > 0 ? { back: { file: backFile, bytes: back.bytes } } : {}),
  };
}

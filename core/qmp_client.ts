/**
 * The asking side of QMP: commands to a QEMU over its monitor socket, answers matched by id, events as they come.
 *
 *     <- {"QMP": {"version": {...}, "capabilities": ["oob"]}}       must come first
 *     -> {"execute": "qmp_capabilities", "arguments": {"enable": ["oob"]}}
 *     -> {"execute": NAME, "arguments": {...}, "id": N}             N counts up
 *     <- {"return": VALUE, "id": N} | {"error": {"class", "desc"}, "id": N} | {"event": ...}
 *
 * One line is one message: QEMU writes them so unless `pretty=on`, and then a message is the text up to the brace that ends
 * it, which {@link MessageReader} finds too. A QEMU that goes away fails what was asked; the next question connects again.
 * Source: QEMU docs/interop/qmp-spec.rst, monitor/qmp.c.
 * @module
 */
import { CommandError, TransportError } from "../stream/errors.ts";
import { EventStream, type MonitorEvent } from "./events.ts";
import { stringifyJson } from "./json.ts";
import { openQmpWire, type QmpWire } from "./qmp_wire.ts";
import type { HeldFd } from "./transport.ts";

/** Milliseconds a server has to greet and to negotiate. */
const HANDSHAKE_MS = 3000;
/** QEMU's text before negotiation. */
const NOT_NEGOTIATED = /^Expecting capabilities negotiation/;
/** Characters of the longest message taken; QEMU's schema has half a million. */
const MAX_MESSAGE = 64 << 20;
/** Of a greeting. */
const MAX_GREETING = 64 << 10;
/** How QEMU's human monitor begins (monitor/hmp.c monitor_event). */
const HUMAN_MONITOR = /^QEMU \S+ monitor - /;

/** What a server says about itself. */
export interface QmpGreeting {
  /** Of QEMU. */
  readonly version: {
    readonly qemu: { readonly major: number; readonly minor: number; readonly micro: number };
    readonly package: string;
  };
  /** "oob". */
  readonly capabilities: readonly string[];
}

/** How a client is opened. */
export interface QmpClientOptions {
  /** ms until connection, greeting and negotiation must be done. Default 3000. */
  readonly handshakeMs?: number;
  /** An open connection, in place of the address; such a client does not connect again. */
  readonly wire?: QmpWire;
}

/** How one command is run. */
export interface QmpExecuteOptions {
  /** A descriptor that goes with it; it stays open here. */
  readonly fd?: Pick<HeldFd, "fd">;
  /** Out of band: it passes those that wait. */
  readonly oob?: boolean;
  /** ms to wait for the answer. Left out: as long as the connection lasts. */
  readonly timeoutMs?: number;
}

interface Pending {
  readonly name: string;
  resolve(value: unknown): void;
  reject(error: Error): void;
}

/** A connection to a QMP server that is made again when it was lost. */
export class QmpClient implements AsyncDisposable {
  /** Where the server is, as it was given. */
  readonly address: string;
  /** Every event, with QEMU's own time. */
  readonly events: EventStream = new EventStream();
  readonly #options: QmpClientOptions;
  readonly #pending = new Map<number, Pending>();
  readonly #lost = new Set<(reason: string) => void>();
  readonly #returned = new Set<() => void>();
  #wire: QmpWire | undefined;
  #greeting!: QmpGreeting;
  #oob = false;
  #next = 1;
  #writes: Promise<void> = Promise.resolve();
  #opening: Promise<void> | undefined;
  #closed = false;

  private constructor(address: string, options: QmpClientOptions) {
    this.address = address;
    this.#options = options;
  }

  /**
   * Connect and negotiate.
   * @param address PATH, unix:PATH or tcp:HOST:PORT
   * @throws {TransportError} when nobody is there, or what is there does not speak QMP
   */
  static async open(address: string, options: QmpClientOptions = {}): Promise<QmpClient> {
    const client = new QmpClient(address, options);
    await client.#connect();
    return client;
  }

  /** What the server said when it was connected to. */
  get greeting(): QmpGreeting {
    return this.#greeting;
  }

  /** The connection stands. */
  get connected(): boolean {
    return this.#wire !== undefined;
  }

  /** Descriptors can go with commands. */
  get passesFds(): boolean {
    return this.#wire?.passesFds ?? false;
  }

  /** Hear that the connection was lost. @returns call it to stop */
  onLost(listener: (reason: string) => void): () => void {
    this.#lost.add(listener);
    return () => this.#lost.delete(listener);
  }

  /** Hear that it was made again. @returns call it to stop */
  onReturn(listener: () => void): () => void {
    this.#returned.add(listener);
    return () => this.#returned.delete(listener);
  }

  /**
   * Run a command.
   * @returns its value; integers beyond 2^53 as bigint
   * @throws {CommandError} with QEMU's text and class when it refuses
   * @throws {TransportError} when the connection is lost or the time is up
   */
  async execute(
    name: string,
    args?: Readonly<Record<string, unknown>>,
    options: QmpExecuteOptions = {},
  ): Promise<unknown> {
    await this.#connect();
    if (options.fd && !this.passesFds) {
      throw new CommandError(
        `Cannot send a descriptor with ${name}: that needs a Unix socket and leave to use FFI (--allow-ffi)`,
      );
    }
    try {
      return await this.#ask(name, args, options);
    } catch (error) {
      if (!(error instanceof CommandError && NOT_NEGOTIATED.test(error.message))) throw error;
      // whoever stands between us and QEMU has another QEMU behind it now
      await this.#negotiate(this.#options.handshakeMs ?? HANDSHAKE_MS);
      return await this.#ask(name, args, options);
    }
  }

  /** Hang up; QEMU goes on. */
  close(): void {
    this.#closed = true;
    this.#drop("the connection was closed here");
    this.events.close();
  }

  /** See {@link QmpClient.close}. */
  [Symbol.asyncDispose](): Promise<void> {
    this.close();
    return Promise.resolve();
  }

  #connect(): Promise<void> {
    if (this.#closed) throw new TransportError(`Cannot reach QEMU at ${this.address}: the connection was closed here`);
    if (this.#wire && !this.#opening) return Promise.resolve();
    return this.#opening ??= this.#open().finally(() => this.#opening = undefined);
  }

  async #open(): Promise<void> {
    const { handshakeMs = HANDSHAKE_MS, wire: given } = this.#options;
    const again = this.#greeting !== undefined;
    const until = performance.now() + handshakeMs;
    const wire = given ?? await openQmpWire(this.address, until);
    if (given && this.#greeting) throw new TransportError(`Cannot reach QEMU at ${this.address}: it has ended`);
    const { promise, resolve, reject } = Promise.withResolvers<void>();
    this.#wire = wire;
    this.#listen(wire, resolve, reject);
    const timer = setTimeout(
      () =>
        reject(
          new TransportError(
            `Cannot attach to '${this.address}': no QMP greeting within ${handshakeMs} ms; is it a QMP socket, ` +
              "and is nobody else attached to it?",
          ),
        ),
      handshakeMs,
    );
    try {
      await promise;
      await this.#negotiate(Math.max(1, until - performance.now())).catch((error) => {
        throw new TransportError(`Cannot attach to '${this.address}': ${error.message}`, { cause: error });
      });
    } catch (error) {
      if (this.#wire === wire) this.#wire = undefined;
      wire.close();
      throw error;
    } finally {
      clearTimeout(timer);
    }
    // behind the command that made it
    if (again) { for (const listener of [...this.#returned]) queueMicrotask(listener); }
  }

  async #negotiate(timeoutMs: number): Promise<void> {
    const oob = this.#greeting.capabilities.includes("oob");
    try {
      await this.#ask("qmp_capabilities", oob ? { enable: ["oob"] } : undefined, { timeoutMs });
      this.#oob = oob;
    } catch (error) {
      // somebody negotiated before us on this very connection (a proxy): it is open, and out of band as they left it
      if (!(error instanceof CommandError && error.errorClass === "CommandNotFound")) throw error;
      this.#oob = false;
    }
  }

  async #listen(wire: QmpWire, greeted: () => void, refused: (error: Error) => void): Promise<void> {
    const reader = new MessageReader();
    let greeting = true;
    let human = false;
    let reason = "QEMU closed the connection";
    try {
      for await (const piece of wire.input) {
        human = greeting && HUMAN_MONITOR.test(piece);
        for (const message of reader.feed(piece, greeting ? MAX_GREETING : MAX_MESSAGE)) {
          if (greeting) {
            this.#greeting = readGreeting(message);
            greeting = false;
            greeted();
          } else this.#take(message);
        }
      }
      if (greeting) reason = "it closed the connection without a QMP greeting";
    } catch (error) {
      reason = human ? "it is QEMU's human monitor; a QMP socket is made by -qmp" : (error as Error).message;
      wire.close();
    }
    refused(new TransportError(`Cannot attach to '${this.address}': ${reason}`));
    if (this.#wire === wire && !greeting) this.#drop(reason);
  }

  #take(message: Record<string, unknown>): void {
    if (typeof message.event === "string") return this.events.pass(message as unknown as MonitorEvent);
    if (message.QMP) return void (this.#greeting = readGreeting(message)); // greeted once more: it will ask to negotiate
    const id = message.id;
    // an error without an id answers something that was no command: the oldest question, as answers come in order
    const key = typeof id === "number" ? id : message.error ? this.#pending.keys().next().value : undefined;
    const pending = key === undefined ? undefined : this.#pending.get(key);
    if (!pending) return;
    this.#pending.delete(key!);
    const error = message.error as { class?: string; desc?: string } | undefined;
    if (error) pending.reject(new CommandError(error.desc ?? "no reason given", [], error.class));
    else pending.resolve(message.return);
  }

  async #ask(
    name: string,
    args: Readonly<Record<string, unknown>> | undefined,
    { fd, oob, timeoutMs }: QmpExecuteOptions,
  ): Promise<unknown> {
    const wire = this.#wire;
    if (!wire) throw new TransportError(`Cannot reach QEMU at ${this.address}: the connection was lost`);
    const id = this.#next++;
    const key = oob && this.#oob ? "exec-oob" : "execute";
    const text = stringifyJson({ [key]: name, ...(args ? { arguments: args } : {}), id }) + "\n";
    const { promise, resolve, reject } = Promise.withResolvers<unknown>();
    this.#pending.set(id, { name, resolve, reject });
    this.#writes = this.#writes.then(() => wire.send(text, fd ? [fd.fd] : [])).catch((error) => {
      this.#pending.delete(id);
      reject(new TransportError(`Lost QEMU at ${this.address} during ${name}: ${error.message}`));
    });
    if (timeoutMs === undefined) return await promise;
    const timer = setTimeout(() => {
      this.#pending.delete(id);
      reject(new TransportError(`QEMU did not answer ${name} within ${Math.round(timeoutMs)} ms`));
    }, timeoutMs);
    try {
      return await promise;
    } finally {
      clearTimeout(timer);
    }
  }

  #drop(reason: string): void {
    const wire = this.#wire;
    if (!wire) return;
    this.#wire = undefined;
    wire.close();
    const waiting = [...this.#pending.values()];
    this.#pending.clear();
    for (const { name, resolve, reject } of waiting) {
      // QEMU hangs up without an answer now and then when it was asked to go
      if (name === "quit") resolve({});
      else reject(new TransportError(`Lost QEMU at ${this.address} during ${name}: ${reason}`));
    }
    for (const listener of [...this.#lost]) listener(reason);
  }
}

function readGreeting(message: Record<string, unknown>): QmpGreeting {
  const greeting = message.QMP as QmpGreeting | undefined;
  if (typeof greeting?.version?.qemu?.major !== "number") throw new Error("what answers there does not speak QMP");
  return { version: greeting.version, capabilities: Array.isArray(greeting.capabilities) ? greeting.capabilities : [] };
}

/** Cuts text into JSON objects: at line ends where they are whole there, else at the brace that closes them. */
class MessageReader {
  #rest: string[] = [];
  #length = 0;

  /** @throws {Error} for what is not JSON, or too long */
  *feed(piece: string, limit: number): Generator<Record<string, unknown>> {
    const lines = piece.split("\n");
    for (const [index, line] of lines.entries()) {
      this.#rest.push(line);
      this.#length += line.length + 1;
      if (this.#length > limit) throw new Error("what answers there does not speak QMP");
      if (index === lines.length - 1) break;
      const text = this.#rest.join("");
      const message = text.trim() === "" ? undefined : parseMessage(text);
      // pretty=on: it goes on behind this line
      this.#rest = message === null ? [text, "\n"] : [];
      if (message !== null) this.#length = 0;
      if (message) yield message;
    }
  }
}

/** @returns null while it may go on on the next line */
function parseMessage(text: string): Record<string, unknown> | null {
  // over several lines it ends where a brace stands alone
  if (/^\s*\{\s*\n/.test(text) && !/\n\}\s*$/.test(text)) return null;
  try {
    const value = /[0-9]{16}/.test(text) ? JSON.parse(text, exact) : JSON.parse(text);
    if (typeof value === "object" && value !== null && !Array.isArray(value)) return value;
  } catch {
    const start = text.trimStart();
    // the first line of a message over several is a brace alone
    if (/^\{\s*(\r?\n|$)/.test(start)) return null;
  }
  throw new Error("what answers there does not speak QMP");
}

/** Integers that a double does not hold become bigint. */
function exact(_key: string, value: unknown, context?: { readonly source: string }): unknown {
  if (typeof value !== "number" || Number.isSafeInteger(value)) return value;
  return context && /^-?\d+$/.test(context.source) ? BigInt(context.source) : value;
}

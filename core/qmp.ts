/**
 * The QMP layer: JSON in, JSON out.
 *
 *     -> {"execute": NAME, "arguments": {...}, "id": ANY}      or "exec-oob", once enabled
 *     <- {"return": VALUE, "id": ANY}  |  {"error": {"class": C, "desc": TEXT}, "id": ANY}
 *     <- {"event": NAME, "data": {...}, "timestamp": {...}}
 *
 * One connection begins with a greeting and refuses everything but `qmp_capabilities` until that was sent. Commands run one
 * after the other; those out of band run at once. Source: QEMU qapi/qmp-dispatch.c, monitor/qmp.c.
 * @module
 */
import { CommandError } from "../stream/errors.ts";
import type { Arguments, Command, Monitor } from "./command.ts";
import type { FdTable } from "./fds.ts";
import { isRefusal, runHmp } from "./hmp.ts";
import { JsonFloat, type JsonItem, JsonStream, stringifyJson } from "./json.ts";
import { array, check, INT, object, STRING } from "./schema.ts";
import { QEMU_VERSION, type Session } from "./session.ts";
import type { HeldFd } from "./transport.ts";

/** An answer, without the `id` of its request. */
export type QmpReply = { readonly return: unknown } | {
  readonly error: { readonly class: string; readonly desc: string };
};

/** How a command is run. */
export interface QmpOptions {
  /** Names of the connection, sets of the process. */
  readonly fds: FdTable;
  /** A descriptor that comes with the request. */
  readonly fd?: HeldFd;
  /** Out of band, where the machine is another process. */
  readonly oob?: boolean;
}

/** The monitor a QMP command sees. */
class QmpMonitor implements Monitor {
  readonly kind = "qmp";
  /** Names of the connection, sets of the process. */
  readonly fds: FdTable;
  #fd: HeldFd | undefined;

  constructor(private readonly session: Session, { fds, fd }: QmpOptions) {
    this.fds = fds;
    this.#fd = fd;
  }

  takeFd(): HeldFd | undefined {
    const fd = this.#fd;
    this.#fd = undefined;
    return fd;
  }

  warn(text: string): void {
    this.session.warn(text);
  }

  report(text: string): void {
    this.session.toStderr(text);
  }
}

const HUMAN_MONITOR_COMMAND: Command = {
  qmp: { name: "human-monitor-command", arguments: object({ "command-line": STRING, "*cpu-index": INT }) },
  async run(session, args, monitor) {
    if (args["cpu-index"] !== undefined && args["cpu-index"] !== 0) {
      throw new CommandError("Parameter 'cpu-index' expects a CPU number");
    }
    // a short-lived monitor of its own: names given with getfd on this connection are not visible there
    const fds = monitor.fds.connection();
    const { out } = await runHmp(session, args["command-line"] as string, { kind: "human-monitor-command", fds });
    fds.closeNames();
    return out.replaceAll("\n", "\r\n");
  },
};

function findQmp(session: Session, name: string): Command {
  const command = name === "human-monitor-command" ? HUMAN_MONITOR_COMMAND : session.registry.qmp.get(name);
  if (!command) throw new CommandError(`The command ${name} has not been found`, [], "CommandNotFound");
  return command;
}

/**
 * Run a command by its QMP name.
 * @param args integers beyond 2^53 as bigint; what was not a whole number in JSON as JsonFloat
 * @returns the value, `{}` for a command without a result
 * @throws {CommandError} {TransportError} with QEMU's text and class
 */
export async function runQmp(session: Session, name: string, args: unknown, options: QmpOptions): Promise<unknown> {
  if (session.remote) return await session.remote.execute(name, args as Arguments, options);
  const command = findQmp(session, name);
  const { arguments: schema } = command.qmp!;
  const shape = (typeof schema === "function" ? schema(session) : schema) ?? object();
  const checked = check(shape, args) as Record<string, unknown>;
  const monitor = new QmpMonitor(session, options);
  return await session.as(monitor, () => command.run(session, checked, monitor)) ?? {};
}

/** An error as QMP answers it. A fault of our own is thrown on. */
export function errorReply(error: unknown): QmpReply {
  if (error instanceof CommandError) return { error: { class: error.errorClass, desc: error.message } };
  if (isRefusal(error)) return { error: { class: "GenericError", desc: error.message } };
  throw error;
}

/** The parts of a request. @throws {CommandError} when it is none */
function readRequest(request: unknown, oobEnabled: boolean): { name: string; args: unknown; oob: boolean } {
  if (!isObject(request)) throw new CommandError("QMP input must be a JSON object");
  let key: string | undefined;
  for (const [member, value] of Object.entries(request)) {
    if (member === "execute" || (member === "exec-oob" && oobEnabled)) {
      if (typeof value !== "string") throw new CommandError(`QMP input member '${member}' must be a string`);
      if (key) throw new CommandError("QMP input member 'execute' clashes with 'exec-oob'");
      key = member;
    } else if (member === "arguments") {
      if (!isObject(value)) throw new CommandError("QMP input member 'arguments' must be an object");
    } else if (member !== "id") throw new CommandError(`QMP input member '${member}' is unexpected`);
  }
  if (!key) throw new CommandError("QMP input lacks member 'execute'");
  return { name: request[key] as string, args: request.arguments ?? {}, oob: key === "exec-oob" };
}

function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === "object" && value !== null && !Array.isArray(value) && !(value instanceof JsonFloat);
}

/**
 * Answer one request without a connection around it: never out of band, and nothing to negotiate. Recorded sessions begin
 * with `qmp_capabilities`, so that is taken, as often as it comes.
 */
export async function answerQmp(session: Session, request: unknown, options: QmpOptions): Promise<QmpReply> {
  let reply: QmpReply;
  try {
    const { name, args } = readRequest(request, false);
    reply = { return: name === "qmp_capabilities" ? negotiated(args) : await runQmp(session, name, args, options) };
  } catch (error) {
    reply = errorReply(error);
  }
  return withId(reply, request);
}

function withId<T extends object>(reply: T, request: unknown): T {
  return isObject(request) && Object.hasOwn(request, "id") ? { ...reply, id: request.id } : reply;
}

const NEGOTIATION = object({ "*enable": array({ type: "enum", values: ["oob"] }) });

function negotiated(args: unknown): unknown {
  check(NEGOTIATION, args);
  return {};
}

/** One QMP connection: text in, lines out. Who owns the socket feeds and sends. */
export class QmpConnection {
  /** Names of the connection, sets of the process. */
  readonly fds: FdTable;
  readonly #session: Session;
  readonly #send: (line: string) => void;
  readonly #json: JsonStream;
  readonly #held: HeldFd[] = [];
  readonly #stopEvents: () => void;
  #negotiated = false;
  #oob = false;
  #queue: Promise<void> = Promise.resolve();

  /**
   * Greet the peer.
   * @param send takes one line, with its line end; called in order
   */
  constructor(session: Session, send: (line: string) => void) {
    this.#session = session;
    this.#send = send;
    this.fds = session.fds.connection();
    this.#json = new JsonStream((item) => this.#take(item));
    this.#stopEvents = session.events.on((event) => {
      if (this.#negotiated) this.#sendValue(event);
    });
    const { major, minor, micro } = QEMU_VERSION;
    const version = { qemu: { micro, minor, major }, package: session.options.package ?? QEMU_VERSION.package };
    this.#sendValue({ QMP: { version, capabilities: ["oob"] } });
  }

  /** A descriptor came with the bytes that are fed next. */
  attach(fd: HeldFd): void {
    this.#held.push(fd);
  }

  /** Bytes arrived. */
  feed(text: string): void {
    this.#json.feed(text);
  }

  /** Resolves when everything fed so far is answered. */
  get idle(): Promise<void> {
    return this.#queue;
  }

  /** The peer is gone. */
  close(): void {
    this.#stopEvents();
    this.fds.closeNames();
  }

  #take(item: JsonItem): void {
    if (
      "value" in item && this.#oob && isObject(item.value) && "exec-oob" in item.value && !("execute" in item.value)
    ) {
      // past the queue, but never into the middle of another answer
      void this.#answer(item);
      return;
    }
    this.#queue = this.#queue.then(() => this.#answer(item));
  }

  async #answer(item: JsonItem): Promise<void> {
    const request = "value" in item ? item.value : undefined;
    let reply: QmpReply;
    try {
      if ("error" in item) throw item.error;
      reply = { return: await this.#run(request) };
    } catch (error) {
      reply = errorReply(error);
    }
    this.#sendValue(withId(reply, request));
  }

  async #run(request: unknown): Promise<unknown> {
    const { name, args, oob } = readRequest(request, this.#oob);
    if (name === "qmp_capabilities") return this.#negotiate(args);
    if (!this.#negotiated) {
      throw new CommandError("Expecting capabilities negotiation with 'qmp_capabilities'", [], "CommandNotFound");
    }
    if (oob && !findQmp(this.#session, name).qmp!.oob) {
      throw new CommandError(`The command ${name} does not support OOB`);
    }
    return await runQmp(this.#session, name, args, { fds: this.fds, fd: this.#held.shift() });
  }

  #negotiate(args: unknown): unknown {
    if (this.#negotiated) {
      throw new CommandError("Capabilities negotiation is already complete, command ignored", [], "CommandNotFound");
    }
    const { enable } = check(NEGOTIATION, args) as { enable?: readonly string[] };
    this.#negotiated = true;
    this.#oob = enable?.includes("oob") ?? false;
    return {};
  }

  #sendValue(value: unknown): void {
    this.#send(stringifyJson(value) + "\r\n");
  }
}

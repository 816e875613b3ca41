/**
 * The QMP side of a QEMU under test: one command at a time, answers in order, every wait bounded.
 *
 * Deliberately not the product's own client: what is tested should not be the ruler.
 * @module
 */

// deno-lint-ignore no-explicit-any -- QMP values are what the schema of QEMU says
export type Json = any;

/** A command QEMU refused; the message is its `desc`. */
export class QmpError extends Error {
  override readonly name = "QmpError";
  constructor(readonly errorClass: string, desc: string) {
    super(desc);
  }
}

/** An event as QEMU sends it. */
export interface QmpEvent {
  readonly event: string;
  readonly data?: Json;
  readonly timestamp: { readonly seconds: number; readonly microseconds: number };
}

/** Milliseconds one answer may take. */
const ANSWER_MS = 60_000;

/** One monitor connection. */
export class QmpConnection {
  readonly #conn: Deno.Conn;
  readonly #lines: AsyncGenerator<string>;
  /** Events so far, oldest first. */
  readonly events: QmpEvent[] = [];

  private constructor(conn: Deno.Conn) {
    this.#conn = conn;
    this.#lines = lines(conn);
  }

  /** Take the greeting and leave negotiation mode. */
  static async open(conn: Deno.Conn): Promise<QmpConnection> {
    const qmp = new QmpConnection(conn);
    const greeting = JSON.parse((await qmp.#lines.next()).value ?? "{}");
    if (!greeting.QMP) throw new Error(`No QMP greeting but ${JSON.stringify(greeting)}`);
    await qmp.execute("qmp_capabilities");
    return qmp;
  }

  /** Run a command. @throws {QmpError} when QEMU refuses it */
  async execute(command: string, args?: Record<string, unknown>): Promise<Json> {
    const text = JSON.stringify({ execute: command, ...(args ? { arguments: args } : {}) }) + "\n";
    const writer = this.#conn.writable.getWriter();
    try {
      await writer.write(new TextEncoder().encode(text));
    } catch (error) {
      if (!(error instanceof Deno.errors.BrokenPipe)) throw error;
      throw new Error(`QEMU closed the monitor before it answered ${command}`, { cause: error });
    } finally {
      writer.releaseLock();
    }
    for (;;) {
      const { value, done } = await bounded(this.#lines.next(), ANSWER_MS, `an answer to ${command}`);
      if (done) throw new Error(`QEMU closed the monitor before it answered ${command}`);
      const message = JSON.parse(value);
      if (message.event) this.events.push(message);
      else if (message.error) throw new QmpError(message.error.class, message.error.desc);
      else return message.return;
    }
  }

  close(): void {
    try {
      this.#conn.close();
    } catch {
      // QEMU was faster
    }
  }
}

/** Wait for a promise, but not for ever. */
export async function bounded<T>(promise: Promise<T>, ms: number, what: string): Promise<T> {
  let timer: ReturnType<typeof setTimeout> | undefined;
  const late = new Promise<never>((_, reject) => {
    timer = setTimeout(() => reject(new Error(`Waited ${ms} ms in vain for ${what}`)), ms);
  });
  try {
    return await Promise.race([promise, late]);
  } finally {
    clearTimeout(timer);
  }
}

async function* lines(conn: Deno.Conn): AsyncGenerator<string, undefined> {
  const decoder = new TextDecoder();
  const buffer = new Uint8Array(65536);
  let text = "";
  for (;;) {
    let got: number | null;
    try {
      got = await conn.read(buffer);
    } catch {
      got = null; // reset: QEMU has ended
    }
    if (got === null) return undefined;
    text += decoder.decode(buffer.subarray(0, got), { stream: true });
    const parts = text.split("\n");
    text = parts.pop()!;
    yield* parts.filter((line) => line.trim() !== "");
  }
}

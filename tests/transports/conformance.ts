/**
 * What every transport must do, run over each by its own test file. A transport that cannot do something names the
 * reason in `skip`; the reason is printed with the step.
 * @module
 */
import assert from "node:assert/strict";
import fc from "fast-check";
import { formatUri, parseUri } from "../../core/address.ts";
import { FdTable } from "../../core/fds.ts";
import type { Channel, MigrateAddress, Transport, TransportContext } from "../../core/transport.ts";
import { TransportError } from "../../stream/errors.ts";

/** The steps that may be skipped. */
export type Case = "random access" | "abort wakes a reader" | "abort wakes a writer" | "any length" | "accept waits";

/** Both ends of one way. `writer` must be closed before the bytes of a stored one can be read. */
export interface Ends {
  readonly writer: Channel;
  reader(): Promise<Channel>;
}

/** A transport under test. */
export interface Subject {
  readonly transport: Transport;
  /** Text behind the colon of addresses the property test formats and parses. */
  readonly rest: fc.Arbitrary<string>;
  /** Open both ends; `dir` is an empty directory. */
  open(dir: string, context: TransportContext): Promise<Ends>;
  /** Bytes stay where they were written: the writer is closed before the reader opens. */
  readonly stored: boolean;
  readonly skip?: Partial<Record<Case, string>>;
}

/** A context that keeps what it is told. */
export function recordingContext(fds: FdTable = new FdTable()): TransportContext & {
  readonly warnings: string[];
  readonly reports: string[];
  readonly fds: FdTable;
} {
  const warnings: string[] = [];
  const reports: string[] = [];
  return {
    takeNamedFd: (name) => fds.takeNamedFd(name),
    fdset: (id) => fds.fdset(id),
    warn: (text) => void warnings.push(text),
    report: (text) => void reports.push(text),
    warnings,
    reports,
    fds,
  };
}

/** Bytes that show where they belong. */
export function pattern(length: number, seed = 1): Uint8Array<ArrayBuffer> {
  const words = new Uint32Array(Math.ceil(length / 4));
  for (let i = 0, x = seed >>> 0 || 1; i < words.length; i++) {
    x = Math.imul(x ^ (x >>> 15), 0x2c1b3c6d) + i >>> 0;
    words[i] = x;
  }
  return new Uint8Array(words.buffer, 0, length);
}

/** Read to the end, in views of `size` bytes. Fails after `limit` bytes. */
export async function readAll(channel: Channel, size = 100_003, limit = 1 << 28): Promise<Uint8Array> {
  const parts: Uint8Array[] = [];
  let total = 0;
  for (;;) {
    const view = new Uint8Array(size);
    const n = await channel.read!(view);
    if (n === 0) break;
    parts.push(view.subarray(0, n));
    total += n;
    assert.ok(total <= limit, "more bytes than were written");
  }
  const all = new Uint8Array(total);
  let at = 0;
  for (const part of parts) {
    all.set(part, at);
    at += part.length;
  }
  return all;
}

/** Fail when a promise takes longer than a shared machine could need. */
export async function within<T>(promise: Promise<T>, what: string, milliseconds = 20_000): Promise<T> {
  let timer: ReturnType<typeof setTimeout> | undefined;
  const late = new Promise<never>((_, reject) => {
    timer = setTimeout(() => reject(new Error(`${what} took more than ${milliseconds} ms`)), milliseconds);
  });
  try {
    return await Promise.race([promise, late]);
  } finally {
    clearTimeout(timer);
  }
}

/** One line, and QEMU's beginning. */
function isIoError(error: unknown, pattern: RegExp): true {
  assert.ok(error instanceof TransportError, `not a TransportError: ${error}`);
  assert.match(error.message, pattern);
  assert.ok(!error.message.includes("\n"));
  return true;
}

/** Define the tests of a transport. */
export function conformance(subject: Subject): void {
  const { transport } = subject;
  const scheme = transport.scheme;

  const withEnds = async (run: (ends: Ends, context: ReturnType<typeof recordingContext>) => Promise<void>) => {
    const dir = await Deno.makeTempDir({ prefix: "miglab-" });
    const context = recordingContext();
    try {
      await run(await subject.open(dir, context), context);
    } finally {
      context.fds.close();
      await Deno.remove(dir, { recursive: true });
    }
  };
  const test = (name: string, run: (ends: Ends) => Promise<void>, maySkip?: Case) => {
    const reason = maySkip && subject.skip?.[maySkip];
    Deno.test({
      name: `${scheme}: ${name}` + (reason ? ` (skipped: ${reason})` : ""),
      ignore: reason !== undefined,
      fn: () => within(withEnds(run), name),
    });
  };

  Deno.test(`${scheme}: parse() of format() gives an equal address`, () => {
    fc.assert(fc.property(subject.rest, (rest) => {
      let address: MigrateAddress;
      try {
        address = transport.parse(rest);
      } catch (error) {
        assert.equal((error as Error).name, "CommandError", `${rest}: ${error}`);
        return;
      }
      assert.ok(transport.owns(address));
      const again = parseUri(formatUri(address, [transport]), [transport]);
      assert.deepEqual(again, { transport, address });
    }));
  });

  Deno.test(`${scheme}: parse() of anything is an address or a CommandError of one line`, () => {
    fc.assert(fc.property(fc.string(), (rest) => {
      try {
        assert.ok(transport.owns(transport.parse(rest)));
      } catch (error) {
        assert.equal((error as Error).name, "CommandError", String(error));
      }
    }));
  });

  /** Write in parts, read in other parts, compare. */
  const roundTrip = async ({ writer, reader }: Ends, parts: readonly Uint8Array[]) => {
    const send = async () => {
      for (const part of parts) await writer.write!(part);
      await writer.close();
    };
    const receive = async () => {
      const channel = await reader();
      const bytes = await readAll(channel);
      await channel.close();
      return bytes;
    };
    const bytes = subject.stored ? (await send(), await receive()) : (await Promise.all([receive(), send()]))[0];
    const sent = Buffer.concat(parts);
    assert.equal(bytes.length, sent.length);
    assert.ok(sent.equals(bytes), "bytes differ");
  };

  test("bytes arrive as they were written, in order", async (ends) => {
    await roundTrip(ends, [pattern(17), pattern(65_536, 2), pattern(0), pattern(1_000_001, 3), pattern(1, 4)]);
  });

  test("a single write of 24 MiB arrives", (ends) => roundTrip(ends, [pattern(24 << 20, 5)]));

  const noLengths = subject.skip?.["any length"];
  Deno.test({
    name: `${scheme}: any lengths of writes arrive` + (noLengths ? ` (skipped: ${noLengths})` : ""),
    ignore: noLengths !== undefined,
    fn: () =>
      fc.assert(
        fc.asyncProperty(fc.array(fc.integer({ min: 0, max: 200_000 }), { minLength: 1, maxLength: 5 }), (lengths) =>
          within(
            withEnds((ends) =>
              roundTrip(ends, lengths.map((length, i) => pattern(length, i + 1)))
            ),
            `lengths ${lengths}`,
          )),
        { numRuns: 10 },
      ),
  });

  test("memory that Workers share can be written and read", async (ends) => {
    const shared = new Uint8Array(new WebAssembly.Memory({ initial: 16, maximum: 16, shared: true }).buffer);
    shared.set(pattern(shared.length, 6));
    await roundTrip(ends, [shared as Uint8Array]);
  });

  test("a seekable channel writes and reads at any place", async ({ writer, reader }) => {
    assert.equal(writer.seekable, true);
    const start = writer.start ?? 0;
    await writer.write!(pattern(10));
    writer.writeAt!(pattern(5000, 7), start + 100_000);
    await writer.write!(pattern(20, 8));
    writer.seek!(start + 200_000);
    await writer.write!(pattern(30, 9));
    writer.writeAt!(pattern(3 << 20, 10), start + (5 << 20) - 17);
    writer.truncate!(start + (6 << 20));
    await writer.close();
    const channel = await reader();
    assert.equal(channel.seekable, true);
    assert.equal(channel.size!(), start + (6 << 20));
    const at = (position: number, length: number) => {
      const view = new Uint8Array(length);
      assert.equal(channel.readAt!(view, start + position), length);
      return view;
    };
    assert.deepEqual(at(0, 10), pattern(10));
    assert.deepEqual(at(10, 20), pattern(20, 8));
    assert.deepEqual(at(30, 70), new Uint8Array(70));
    assert.deepEqual(at(100_000, 5000), pattern(5000, 7));
    assert.deepEqual(at(200_000, 30), pattern(30, 9));
    assert.deepEqual(at((5 << 20) - 17, 1 << 20), pattern(3 << 20, 10).subarray(0, 1 << 20));
    const tail = new Uint8Array(100);
    assert.equal(channel.readAt!(tail, start + (6 << 20) - 40), 40, "reading stops at the end");
    assert.equal(channel.readAt!(tail, start + (7 << 20)), 0);
    const first = new Uint8Array(10);
    assert.equal(await channel.read!(first), 10);
    assert.deepEqual(first, pattern(10), "readAt() does not move read()");
    await channel.close();
  }, "random access");

  test("abort() wakes a read that waits", async ({ writer, reader }) => {
    const [channel] = await Promise.all([reader(), writer.write!(pattern(1))]);
    assert.equal(await channel.read!(new Uint8Array(10)), 1);
    const waiting = Promise.resolve(channel.read!(new Uint8Array(10)));
    setTimeout(() => channel.abort(), 20);
    await assert.rejects(waiting, (error) => isIoError(error, /^Unable to read from \w+: Operation canceled$/));
    await channel.close();
    writer.abort();
    await writer.close();
  }, "abort wakes a reader");

  test("abort() wakes a write that waits", async ({ writer, reader }) => {
    const accepted = reader();
    await writer.write!(pattern(1));
    const channel = await accepted;
    const waiting = (async () => {
      const chunk = pattern(1 << 20);
      for (let i = 0; i < 1000; i++) await writer.write!(chunk);
    })();
    setTimeout(() => writer.abort(), 100);
    await assert.rejects(waiting, (error) => isIoError(error, /^Unable to write to \w+: Operation canceled$/));
    await writer.close();
    channel.abort();
    await channel.close();
  }, "abort wakes a writer");

  test("close() twice is close() once, and afterwards nothing works", async ({ writer, reader }) => {
    const accepted = subject.stored ? undefined : reader();
    await writer.write!(pattern(5));
    const channel = await (accepted ?? (await writer.close(), reader()));
    await writer.close();
    await writer.close();
    await assert.rejects(
      async () => await writer.write!(pattern(1)),
      (error) => isIoError(error, /^Unable to write to/),
    );
    await channel.close();
    await channel.close();
    await assert.rejects(
      async () => await channel.read!(new Uint8Array(1)),
      (error) => isIoError(error, /^Unable to read from \w+: Bad file descriptor$/),
    );
  });

  test("a regular file answers at once, what flows answers later", async ({ writer, reader }) => {
    const accepted = subject.stored ? undefined : reader();
    const written = writer.write!(pattern(5));
    assert.equal(written instanceof Promise, !writer.seekable);
    await written;
    await writer.close();
    await (await (accepted ?? reader())).close();
  });
}

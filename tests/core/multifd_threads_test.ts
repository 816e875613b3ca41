/**
 * multifd channels with threads of their own, over real sockets: what is sent lands, and whatever goes wrong wakes everybody.
 * @module
 */
import assert from "node:assert/strict";
import { Buffer } from "node:buffer";
import fc from "fast-check";
import { MultifdReceiver, type MultifdReceiverOptions } from "../../core/multifd_receiver.ts";
import { MultifdSender } from "../../core/multifd_sender.ts";
import type { Channel } from "../../core/transport.ts";
import { GuestMemory, type RamBlock, SEGMENT } from "../../guest/memory.ts";
import { multifdZlib } from "../../plugins/multifd_zlib.ts";
import { multifdZstd } from "../../plugins/multifd_zstd.ts";
import type { MultifdCodec } from "../../stream/multifd_codec.ts";
import { encodeMultifdPacket, MULTIFD_FLAG_SYNC, multifdPacketBytes } from "../../stream/multifd.ts";
import { tcpTransport } from "../../transports/tcp.ts";
import { unixTransport } from "../../transports/unix.ts";

const PAGE = 4096;
const context = { takeNamedFd: () => undefined, fdset: () => undefined, warn: () => {}, report: () => {} };
const CODECS: Readonly<Record<string, MultifdCodec | undefined>> = {
  none: undefined,
  zlib: multifdZlib.tables!.multifd![2],
  zstd: multifdZstd.tables!.multifd![4],
};

/** Both ends of some sockets by number. */
async function connected(
  count: number,
  body: (near: Channel[], far: Channel[]) => Promise<void>,
  over: "unix" | "tcp" = "unix",
): Promise<void> {
  const directory = Deno.makeTempDirSync({ prefix: "miglab-" });
  const extra = { ...context, extra: { count, direct: false } };
  const transport = over === "unix" ? unixTransport : tcpTransport;
  const listener = transport.listen(transport.parse(over === "unix" ? `${directory}/s` : "127.0.0.1:0"), extra);
  const near: Channel[] = [], far: Channel[] = [];
  try {
    for (let i = 0; i < count; i++) {
      const accepting = listener.accept();
      near.push(await transport.connectExtra!(listener.addresses![0], context, { direct: false }));
      far.push(await accepting);
    }
    assert([...near, ...far].every(({ lendSocket }) => lendSocket), "sockets without numbers");
    await body(near, far);
  } finally {
    listener.close();
    for (const channel of [...near, ...far]) await channel.close();
    Deno.removeSync(directory, { recursive: true });
  }
}

const SPECS = [{ idstr: "pc.ram", usedLength: SEGMENT + (4 << 20) }, { idstr: "small", usedLength: 5 * PAGE }];

/** Take the first message off each channel, as whoever accepts does. */
async function takeInit(channels: readonly Channel[]): Promise<void> {
  for (const channel of channels) {
    const bytes = new Uint8Array(64);
    for (let done = 0; done < bytes.length;) done += await channel.read!(bytes.subarray(done));
  }
}

function receive(channels: readonly Channel[], options: Partial<MultifdReceiverOptions> = {}) {
  const memory = new GuestMemory(SPECS);
  const failures: Error[] = [];
  const made = new MultifdReceiver({
    channels,
    block: (idstr) => memory.block(idstr),
    blocks: memory.blocks,
    pageSize: PAGE,
    onFailure: (error) => failures.push(error),
    ...options,
  });
  made.start();
  return { made, memory, failures };
}

function send(channels: readonly Channel[], codec?: MultifdCodec): MultifdSender {
  const made = new MultifdSender({ channels, pageSize: PAGE, codec, parameter: () => 1, book: () => {} });
  made.start();
  return made;
}

/** SHA of nothing: the pages themselves, compared one by one. */
function assertSame(a: RamBlock, b: RamBlock, ranges: readonly (readonly [number, number])[]): void {
  for (const [offset, pages] of ranges) {
    const [x, y] = [new Uint8Array(pages * PAGE), new Uint8Array(pages * PAGE)];
    a.read(offset, x);
    b.read(offset, y);
    assert.equal(Buffer.compare(x, y), 0, `pages at 0x${offset.toString(16)} of ${a.idstr}`);
  }
}

for (const [name, codec] of Object.entries(CODECS)) {
  Deno.test(`pages of any pattern arrive over sockets, packed with ${name}, and zeros take back what was there`, async () => {
    const pattern = fc.array(fc.nat(2), { minLength: 1, maxLength: 128 });
    const where = fc.oneof(fc.nat(200), fc.constant(SEGMENT / PAGE - 60), fc.constant(SEGMENT / PAGE + 300));
    const rounds = fc.array(fc.tuple(where, pattern), { minLength: 1, maxLength: 6 });
    await fc.assert(
      fc.asyncProperty(
        fc.array(rounds, { minLength: 1, maxLength: 3 }),
        fc.integer({ min: 1, max: 3 }),
        async (all, count) => {
          await connected(count, async (near, far) => {
            const source = new GuestMemory(SPECS);
            const ram = source.block("pc.ram")!;
            const sender = send(near, codec);
            await takeInit(far);
            const { made, memory } = receive(far, { codec });
            const synced = async () => void await Promise.all([sender.sync(), made.sync()]);
            await synced();
            const touched: [number, number][] = [];
            for (const round of all) {
              // a page is sent once between two SYNC packets
              let next = 0;
              for (const [at, kinds] of round.toSorted((a, b) => a[0] - b[0])) {
                const first = Math.max(at, next);
                const pages = Math.min(kinds.length, 256 - first % 256);
                next = first + pages;
                const flags = Uint8Array.from(kinds.slice(0, pages), (kind) => kind > 0 ? 1 : 0);
                for (let i = 0; i < pages; i++) {
                  const view = ram.writable((first + i) * PAGE, PAGE);
                  if (kinds[i] === 2) crypto.getRandomValues(view.subarray(0, 100));
                  else view.fill(kinds[i] * (first + i & 255));
                }
                const ready = sender.ready();
                if (ready) await ready;
                sender.pages(ram, first * PAGE, pages, flags, false);
                touched.push([first * PAGE, pages]);
              }
              await synced();
            }
            assertSame(ram, memory.block("pc.ram")!, touched);
            const sums = sender.counters().reduce((sum, each) => sum + each.bytes, 0);
            assert.equal(made.bytes, sums);
            await Promise.all([made.stop(), sender.close()]);
            source.release();
            memory.release();
          });
        },
      ),
      { numRuns: 12 },
    );
  });
}

Deno.test("64 MiB arrive over TCP, and memory nobody wrote arrives as zeros", () =>
  connected(2, async (near, far) => {
    const source = new GuestMemory([{ idstr: "pc.ram", usedLength: 128 << 20 }]);
    const ram = source.block("pc.ram")!;
    for (let at = 0; at < 64 << 20; at += 65536) crypto.getRandomValues(ram.writable(at, 65536));
    const sender = send(near);
    await takeInit(far);
    const memory = new GuestMemory([{ idstr: "pc.ram", usedLength: 128 << 20 }]);
    const { made } = receive(far, { block: (idstr) => memory.block(idstr), blocks: memory.blocks });
    const sync = () => Promise.all([sender.sync(), made.sync()]);
    await sync();
    for (let at = 0; at < ram.usedLength; at += 128 * PAGE) {
      const ready = sender.ready();
      if (ready) await ready;
      sender.pages(ram, at, 128, undefined, false);
    }
    await sync();
    assertSame(ram, memory.block("pc.ram")!, [[0, 128 << 20 >> 12]]);
    await Promise.all([made.stop(), sender.close()]);
    source.release();
    memory.release();
  }, "tcp"));

function packet(flags: number, idstr: string, normal: readonly number[]): Uint8Array {
  const head = new Uint8Array(multifdPacketBytes(PAGE));
  const payload = normal.length * PAGE;
  const offsets = Float64Array.from(normal);
  encodeMultifdPacket(head, { flags, normal: normal.length, zero: 0, payload, number: 0, idstr, offsets });
  const bytes = new Uint8Array(head.length + payload).fill(1);
  bytes.set(head);
  return bytes;
}

const sync = () => packet(MULTIFD_FLAG_SYNC, "", []);

/** Ends within seconds, or the test fails instead of hanging. */
async function soon<T>(what: Promise<T>): Promise<T> {
  const { promise, reject } = Promise.withResolvers<never>();
  const timer = setTimeout(() => reject(new Error("it hangs")), 20_000);
  try {
    return await Promise.race([what, promise]);
  } finally {
    clearTimeout(timer);
  }
}

Deno.test("stopping wakes threads that wait for bytes and threads that stand at a SYNC packet", () =>
  connected(2, async (near, far) => {
    const { made, failures } = receive(far);
    await near[0].write!(sync());
    while (made.bytes < 128 + 1344) await new Promise((resolve) => setTimeout(resolve, 5));
    await soon(made.stop());
    assert.deepEqual(failures, []);
  }));

Deno.test("a channel that ends anywhere in a packet says so as QEMU does; between two it only ends", async () => {
  for (const cut of [0, 1, 12, 1344, 2000]) {
    await connected(1, async (near, far) => {
      const { made, failures } = receive(far);
      await near[0].write!(sync());
      await soon(made.sync());
      await near[0].write!(packet(0, "pc.ram", [0, PAGE]).subarray(0, cut));
      await near[0].close();
      const text = cut === 0
        ? /^Cannot find SYNC packet at offset 0x580 in "multifd 0": the end of the connection/
        : cut === 12
        ? /^Cannot read multifd packet at offset .*\(QEMU: multifd: unexpected EOF after packet header\)$/
        : /^Cannot read multifd packet at offset .*\(QEMU: Unexpected end-of-file before all data were read\)$/;
      await assert.rejects(
        soon(made.sync()),
        (error: Error) => text.test(error.message) && error.constructor.name === "TruncatedStreamError",
      );
      assert.equal(failures.length, 1);
      await soon(made.stop());
    });
  }
});

Deno.test("a packet that breaks a rule fails the load in QEMU's words, whichever thread read it", () =>
  connected(2, async (near, far) => {
    const { made, failures } = receive(far);
    for (const channel of near) await channel.write!(sync());
    await soon(made.sync());
    await near[1].write!(packet(0, "nowhere", [0]));
    await assert.rejects(soon(made.sync()), /QEMU: multifd: unknown ram block nowhere\)$/);
    assert.equal((made.failure as Error & { channel: string }).channel, "multifd 1");
    assert.equal(failures.length, 1);
    await soon(made.stop());
  }));

Deno.test("silence on sockets is not waited out for ever", () =>
  connected(1, async (near, far) => {
    const { made } = receive(far, { silenceMs: 200 });
    await near[0].write!(sync());
    await soon(made.sync());
    const message = "Unable to read from multifd 0: no SYNC packet, and nothing else for 0.2 s";
    await assert.rejects(soon(made.sync()), { message });
    await soon(made.stop());
  }));

Deno.test("a source whose destination takes nothing is woken by abort, and by the end of the other side", async () => {
  for (const end of ["abort", "close"] as const) {
    await connected(1, async (near, far) => {
      const ram = new GuestMemory([{ idstr: "pc.ram", usedLength: 16 << 20 }]).block("pc.ram")!;
      const sender = send(near);
      const filling = (async () => {
        for (let at = 0;; at = (at + 128 * PAGE) % ram.usedLength) {
          await sender.ready();
          sender.pages(ram, at, 128, undefined, false);
        }
      })();
      setTimeout(() => end === "abort" ? near[0].abort() : far[0].close(), 100);
      await assert.rejects(
        soon(filling),
        /^TransportError: Unable to write to socket: (Broken pipe|Connection reset by peer)$/,
      );
      await soon(sender.close());
    });
  }
});

Deno.test("closing a sender that has packets waiting does not wait for the destination", () =>
  connected(1, async (near) => {
    const ram = new GuestMemory([{ idstr: "pc.ram", usedLength: 16 << 20 }]).block("pc.ram")!;
    const sender = send(near);
    for (let i = 0; i < 3; i++) sender.pages(ram, i * 128 * PAGE, 128, undefined, false);
    await soon(sender.close());
  }));

/** Send 8 MiB through all channels and compare. */
async function pass(near: Channel[], far: Channel[], sending?: MultifdCodec, receiving = sending): Promise<void> {
  const specs = [{ idstr: "pc.ram", usedLength: 8 << 20 }];
  const source = new GuestMemory(specs), memory = new GuestMemory(specs);
  const ram = source.block("pc.ram")!;
  for (let at = 0; at < ram.usedLength; at += 65536) crypto.getRandomValues(ram.writable(at, 65536));
  const sender = send(near, sending);
  await takeInit(far);
  const target = { block: (idstr: string) => memory.block(idstr), blocks: memory.blocks, codec: receiving };
  const { made } = receive(far, target);
  const sync = () => soon(Promise.all([sender.sync(), made.sync()]));
  await sync();
  for (let at = 0; at < ram.usedLength; at += 128 * PAGE) {
    await sender.ready();
    sender.pages(ram, at, 128, undefined, false);
  }
  await sync();
  assertSame(ram, memory.block("pc.ram")!, [[0, ram.usedLength / PAGE]]);
  assert.ok(sender.counters().every(({ normal }) => normal > 0) || near.length > 16, "a channel without pages");
  await soon(Promise.all([made.stop(), sender.close()]));
  source.release();
  memory.release();
}

Deno.test("more channels than threads: the others are read and written by this one", () =>
  connected(18, (near, far) => pass(near, far)));

Deno.test("a packing no thread can bring is left to this one", async () => {
  for (const module of [undefined, "https://localhost/none.ts", "file:///none/such.ts"]) {
    const codec = { ...CODECS.zstd!, module };
    // what a thread finds out when it is too late for a source is known here beforehand, but for a module that is gone
    await connected(2, (near, far) => pass(near, far, module?.startsWith("file:") ? CODECS.zstd : codec, codec));
  }
});

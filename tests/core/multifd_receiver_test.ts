import assert from "node:assert/strict";
import { MultifdReceiver, type MultifdReceiverOptions } from "../../core/multifd_receiver.ts";
import type { Channel } from "../../core/transport.ts";
import { GuestMemory } from "../../guest/memory.ts";
import { encodeMultifdPacket, MULTIFD_FLAG_SYNC, multifdPacketBytes } from "../../stream/multifd.ts";

const PAGE = 4096;

/** A packet of pages at these offsets: data pages filled with `fill`, then zero pages. */
function packet(idstr: string, normal: readonly number[], zero: readonly number[] = [], fill = 1): Uint8Array {
  const head = new Uint8Array(multifdPacketBytes(PAGE));
  const offsets = Float64Array.from([...normal, ...zero]);
  const payload = normal.length * PAGE;
  encodeMultifdPacket(head, {
    flags: 0,
    normal: normal.length,
    zero: zero.length,
    payload,
    number: 0,
    idstr,
    offsets,
  });
  const bytes = new Uint8Array(head.length + payload).fill(fill);
  bytes.set(head);
  return bytes;
}

function sync(): Uint8Array {
  const head = new Uint8Array(multifdPacketBytes(PAGE));
  const none = { normal: 0, zero: 0, payload: 0, number: 0, idstr: "", offsets: new Float64Array() };
  encodeMultifdPacket(head, { flags: MULTIFD_FLAG_SYNC, ...none });
  return head;
}

/** A channel that is fed by the test, in pieces of at most `piece` bytes. */
class Fed {
  readonly #bytes: Uint8Array[] = [];
  #ended = false;
  #wake = () => {};
  readonly channel: Channel;

  constructor(piece = Infinity) {
    this.channel = {
      name: "multifd",
      noun: "socket",
      seekable: false,
      returnPath: true,
      read: async (view) => {
        while (!this.#bytes.length) {
          if (this.#ended) return 0;
          await new Promise<void>((resolve) => this.#wake = resolve);
        }
        const n = Math.min(view.length, this.#bytes[0].length, piece);
        view.set(this.#bytes[0].subarray(0, n));
        if (n === this.#bytes[0].length) this.#bytes.shift();
        else this.#bytes[0] = this.#bytes[0].subarray(n);
        return n;
      },
      abort: () => this.end(),
      close: () => {},
    };
  }

  feed(...bytes: Uint8Array[]): this {
    this.#bytes.push(...bytes);
    this.#wake();
    return this;
  }

  end(): void {
    this.#ended = true;
    this.#wake();
  }
}

function receiver(fed: readonly Fed[], options: Partial<MultifdReceiverOptions> = {}) {
  const memory = new GuestMemory([{ idstr: "pc.ram", usedLength: 4 << 20 }, { idstr: "small", usedLength: PAGE }]);
  const failures: Error[] = [];
  const made = new MultifdReceiver({
    channels: fed.map(({ channel }) => channel),
    block: (idstr) => memory.block(idstr),
    pageSize: PAGE,
    onFailure: (error) => failures.push(error),
    ...options,
  });
  made.start();
  return { made, failures, byte: (offset: number) => memory.block("pc.ram")!.view(offset, 1)?.[0] ?? 0 };
}

const tick = () => new Promise((resolve) => setTimeout(resolve, 5));

Deno.test("pages land, in runs and one by one, whole or in small pieces", async () => {
  const run = Array.from({ length: 100 }, (_, i) => 0x100000 + i * PAGE);
  const scattered = Array.from({ length: 50 }, (_, i) => i * 3 * PAGE);
  for (const piece of [Infinity, 1000, 13]) {
    const fed = new Fed(piece);
    const { made, byte, failures } = receiver([fed]);
    fed.feed(sync(), packet("pc.ram", run, [], 5), packet("pc.ram", scattered, [0x300000], 6), sync());
    await made.sync();
    await made.sync();
    assert.deepEqual([...run.map(byte)], run.map(() => 5));
    assert.deepEqual([...scattered.map(byte)], scattered.map(() => 6));
    assert.equal(byte(PAGE), 0);
    assert.equal(made.bytes, 64 + 4 * 1344 + 150 * PAGE);
    assert.deepEqual(failures, []);
    made.stop();
  }
});

Deno.test("a page of zeros takes back what was there", async () => {
  const fed = new Fed().feed(sync(), packet("pc.ram", [0, PAGE], [], 9), packet("pc.ram", [], [PAGE]), sync());
  const { made, byte } = receiver([fed]);
  await made.sync();
  await made.sync();
  assert.deepEqual([byte(0), byte(PAGE)], [9, 0]);
  made.stop();
});

Deno.test("a channel stops at its SYNC packet until the main channel comes to its mark", async () => {
  const [a, b] = [new Fed(), new Fed()];
  const { made, byte } = receiver([a, b]);
  a.feed(sync(), packet("pc.ram", [0], [], 1), sync(), packet("pc.ram", [0], [], 2), sync());
  await tick();
  assert.equal(byte(0), 0, "nothing before the first mark");
  const first = made.sync();
  b.feed(sync());
  await first;
  await tick();
  assert.equal(byte(0), 1);
  const second = made.sync();
  let met = false;
  second.then(() => met = true);
  await tick();
  assert.equal(met, false, "the other channel is not there yet");
  assert.equal(byte(0), 1);
  b.feed(sync());
  await second;
  await tick();
  assert.equal(byte(0), 2);
  made.stop();
});

Deno.test("a channel that fails tells whoever waits at a mark, once", async () => {
  const [a, b] = [new Fed(), new Fed()];
  const { made, failures } = receiver([a, b]);
  a.feed(sync());
  b.feed(packet("nowhere", [0]));
  await assert.rejects(made.sync(), /QEMU: multifd: unknown ram block nowhere\)$/);
  a.feed(packet("nowhere", [0]));
  await tick();
  assert.equal(failures.length, 1);
  assert.equal(made.failure, failures[0]);
  await assert.rejects(made.sync(), /nowhere/);
});

Deno.test("a channel that ends before its SYNC packet fails, one that ends behind the last does not", async () => {
  const fed = new Fed();
  const { made, failures } = receiver([fed]);
  fed.feed(sync(), sync());
  await made.sync();
  await made.sync();
  fed.end();
  await tick();
  assert.deepEqual(failures, []);
  await assert.rejects(
    made.sync(),
    /Cannot find SYNC packet at offset 0xac0 in "multifd 0": the end of the connection/,
  );
  for (const cut of [1, 12, 20, 1343, 1344, 2000]) {
    const short = new Fed().feed(sync(), packet("pc.ram", [0]).subarray(0, cut));
    short.end();
    const { made } = receiver([short]);
    await made.sync();
    const text = cut === 12
      ? "multifd: unexpected EOF after packet header"
      : "Unexpected end-of-file before all data were read";
    await assert.rejects(made.sync(), (error: Error) => error.message.endsWith(`(QEMU: ${text})`));
  }
});

Deno.test("silence at a mark is not waited out for ever; a slow channel is waited for", async () => {
  const fed = new Fed();
  const { made } = receiver([fed], { silenceMs: 100 });
  fed.feed(sync());
  await made.sync();
  const slow = made.sync();
  const bytes = sync();
  for (let at = 0; at < bytes.length; at += 100) {
    await new Promise((resolve) => setTimeout(resolve, 20));
    fed.feed(bytes.subarray(at, at + 100));
  }
  await slow;
  await assert.rejects(made.sync(), {
    message: "Unable to read from multifd 0: no SYNC packet, and nothing else for 0.1 s",
  });
});

Deno.test("device state is refused: no device here takes it", async () => {
  const head = new Uint8Array(300);
  const view = new DataView(head.buffer);
  view.setUint32(0, 0x11223344);
  view.setUint32(4, 1);
  view.setUint32(8, 0x40);
  new TextEncoder().encodeInto("0000:00:02.0/vfio", head.subarray(12));
  view.setUint32(268, 7);
  view.setUint32(272, 24);
  const { made } = receiver([new Fed().feed(sync(), head)]);
  await made.sync();
  const text = "Unknown idstr 0000:00:02.0/vfio or instance id 7 for load state buffer";
  await assert.rejects(made.sync(), (error: Error) => error.message.endsWith(`(QEMU: ${text})`));
});

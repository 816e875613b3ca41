import assert from "node:assert/strict";
import { MultifdSender } from "../../core/multifd_sender.ts";
import type { Channel } from "../../core/transport.ts";
import { RamBlock } from "../../guest/memory.ts";
import { multifdZstd } from "../../plugins/multifd_zstd.ts";
import { decodeMultifdInit, MultifdPacket } from "../../stream/multifd.ts";
import { TransportError } from "../../stream/errors.ts";

const PAGE = 4096;

/** A channel that keeps what it is given, and takes its time when told to. */
class Taken {
  readonly parts: Uint8Array[] = [];
  gate?: Promise<void>;
  fail?: Error;
  readonly channel: Channel = {
    name: "multifd",
    noun: "socket",
    seekable: false,
    returnPath: true,
    write: async (view) => {
      const copy = view.slice();
      await this.gate;
      if (this.fail) throw this.fail;
      this.parts.push(copy);
    },
    abort() {},
    close() {},
  };

  /** Packets behind the first message: what each lists, and its payload. */
  packets(): { sync: boolean; number: number; normal: number[]; zero: number[]; payload: Uint8Array }[] {
    const bytes = new Uint8Array(this.parts.reduce((sum, { length }) => sum + length, 0));
    let end = 0;
    for (const part of this.parts) {
      bytes.set(part, end);
      end += part.length;
    }
    const view = new DataView(bytes.buffer);
    const packet = new MultifdPacket({ channel: "x", id: 0, pageSize: PAGE, usedLength: () => 1 << 30 });
    const found = [];
    for (let at = 64; at < bytes.length;) {
      assert(packet.head(view, at, at));
      packet.body(view, at, at);
      at += packet.bytes;
      const offsets = [...packet.offsets.subarray(0, packet.normal + packet.zero)];
      found.push({
        sync: packet.sync,
        number: packet.number,
        normal: offsets.slice(0, packet.normal),
        zero: offsets.slice(packet.normal),
        payload: bytes.slice(at, at + packet.payload),
      });
      at += packet.payload;
    }
    return found;
  }
}

/** A block whose page k is filled with k + 1. */
function block(pages: number): RamBlock {
  const made = new RamBlock({ idstr: "pc.ram", usedLength: pages * PAGE });
  for (let page = 0; page < pages; page++) made.writable(page * PAGE, PAGE).fill(page + 1);
  return made;
}

function sender(taken: readonly Taken[], codec = false) {
  let booked = 0;
  const made = new MultifdSender({
    channels: taken.map(({ channel }) => channel),
    pageSize: PAGE,
    uuid: new Uint8Array(16).fill(0xcd),
    ...(codec ? { codec: multifdZstd.tables!.multifd![4] } : {}),
    parameter: () => 1,
    book: (bytes) => booked += bytes,
  });
  return { made, booked: () => booked };
}

Deno.test("each channel says who it is, then SYNC; packets are counted over all of them", async () => {
  const taken = [new Taken(), new Taken(), new Taken()];
  const { made, booked } = sender(taken);
  made.start();
  await made.sync();
  const ram = block(300);
  for (let at = 0; at < 300; at += 100) {
    await made.ready();
    made.pages(ram, at * PAGE, 100, undefined, false);
  }
  await made.sync();
  const numbers: number[] = [];
  for (const [id, each] of taken.entries()) {
    const init = decodeMultifdInit(each.parts[0], "x", { channels: 3 });
    assert.deepEqual([init.id, init.uuid], [id, new Uint8Array(16).fill(0xcd)]);
    const packets = each.packets();
    assert.equal(packets[0].sync && packets.at(-1)!.sync, true);
    numbers.push(...packets.map(({ number }) => number));
  }
  assert.deepEqual(numbers.sort((a, b) => a - b), Array.from({ length: 9 }, (_, i) => i));
  const bytes = taken.flatMap(({ parts }) => parts).reduce((sum, { length }) => sum + length, 0);
  assert.equal(booked(), bytes);
  const counters = made.counters();
  assert.equal(counters.reduce((sum, each) => sum + each.normal, 0), 300);
  assert.equal(counters.reduce((sum, each) => sum + each.bytes, 0), bytes);
  made.close();
});

Deno.test("data pages come first, zero pages behind them or not at all, whatever the runs", async () => {
  for (const pattern of [[1, 1, 1, 1], [1, 0, 1, 0, 1, 0, 1], [0, 0, 1, 1], [0, 0, 0]]) {
    for (const omit of [false, true]) {
      for (const codec of [false, true]) {
        const taken = new Taken();
        const { made } = sender([taken], codec);
        made.start();
        await made.ready();
        const flags = Uint8Array.from(pattern);
        const ram = block(10);
        made.pages(ram, 2 * PAGE, pattern.length, flags, false, omit);
        await made.sync();
        const [packet] = taken.packets();
        const of = (value: number) => pattern.flatMap((flag, i) => flag === value ? [(2 + i) * PAGE] : []);
        assert.deepEqual([packet.normal, packet.zero], [of(1), omit ? [] : of(0)]);
        let payload = packet.payload;
        if (codec && packet.normal.length) {
          const into = new Uint8Array(packet.normal.length * PAGE + PAGE);
          const decoder = multifdZstd.tables!.multifd![4].decoder();
          assert.equal(decoder.unpack(payload, into, packet.normal.length * PAGE), undefined);
          decoder.close();
          payload = into.subarray(0, packet.normal.length * PAGE);
        }
        assert.deepEqual(payload, Uint8Array.from(of(1).flatMap((at) => new Array(PAGE).fill(at / PAGE + 1))));
        made.close();
      }
    }
  }
});

Deno.test("memory nobody wrote goes out as zeros where nobody looks for zero pages", async () => {
  const taken = new Taken();
  const { made } = sender([taken]);
  made.start();
  await made.ready();
  made.pages(new RamBlock({ idstr: "pc.ram", usedLength: 1 << 20 }), 0, 128, undefined, false);
  await made.sync();
  const [packet] = taken.packets();
  assert.equal(packet.normal.length, 128);
  assert(packet.payload.length === 128 * PAGE && packet.payload.every((byte) => byte === 0));
  made.close();
});

Deno.test("a packet waits for a channel that is free, a SYNC for all of them", async () => {
  const taken = [new Taken(), new Taken()];
  const { made } = sender(taken);
  made.start();
  await made.sync();
  const gate = Promise.withResolvers<void>();
  for (const each of taken) each.gate = gate.promise;
  const ram = block(4);
  made.pages(ram, 0, 1, undefined, false);
  assert.equal(made.ready(), undefined, "the other one is free");
  made.pages(ram, PAGE, 1, undefined, false);
  assert.throws(() => made.pages(ram, 0, 1, undefined, false), TypeError);
  let ready = false, synced = false;
  const waits = Promise.resolve(made.ready()).then(() => ready = true);
  const syncs = made.sync().then(() => synced = true);
  await new Promise((resolve) => setTimeout(resolve, 10));
  assert.deepEqual([ready, synced], [false, false]);
  gate.resolve();
  await Promise.all([waits, syncs]);
  made.close();
});

Deno.test("a channel that fails fails the next call, and whoever waits", async () => {
  const taken = [new Taken()];
  const { made } = sender(taken);
  made.start();
  await made.sync();
  taken[0].fail = new TransportError("Unable to write to socket: Broken pipe");
  made.pages(block(1), 0, 1, undefined, false);
  await assert.rejects(async () => await made.ready(), { message: "Unable to write to socket: Broken pipe" });
  await assert.rejects(made.sync(), { message: "Unable to write to socket: Broken pipe" });
  made.close();
});

import assert from "node:assert/strict";
import fc from "fast-check";
import { StreamError } from "../../stream/errors.ts";
import {
  decodeMultifdInit,
  encodeMultifdInit,
  encodeMultifdPacket,
  MULTIFD_FLAG_SYNC,
  type MultifdFraming,
  MultifdPacket,
  multifdPacketBytes,
  multifdPagesPerPacket,
} from "../../stream/multifd.ts";
import { loadFixture } from "../fixtures.ts";

const framing: MultifdFraming = {
  channel: "multifd 3",
  id: 3,
  pageSize: 4096,
  usedLength: (idstr) => idstr === "pc.ram" ? 0x1000000 : idstr === "/rom@etc/acpi/tables" ? 0x20000 : undefined,
};

const packet = {
  flags: 0,
  normal: 2,
  zero: 1,
  payload: 8192,
  number: 2 ** 40 + 7,
  idstr: "pc.ram",
  offsets: Float64Array.of(0x3000, 0x1000, 0xfff000),
};

function encoded(change: Partial<typeof packet> = {}, pageSize = 4096): Uint8Array {
  const bytes = new Uint8Array(multifdPacketBytes(pageSize));
  encodeMultifdPacket(bytes, { ...packet, ...change });
  return bytes;
}

function decoded(bytes: Uint8Array, into = new MultifdPacket(framing)): MultifdPacket {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  assert(into.head(view, 0, 0x500));
  into.body(view, 0, 0x500);
  return into;
}

/** The message for bytes with one field changed. */
function refused(at: number, value: number, change: Partial<typeof packet> = {}, bytes = 4): string {
  const wrong = encoded(change);
  const view = new DataView(wrong.buffer);
  if (bytes === 4) view.setUint32(at, value);
  else view.setUint8(at, value);
  try {
    decoded(wrong);
  } catch (error) {
    assert(error instanceof StreamError);
    return error.message;
  }
  return "accepted";
}

Deno.test("the first message of a captured channel decodes and encodes to the same bytes", async () => {
  for (const [name, id] of [["pc-multifd-2.ch1", 1], ["pc-multifd-2-zlib-legacy-zero.ch0", 0]] as const) {
    const bytes = (await loadFixture(name)).subarray(0, 64);
    const init = decodeMultifdInit(bytes, "x", { channels: 2 });
    assert.equal(init.id, id);
    assert.deepEqual(encodeMultifdInit(init.id, init.uuid), bytes);
  }
  assert.deepEqual(encodeMultifdInit(1), (await loadFixture("pc-multifd-2.ch1")).slice(0, 64));
});

Deno.test("packets of a captured channel decode and encode to the same bytes", async () => {
  const bytes = await loadFixture("pc-multifd-2.ch0");
  const view = new DataView(bytes.buffer);
  const blocks: Record<string, number> = { "pc.ram": 0x1000000, "/rom@etc/acpi/tables": 0x20000, "pc.bios": 0x40000 };
  const read = new MultifdPacket({ ...framing, usedLength: (idstr) => blocks[idstr] ?? 0x20000 });
  let count = 0, syncs = 0;
  for (let at = 64; at < bytes.length; at += read.bytes + read.payload) {
    assert(read.head(view, at, at));
    read.body(view, at, at);
    const again = new Uint8Array(read.bytes);
    encodeMultifdPacket(again, read.sync ? { ...read, idstr: "", offsets: read.offsets } : copy(read));
    assert.deepEqual(again, bytes.subarray(at, at + read.bytes), `packet ${count}`);
    count++;
    if (read.sync) syncs++;
  }
  assert.deepEqual([count, syncs], [6, 3]);
});

function copy({ flags, normal, zero, payload, number, idstr, offsets }: MultifdPacket): typeof packet {
  return { flags, normal, zero, payload, number, idstr, offsets };
}

Deno.test("a packet of pages of any size comes back as it was", () => {
  for (const pageSize of [1024, 4096, 65536]) {
    const pages = multifdPagesPerPacket(pageSize);
    assert.equal(pages * pageSize, 512 * 1024);
    fc.assert(fc.property(
      fc.uniqueArray(fc.nat(0x1000000 / pageSize - 1), { maxLength: pages }),
      fc.nat(),
      fc.nat(2 ** 31 - 1),
      (list, split, number) => {
        const normal = split % (list.length + 1);
        const offsets = Float64Array.from(list, (page) => page * pageSize);
        const change = { offsets, normal, zero: list.length - normal, payload: normal * pageSize, number };
        const back = decoded(encoded(change, pageSize), new MultifdPacket({ ...framing, pageSize }));
        assert.deepEqual(
          [back.normal, back.zero, back.payload, back.number],
          [normal, list.length - normal, change.payload, number],
        );
        assert.deepEqual(back.offsets.subarray(0, list.length), offsets);
        if (list.length) assert.equal(back.idstr, "pc.ram");
      },
    ));
  }
});

Deno.test("a packet that follows one of another block has its own", () => {
  const read = new MultifdPacket(framing);
  assert.equal(decoded(encoded(), read).idstr, "pc.ram");
  const offsets = Float64Array.of(0, 0x1000, 0x2000);
  assert.equal(decoded(encoded({ idstr: "/rom@etc/acpi/tables", offsets }), read).idstr, "/rom@etc/acpi/tables");
  assert.equal(decoded(encoded(), read).idstr, "pc.ram");
  assert.equal(decoded(encoded({ flags: MULTIFD_FLAG_SYNC, payload: 0 }), read).sync, true);
  assert.deepEqual([read.normal, read.zero, read.payload], [0, 0, 0]);
});

Deno.test("what a packet must not say is refused in QEMU's words", () => {
  const said = (text: string) => new RegExp(`in "multifd 3": .*\\(QEMU: ${text}\\)$`);
  assert.match(refused(0, 0x11223345), said("multifd: received packet magic 11223345, expected 11223344"));
  assert.match(refused(4, 2), said("multifd: received packet version 2, expected 1"));
  assert.match(refused(12, 129), said("multifd: received packet with 129 pages, expected 128"));
  assert.match(
    refused(16, 129),
    said("multifd: received packet with 129 non-zero pages, which exceeds maximum expected pages 128"),
  );
  assert.match(refused(32, 127), said("multifd: received packet with 127 zero pages, expected maximum 126"));
  assert.match(refused(64, 0x41, {}, 1), said("multifd: unknown ram block Ac.ram"));
  assert.match(refused(320, 1), said("multifd: offset too long 4294979584 \\(max 1000000\\)"));
  assert.match(refused(340, 0x1000000), said("multifd: offset too long 16777216 \\(max 1000000\\)"));
  assert.match(refused(324, 0x1001), /at offset 0x640 in .*: page 0x1001 of pc.ram, expected a multiple of 0x1000$/);
  assert.match(refused(20, 8191), /8191 bytes of payload, expected 8192 for 2 pages$/);
  assert.match(refused(20, 1, { normal: 0, zero: 3, payload: 0 }), /1 bytes of payload, expected 0 for 0 pages$/);
  assert.match(refused(20, 0x100001, { flags: 2 }), /1048577 bytes of payload, expected at most 1048576$/);
  assert.equal(refused(20, 100, { flags: 2 }), "accepted");
  const read = new MultifdPacket({ ...framing, compression: 2 });
  assert.throws(() => decoded(encoded({ flags: 4 }), read), /QEMU: multifd 3: flags received 4 flags expected 2\)$/);
  assert.throws(() => decoded(encoded(), read), /QEMU: multifd 3: flags received 0 flags expected 2\)$/);
});

Deno.test("what the first message must not say is refused in QEMU's words", () => {
  const refuse = (at: number, value: number, expected: RegExp, uuid?: Uint8Array) => {
    const bytes = encodeMultifdInit(1);
    bytes[at] = value;
    const wanted = { channels: 2, ...(uuid ? { uuid } : {}) };
    assert.throws(() => decodeMultifdInit(bytes, "channel 0", wanted), (error: Error) => {
      assert(error instanceof StreamError);
      assert.match(error.message, expected);
      return true;
    });
  };
  refuse(3, 0x45, /multifd: received packet magic 11223345 expected 11223344/);
  refuse(7, 9, /multifd: received packet version 9 expected 1/);
  refuse(24, 2, /multifd: received channel id 2 is greater than number of channels 2/);
  const text = "received uuid 'ff000000-0000-0000-0000-000000000000' and expected uuid '0{8}(-0000){3}-0{12}'";
  refuse(8, 0xff, new RegExp(`multifd: ${text} for channel 1`), new Uint8Array(16));
});

Deno.test("any bytes at all are a packet or a fault, quickly", () => {
  fc.assert(fc.property(fc.uint8Array({ minLength: 1344, maxLength: 1344 }), fc.boolean(), (bytes, headed) => {
    if (headed) bytes.set(encoded().subarray(0, 12));
    const view = new DataView(bytes.buffer, bytes.byteOffset);
    const read = new MultifdPacket(framing);
    try {
      if (read.head(view, 0, 0)) read.body(view, 0, 0);
    } catch (error) {
      assert(error instanceof StreamError, String(error));
      assert.doesNotMatch(error.message, /\n/);
    }
  }));
});

import { Buffer } from "node:buffer";
import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { deflateRawSync, gunzipSync } from "node:zlib";
import { openImage } from "../../containers/image.ts";
import { openQcow2 } from "../../containers/qcow2.ts";
import { inspectImage } from "../../reports/inspect.ts";
import { bufferSource } from "../../stream/channel.ts";
import { StreamError, UnsupportedError } from "../../stream/errors.ts";

const NAMES = ["savevm-plain", "savevm-extended-l2", "savevm-v2-small-clusters"];
/** What `pmemsave` gave of the first 640 KiB when the second snapshot was taken. */
const LOW_MEMORY = "f5a2f14f2e05901521dc9aec14610da3a7fe3ec6942c96779ca34c8d0b2f5d32";

function load(name: string): Uint8Array<ArrayBuffer> {
  return new Uint8Array(gunzipSync(Deno.readFileSync(new URL(`../fixtures/qcow2/${name}.qcow2.gz`, import.meta.url))));
}

for (const name of NAMES) {
  Deno.test(`openImage() reads the VM state of snapshots in ${name}`, async () => {
    const bytes = load(name);
    await using image = await openImage(bytes);
    assert.equal(image.format, "qcow2");
    assert.deepEqual([image.fault, image.complete, image.warnings.length], [undefined, true, 0]);
    assert.deepEqual(image.snapshots!.map((s) => [s.id, s.name]), [["1", "first"], ["2", "second"]]);
    assert.equal(image.snapshot!.name, "second");
    assert.equal(image.streamEnd, image.snapshot!.vmStateBytes);
    assert.equal(image.stream.machine, "pc-i440fx-10.0");
    const low = new Uint8Array(0xa0000);
    image.ram.readRange("pc.ram", 0, low);
    assert.equal(createHash("sha256").update(low).digest("hex"), LOW_MEMORY);
    const rom = gunzipSync(Deno.readFileSync(new URL("../fixtures/streams/aux/guest.rom.gz", import.meta.url)));
    const bios = new Uint8Array(0x10000);
    image.ram.readRange("pc.bios", 0, bios);
    assert(rom.equals(bios));
    assert(image.devices.some((d) => d.name.endsWith("virtio-blk") && d.problem === undefined));
    const report = await inspectImage(image);
    assert.equal(report.snapshots!.length, 2);
    assert.equal(report.snapshot!.date.slice(0, 4), "2026");
    for (const selected of ["first", "1"]) {
      await using first = await openImage(bytes, { snapshot: selected });
      assert.equal(first.snapshot!.name, "first");
      assert.equal(first.snapshot!.vmClock, 0n);
      assert.equal(first.fault, undefined);
    }
  });
}

/** A disk of 512-byte clusters whose one snapshot has `state` as VM state: clusters packed, plain, zero and absent in turn. */
function build(state: Buffer): Uint8Array<ArrayBuffer> {
  const cluster = 512, clusters = Math.ceil(state.length / cluster);
  const file = Buffer.alloc(cluster * 8 + clusters * cluster * 2);
  file.write("QFI\xfb", 0, "latin1");
  file.writeUInt32BE(2, 4);
  file.writeUInt32BE(9, 20);
  file.writeBigUInt64BE(1000n, 24); // the disk needs one L1 entry, 64 clusters
  file.writeUInt32BE(1, 60);
  file.writeBigUInt64BE(512n, 64);
  const l1 = 1024, l2 = 2048;
  file.writeBigUInt64BE(BigInt(l1), 512);
  file.writeUInt32BE(3, 520);
  file.writeUInt16BE(1, 524);
  file.writeUInt16BE(4, 526);
  file.writeUInt32BE(state.length, 512 + 32);
  file.write("1snap", 512 + 40);
  let free = 4096;
  for (let i = 0; i < clusters; i++) {
    const table = l2 + Math.floor(i / 64) * cluster;
    file.writeBigUInt64BE(BigInt(table), l1 + (1 + Math.floor(i / 64)) * 8);
    const piece = Buffer.alloc(cluster);
    state.copy(piece, 0, i * cluster);
    const entry = table + i % 64 * 8;
    if (piece.every((byte) => byte === 0)) {
      if (i % 2) file.writeBigUInt64BE(BigInt(free) | 1n, entry);
      continue;
    }
    const packed = deflateRawSync(piece);
    if (i % 3 === 0 && packed.length < cluster) {
      const at = free + 100; // packed data begins anywhere
      packed.copy(file, at);
      const sectors = BigInt(Math.floor((at + packed.length - 1) / 512) - Math.floor(at / 512));
      file.writeBigUInt64BE(1n << 62n | sectors << 61n | BigInt(at), entry);
      free += cluster * 2;
    } else {
      piece.copy(file, free);
      file.writeBigUInt64BE(BigInt(free) | 1n << 63n, entry);
      free += cluster;
    }
  }
  return new Uint8Array(file.subarray(0, Math.max(free, 4096)));
}

Deno.test("clusters may be packed, plain, zero or absent", () => {
  const state = Buffer.alloc(50_000);
  for (let i = 0; i < state.length; i++) if (Math.floor(i / 512) % 5 > 1) state[i] = i * 31 % 7;
  const { source, snapshot } = openQcow2(bufferSource(build(state)));
  assert.equal(snapshot.vmStateBytes, state.length);
  assert.equal(source.size!(), state.length);
  for (const step of [50_000, 1000, 77]) {
    const got = Buffer.alloc(state.length);
    for (let at = 0; at < state.length; at += step) source.readAt!(got.subarray(at, at + step), at);
    assert(got.equals(state), `in steps of ${step}`);
  }
  assert.equal(source.readAt!(new Uint8Array(10), state.length), 0);
});

Deno.test("what cannot be opened says why", () => {
  const refused = (edit: (view: DataView) => void, expected: RegExp, kind = StreamError) => {
    const bytes = load("savevm-plain");
    edit(new DataView(bytes.buffer));
    assert.throws(() => openQcow2(bufferSource(bytes)), (error: Error) => {
      assert(error instanceof kind, error.stack);
      assert.match(error.message, expected);
      return true;
    });
  };
  refused((view) => view.setUint32(4, 9), /version 9, expected 2 or 3/);
  refused((view) => view.setUint32(20, 40), /clusters of 2\^40/);
  refused((view) => view.setUint32(32, 2), /encrypted/, UnsupportedError);
  refused((view) => view.setUint32(76, 4), /external data file/, UnsupportedError);
  refused((view) => view.setUint32(76, 0x40), /incompatible features 0x40/, UnsupportedError);
  refused((view) => view.setUint32(60, 0), /no internal snapshot with VM state/, UnsupportedError);
  refused((view) => view.setUint32(60, 0x7fffffff), /2147483647 snapshots, expected at most/);
  refused((view) => view.setBigUint64(64, 1n << 60n), /snapshot table/);
  assert.throws(
    () => openQcow2(bufferSource(load("savevm-plain")), "third"),
    /snapshots "first", "second", expected one named "third"/,
  );
});

Deno.test("damaged tables give a fault or wrong bytes, never a hang or a crash", async () => {
  const whole = load("savevm-v2-small-clusters");
  let random = 1;
  const next = (below: number) => (random = (random * 48271) % 0x7fffffff) % below;
  for (let round = 0; round < 150; round++) {
    const bytes = whole.slice();
    const area = round % 3 === 0 ? 104 : bytes.length;
    for (let i = 0; i < 1 + round % 5; i++) bytes[4 + next(area - 4)] ^= 1 << next(8);
    try {
      await using image = await openImage(bytes.subarray(0, round % 7 ? bytes.length : next(bytes.length)));
      for (const device of image.devices) device.problem;
      for (const block of image.ram.blocks) await image.ram.readPage(block, 0);
    } catch (error) {
      assert(error instanceof StreamError, (error as Error).stack);
    }
  }
});

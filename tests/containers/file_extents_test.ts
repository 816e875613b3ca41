import assert from "node:assert/strict";
import { Buffer } from "node:buffer";
import * as fs from "node:fs";
import fc from "fast-check";
import { fileExtents } from "../../containers/file_extents.ts";
import { fileSource } from "../../containers/file_source.ts";
import { FlatRam } from "../../containers/flat_ram.ts";
import { openImage } from "../../containers/image.ts";
import { diffImages } from "../../reports/diff.ts";
import { extractBlock } from "../../reports/extract.ts";
import type { ByteSource } from "../../stream/channel.ts";
import { buildCore } from "../elf_build.ts";

const MIB = 1 << 20;
const ZEROS = Buffer.alloc(40 * MIB);

interface Sparse extends Disposable {
  readonly path: string;
}

/** A file with bytes of 1 where it has data. @param data [from, length], in any order */
function sparse(size: number, data: readonly (readonly [from: number, length: number])[], head?: Uint8Array): Sparse {
  const path = Deno.makeTempFileSync({ prefix: "miglab-sparse-" });
  const fd = fs.openSync(path, "r+");
  for (const [from, length] of data) fs.writeSync(fd, new Uint8Array(length).fill(1), 0, length, from);
  if (head) fs.writeSync(fd, head, 0, head.length, 0);
  fs.ftruncateSync(fd, size);
  fs.closeSync(fd);
  return { path, [Symbol.dispose]: () => Deno.removeSync(path) };
}

/** Whether files here have holes, and who made them is told. */
function holesHere(): boolean {
  using file = sparse(64 * MIB, [[0, 4096]]);
  const source = fileSource(file.path);
  try {
    return (source.extent?.(8 * MIB) ?? 0) < 0;
  } finally {
    source.close();
  }
}

/** A test of what only a file system with holes has; left out, visibly, on another. */
function holesTest(name: string, fn: () => void | Promise<void>): void {
  const here = holesHere();
  Deno.test({ name: here ? name : `${name} (needs a file system with holes)`, ignore: !here, fn });
}

/** Every extent of a file, from end to end. */
function extents(source: ByteSource): [from: number, length: number][] {
  const found: [number, number][] = [];
  for (let at = 0; at < source.size!();) {
    const length = source.extent!(at);
    assert(length !== 0);
    found.push([at, length]);
    at += Math.min(Math.abs(length), source.size!() - at);
  }
  return found;
}

holesTest("a file tells its holes, but for short ones, and none behind its end", () => {
  using file = sparse(100 * MIB, [[0, MIB], [MIB + 65536, 4096], [50 * MIB, 4096]]);
  const source = fileSource(file.path);
  const [first, hole, second, last, ...rest] = extents(source);
  assert.deepEqual([first[0], Math.sign(first[1]), Math.sign(hole[1])], [0, 1, -1]);
  assert(first[1] >= MIB + 65536 + 4096 && first[1] < 3 * MIB, `${first}`);
  assert.deepEqual([second[0], Math.sign(second[1])], [50 * MIB, 1]);
  assert.deepEqual([last[0] + -last[1], rest], [100 * MIB, []]);
  assert.equal(source.extent!(100 * MIB), Infinity);
  assert.equal(source.extent!(20 * MIB), 20 * MIB - 50 * MIB);
  source.close();
  assert.equal(source.extent!(10 * MIB), Infinity, "a closed file holds no known hole");
});

holesTest("asking for holes leaves the position of a descriptor where it is", () => {
  using file = sparse(64 * MIB, [[0, 4096]]);
  const fd = fs.openSync(file.path, "r");
  fs.readSync(fd, new Uint8Array(100), 0, 100, null);
  assert(fileExtents(fd)!(16 * MIB) < 0);
  const next = new Uint8Array(1);
  fs.readSync(fd, next, 0, 1, null);
  assert.equal(next[0], 1);
  fs.closeSync(fd);
});

Deno.test("a file without holes is not asked", () => {
  using file = sparse(MIB, [[0, MIB]]);
  assert.equal(fileSource(file.path).extent, undefined);
});

Deno.test("what a file calls a hole reads as zero, whatever is where", () => {
  const piece = fc.tuple(fc.nat(32 * MIB), fc.integer({ min: 1, max: 3 * MIB }));
  fc.assert(
    fc.property(fc.array(piece, { maxLength: 6 }), fc.nat(4 * MIB), (data, more) => {
      using file = sparse(33 * MIB + more, data);
      const source = fileSource(file.path);
      const size = source.size!();
      if (source.extent) {
        for (const [from, length] of extents(source)) {
          if (length > 0) continue;
          const hole = Buffer.alloc(-length, 1);
          assert.equal(source.readAt!(hole, from), -length);
          assert.equal(hole.compare(ZEROS, 0, -length), 0, `${from} of ${size}`);
        }
      }
      source.close();
    }),
    { numRuns: 30 },
  );
});

Deno.test("memory counts as zero only where all of a page is, wherever segments and holes begin", () => {
  const segment = fc.record({
    gap: fc.nat(20000),
    length: fc.nat(60000),
    fileBytes: fc.nat(60000),
    skip: fc.nat(9000),
  });
  const hole = fc.record({ at: fc.nat(200_000), length: fc.nat(50_000) });
  fc.assert(
    fc.property(fc.array(segment, { minLength: 1, maxLength: 6 }), fc.array(hole, { maxLength: 5 }), (plan, holes) => {
      const bytes = new Uint8Array(400_000).fill(1);
      for (const { at, length } of holes) bytes.fill(0, at, at + length);
      let address = 0, offset = 0;
      const segments = plan.map(({ gap, length, fileBytes, skip }) => {
        const held = Math.min(fileBytes, length + 1);
        const made = { address: address + gap, length: length + 1, offset: offset + skip, fileBytes: held };
        address = made.address + made.length;
        offset = made.offset + held;
        return made;
      });
      const source: ByteSource = {
        name: "memory",
        read: () => 0,
        readAt: (view, at) => (view.set(bytes.subarray(at, at + view.length)), view.length),
        extent(position) {
          const same = bytes.subarray(position).findIndex((byte) => byte !== bytes[position]);
          return (bytes[position] ? 1 : -1) * (same < 0 ? bytes.length - position : same);
        },
      };
      const ram = new FlatRam(source, segments), plain = new FlatRam({ ...source, extent: undefined }, segments);
      const [block] = ram.blocks;
      assert.deepEqual(block, plain.blocks[0]);
      for (let at = 0; at < block.bytes;) {
        const run = ram.run(block, at), end = at + Math.abs(run);
        assert(run !== 0 && end <= block.bytes);
        assert(end % 4096 === 0 || end === block.bytes, `ends at ${end}`);
        const content = new Uint8Array(end - at);
        plain.readRange(block, at, content);
        if (run < 0) assert(content.every((byte) => byte === 0), `zero from ${at} to ${end}`);
        at = end;
      }
    }),
    { numRuns: 500 },
  );
});

holesTest("holes of raw images and ELF cores cost nothing when they are compared and extracted", async () => {
  const huge = 64 * 1024 * MIB, data = [[1024 * MIB, MIB], [huge - 5000, 5000]] as const;
  const core = buildCore({ segments: [{ address: 0, data: new Uint8Array(), memoryBytes: huge }] });
  // one segment, whose bytes in the file are the rest of it
  new DataView(core.buffer).setBigUint64(64 + 32, BigInt(huge), true);
  for (const head of [undefined, core]) {
    const start = head?.length ?? 0;
    const at = data.map(([from, length]) => [from + start, length] as const);
    using one = sparse(huge + start, at, head);
    using two = sparse(huge + start, [...at, [2048 * MIB + start, 1]], head);
    const raw = head ? {} : { raw: true };
    await using a = await openImage(one.path, raw);
    await using b = await openImage(two.path, raw);
    const reads = [a, b].map((image) => countReads(image.ram));
    const { ram: [difference] } = await diffImages(a, b);
    assert.deepEqual([difference.changedPages, difference.ranges], [1, [[(2048 * MIB) / 4096, 1]]]);
    for (const read of reads) assert(read() < 16 * MIB, `${read()} bytes were read`);
    const out = Deno.makeTempFileSync({ prefix: "miglab-sparse-" });
    try {
      const { dataBytes, bytes } = await extractBlock(a, "memory", out);
      assert.equal(bytes, huge);
      assert(dataBytes >= MIB + 5000 && dataBytes < MIB + 5000 + 8192, `${dataBytes}`);
      assert(reads[0]() < 32 * MIB, `${reads[0]()} bytes were read`);
    } finally {
      Deno.removeSync(out);
    }
  }
});

/** Counts what is read from now on. */
function countReads(ram: { readRange(...args: never[]): void }): () => number {
  const read = ram.readRange as (block: string, offset: number, target: Uint8Array) => void;
  let bytes = 0;
  ram.readRange = (...args: never[]) => {
    bytes += (args[2] as Uint8Array).length;
    read.call(ram, ...(args as unknown as Parameters<typeof read>));
  };
  return () => bytes;
}

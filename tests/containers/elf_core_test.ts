import assert from "node:assert/strict";
import { gzipSync } from "node:zlib";
import fc from "fast-check";
import { encodeNote } from "../../containers/elf.ts";
import { openImage } from "../../containers/image.ts";
import { bufferSource } from "../../stream/channel.ts";
import { MemoryFaultError, StreamError } from "../../stream/errors.ts";
import { buildCore, type BuiltCore } from "../elf_build.ts";

const filled = (length: number, value: number) => new Uint8Array(length).fill(value);
const SEGMENTS = [
  { address: 0, data: filled(0x2000, 1) },
  { address: 0x5000, data: filled(0x1000, 2), memoryBytes: 0x3000 },
  { address: 0x10_0000, data: new Uint8Array(), memoryBytes: 0x1000 },
];

for (const elfClass of [32, 64] as const) {
  for (const little of [true, false]) {
    for (const extended of [false, true]) {
      const what = `${elfClass} bits, ${little ? "little" : "big"}-endian${extended ? ", number in sh_info" : ""}`;
      Deno.test(`openImage() reads an ELF core of ${what}`, async () => {
        // sh_info is for 65535 headers and more
        const many = Array.from({ length: extended ? 0xffff : 0 }, () => ({ type: 0, address: 0, data: filled(0, 0) }));
        const segments = [...SEGMENTS, ...many];
        const bytes = buildCore({ elfClass, little, extended, machine: little ? 62 : 22, segments });
        await using image = await openImage(bytes);
        assert.deepEqual([image.format, image.complete, image.fault], ["elf-core", true, undefined]);
        const { core, ram } = image;
        assert.deepEqual([core!.elfClass, core!.byteOrder], [elfClass, little ? "little" : "big"]);
        assert.deepEqual(core!.segments.map(({ address, length, fileBytes }) => [address, length, fileBytes]), [
          [0, 0x2000, 0x2000],
          [0x5000, 0x3000, 0x1000],
          [0x10_0000, 0x1000, 0],
        ]);
        const [block] = ram.blocks;
        assert.deepEqual(block, {
          id: "memory",
          bytes: 0x10_1000,
          pageBytes: 4096,
          normalPages: 3,
          zeroPages: 0x101 - 3,
          missingPages: 0x101 - 3 - 3,
        });
        assert.deepEqual([0, 0x2000, 0x5000, 0x6000, 0x8000, 0x10_0000].map((at) => ram.run(block, at)), [
          0x2000,
          -0x3000,
          0x1000,
          -0x2000,
          -0xf8000,
          -0x1000,
        ]);
        assert.deepEqual([0x1fff, 0x2000, 0x7fff, 0x8000, 0x10_0000].map((at) => ram.isSent(block, at)), [
          true,
          false,
          true,
          false,
          true,
        ]);
        const all = new Uint8Array(block.bytes);
        ram.readRange(block, 0, all);
        const expected = new Uint8Array(block.bytes).fill(1, 0, 0x2000).fill(2, 0x5000, 0x6000);
        assert.deepEqual(all, expected);
        assert.deepEqual(await ram.readPage("memory", 0x5fff), filled(4096, 2));
        await assert.rejects(ram.readPage("memory", 0x10_1000), MemoryFaultError);
        await assert.rejects(ram.readPage("pc.ram", 0), /no block is named "pc.ram"/);
      });
    }
  }
}

Deno.test("openImage() reads notes of a core, and what they are cut off after", async () => {
  const note = encodeNote("CORE", 1, filled(7, 3));
  const data = new Uint8Array([...note, ...encodeNote("QEMU", 0, filled(4, 4)), 1, 2, 3, 4]);
  data.set(filled(4, 0xff), note.length + 4); // a length that cannot be
  await using image = await openImage(buildCore({ segments: [{ type: 4, address: 0, data }, ...SEGMENTS] }));
  const at = image.core!.notes[0].offset;
  assert.deepEqual(image.core!.notes, [{ name: "CORE", type: 1, desc: filled(7, 3), offset: at }]);
  assert.match(image.warnings[0].text, /^note at offset 0x[0-9a-f]+ does not fit/);
});

Deno.test("openImage() takes memory that a core has twice from the place that comes first", async () => {
  const segments = [
    { address: 0x1000, data: filled(0x2000, 1), virtual: 0xffff_8880_0000_1000n },
    { address: 0x1000, data: filled(0x4000, 2), virtual: 0xffff_ffff_8000_1000n },
    { address: 0x2ff0, data: filled(0x20, 3) },
  ];
  await using image = await openImage(buildCore({ segments }));
  assert.deepEqual(image.core!.segments.map(({ address, length }) => [address, length]), [[0x1000, 0x2000], [
    0x3000,
    0x2000,
  ]]);
  const bytes = new Uint8Array(0x5000);
  image.ram.readRange("memory", 0, bytes);
  assert.deepEqual(bytes, new Uint8Array(0x5000).fill(1, 0x1000, 0x3000).fill(2, 0x3000, 0x5000));
});

Deno.test("openImage() takes memory that one segment leaves out from another that holds it", async () => {
  const segments = [
    { address: 0, data: filled(0x1000, 1), memoryBytes: 0x8000 },
    { address: 0, data: filled(0x1000, 9) },
    { address: 0x3000, data: filled(0x1000, 2), memoryBytes: 0x2000 },
    { address: 0x7000, data: filled(0x2000, 3) },
  ];
  await using image = await openImage(buildCore({ segments }));
  assert.deepEqual(image.core!.segments.map(({ address, length, fileBytes }) => [address, length, fileBytes]), [
    [0, 0x3000, 0x1000],
    [0x3000, 0x4000, 0x1000],
    [0x7000, 0x2000, 0x2000],
  ]);
  const bytes = new Uint8Array(0x9000);
  image.ram.readRange("memory", 0, bytes);
  assert.deepEqual(bytes, new Uint8Array(0x9000).fill(1, 0, 0x1000).fill(2, 0x3000, 0x4000).fill(3, 0x7000));
});

Deno.test("openImage() reads a core whose segments begin and end inside pages", async () => {
  const segments = [{ address: 0x1ff0, data: filled(0x20, 1) }, { address: 0x2010, data: filled(0x1000, 2) }, {
    address: 0x3010,
    data: new Uint8Array(),
    memoryBytes: 0x10,
  }];
  await using image = await openImage(buildCore({ segments }));
  const { ram } = image;
  const bytes = new Uint8Array(0x3020);
  ram.readRange("memory", 0, bytes);
  assert.deepEqual(bytes, new Uint8Array(0x3020).fill(1, 0x1ff0, 0x2010).fill(2, 0x2010, 0x3010));
  assert.deepEqual([ram.run("memory", 0), ram.run("memory", 0x1000)], [-0x1000, 0x2020]);
  assert.equal(ram.blocks[0].normalPages, 3);
});

Deno.test("openImage() reads a core from a pipe, packed, and at an offset", async () => {
  const bytes = buildCore({ segments: SEGMENTS });
  const behind = new Uint8Array([...filled(0x123, 9), ...bytes]);
  const packed = gzipSync(bytes);
  const inputs = [
    openImage(bufferSource(bytes, { sequential: true, chunk: 100 })),
    openImage(packed),
    openImage(bufferSource(packed, { sequential: true })),
    openImage(behind, { offset: 0x123 }),
  ];
  for (const opening of inputs) {
    await using image = await opening;
    assert.equal(image.format, "elf-core");
    assert.deepEqual(await image.ram.readPage("memory", 0x5000), filled(4096, 2));
  }
  await using cut = await openImage(packed.subarray(0, packed.length - 20));
  assert.equal(cut.complete, false);
});

Deno.test("openImage() reads a core that was cut as far as it goes", async () => {
  const bytes = buildCore({ segments: SEGMENTS });
  await using image = await openImage(bytes.subarray(0, bytes.length - 0x800));
  assert.equal(image.complete, false);
  assert.match(image.fault!.message, /^Cannot read all memory of the core at offset 0x[0-9a-f]+ in "main": the end of/);
  assert.deepEqual(await image.ram.readPage("memory", 0x1000), filled(4096, 1));
  await assert.rejects(image.ram.readPage("memory", 0x5000), /Cannot read memory at guest-physical 0x5000 at offset/);
});

const REFUSED: readonly (readonly [what: string, bytes: Uint8Array, message: RegExp])[] = [
  ["without memory", buildCore({ segments: [] }), /an ELF core without memory, expected segments of type PT_LOAD/],
  [
    "of a process",
    buildCore({
      segments: [{ address: 0, virtual: 0x400000, data: filled(9, 1) }, {
        address: 0,
        virtual: 0x5000,
        data: filled(9, 1),
      }],
    }),
    /an ELF core of a process: its segments have no physical addresses/,
  ],
  ["of no class", buildCore({ segments: SEGMENTS }).fill(3, 4, 5), /at offset 0x4 in "main": class 3, byte order 1/],
  [
    "that ends in its header",
    buildCore({ segments: SEGMENTS }).subarray(0, 63),
    /63 bytes before the end, expected 64/,
  ],
  [
    "that ends in its table",
    buildCore({ segments: SEGMENTS }).subarray(0, 99),
    /35 bytes before the end, expected 168/,
  ],
  [
    "beyond all addresses",
    buildCore({ segments: [{ address: 2n ** 53n, data: filled(1, 1) }] }),
    /guest-physical 0x2000/,
  ],
  [
    "with short headers",
    buildCore({ segments: SEGMENTS }).fill(55, 54, 55),
    /program headers of 55 bytes, expected 56/,
  ],
  ["in kdump format", new TextEncoder().encode("KDUMP   \x06\0\0\0"), /a kdump-compressed file \(makedumpfile\)/],
  ["flattened", new TextEncoder().encode("makedumpfile\0\0\0\0"), /a kdump-compressed file \(makedumpfile\)/],
  ["for Windows", new TextEncoder().encode("PAGEDU64\x0f\0\0\0"), /a Windows crash dump \(win-dmp\)/],
];
for (const [what, bytes, message] of REFUSED) {
  Deno.test(`openImage() refuses a core ${what} in one line`, async () => {
    await assert.rejects(openImage(bytes), (error: Error) => {
      assert(error instanceof StreamError);
      assert.match(error.message, message);
      return !error.message.includes("\n");
    });
  });
}

Deno.test("openImage() takes for raw memory only what is nothing else, and only when asked", async () => {
  const bytes = filled(0x2800, 7);
  await assert.rejects(openImage(bytes), StreamError);
  await using image = await openImage(bytes, { raw: true });
  assert.deepEqual([image.format, image.complete, image.ram.totalBytes], ["raw", true, 0x2800]);
  assert.deepEqual(await image.ram.readPage("memory", 0x2000), filled(0x800, 7));
  await using core = await openImage(buildCore({ segments: SEGMENTS }), { raw: true });
  assert.equal(core.format, "elf-core");
});

Deno.test("openImage() of any cut or flipped core ends soon, in an image or in one line", async () => {
  const note = encodeNote("QEMU", 0, filled(440, 5));
  const bases = ([32, 64] as const).flatMap((elfClass) =>
    [true, false].map((little): BuiltCore => ({
      elfClass,
      little,
      segments: [{ type: 4, address: 0, data: note }, ...SEGMENTS],
    }))
  ).map(buildCore);
  await fc.assert(
    fc.asyncProperty(
      fc.constantFrom(...bases),
      fc.array(fc.tuple(fc.nat(0x400), fc.nat(255)), { maxLength: 6 }),
      fc.option(fc.nat(0x4000)),
      async (base, flips, end) => {
        const bytes = base.slice(0, end ?? base.length);
        for (const [at, value] of flips) if (at > 3 && at < bytes.length) bytes[at] = value;
        try {
          await using image = await openImage(bytes, { raw: true });
          const { ram } = image;
          let places = 0;
          for (let at = 0; at < ram.blocks[0].bytes; at += Math.abs(ram.run("memory", at))) {
            assert(Math.abs(ram.run("memory", at)) > 0);
            assert(++places < 32);
            const wanted = new Uint8Array(Math.min(0x3000, ram.blocks[0].bytes - at));
            try {
              ram.readRange("memory", at, wanted);
            } catch (error) {
              assert(error instanceof StreamError && !image.complete, String(error));
            }
          }
        } catch (error) {
          assert(error instanceof StreamError && !error.message.includes("\n"), String(error));
        }
      },
    ),
    { numRuns: 3000 },
  );
});

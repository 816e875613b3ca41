import assert from "node:assert/strict";
import { Buffer } from "node:buffer";
import { createHash } from "node:crypto";
import fc from "fast-check";
import { openImage } from "../../containers/image.ts";
import { xbzrle } from "../../plugins/xbzrle.ts";
import { salvageImage, type SalvageReport } from "../../reports/salvage.ts";
import { salvageText } from "../../reports/salvage_text.ts";
import { capture, loadFixture } from "../fixtures.ts";
import { loadLibvirt } from "../libvirt_fixtures.ts";
import { bufferSource } from "../../stream/channel.ts";
import { RAM_SAVE_FLAG_CONTINUE, RAM_SAVE_FLAG_PAGE, RAM_SAVE_FLAG_ZERO } from "../../stream/constants.ts";
import { decode } from "../../stream/decode.ts";

const tables = xbzrle.tables!;

/** Salvage bytes; `look` sees the directory before it goes away. */
async function salvage(
  bytes: Uint8Array,
  look: (path: (file: string) => string, report: SalvageReport) => void | Promise<void> = () => {},
): Promise<SalvageReport> {
  const directory = Deno.makeTempDirSync({ prefix: "miglab-salvage-" });
  try {
    Deno.writeFileSync(`${directory}/in`, bytes);
    const report = await salvageImage(`${directory}/in`, `${directory}/out`, { tables });
    assert.deepEqual([...Deno.readDirSync(directory)].map(({ name }) => name).sort(), ["in", "out"]);
    await look((file) => `${directory}/out/${file}`, report);
    return report;
  } finally {
    Deno.removeSync(directory, { recursive: true });
  }
}

function sha256(bytes: Uint8Array): string {
  return createHash("sha256").update(bytes).digest("hex");
}

/** Content of a block as the intact file has it. */
async function contents(bytes: Uint8Array): Promise<Map<string, Uint8Array>> {
  await using image = await openImage(bytes, { tables });
  return new Map(image.ram.blocks.map(({ id, bytes: length }) => {
    const content = new Uint8Array(length);
    image.ram.readRange(id, 0, content);
    return [id, content];
  }));
}

/** Every page that is said to be recovered is the page of the intact guest, but for those in `except`. */
function assertPages(
  { ram }: SalvageReport,
  path: (file: string) => string,
  intact: ReadonlyMap<string, Uint8Array>,
  except: (block: string, page: number) => boolean = () => false,
): void {
  for (const { block, file, bytes, pageBytes, lost, recoveredPages, lostPages } of ram) {
    const expected = intact.get(block);
    if (!expected) continue;
    const found = Deno.readFileSync(path(file));
    assert.equal(found.length, bytes);
    assert.equal(recoveredPages + lostPages, Math.ceil(bytes / pageBytes));
    const gone = new Set(lost.flatMap(([first, count]) => Array.from({ length: count }, (_, i) => first + i)));
    assert.equal(gone.size, lostPages);
    for (let page = 0; page < bytes / pageBytes; page++) {
      if (gone.has(page) || except(block, page)) continue;
      const [at, end] = [page * pageBytes, (page + 1) * pageBytes];
      const same = Buffer.compare(found.subarray(at, end), expected.subarray(at, end)) === 0;
      assert(same, `page ${page} of ${block}`);
    }
  }
}

for (const name of ["q35-file-2cpu", "q35-mapped", "pc-xbzrle", "pc-no-footers", "aarch64-virt-file"]) {
  Deno.test(`salvageImage() of the intact ${name} gives all of it and loses nothing`, async () => {
    const bytes = await loadFixture(name);
    const { ram, sections } = capture(name);
    await salvage(bytes, (path, report) => {
      assert(report.intact);
      assert.deepEqual([report.damages, report.lost], [[], { pages: 0, devices: [], notes: [] }]);
      for (const { name: id, sha256: expected } of ram.blocks) {
        const block = report.ram.find(({ block }) => block === id)!;
        assert.equal(sha256(Deno.readFileSync(path(block.file))), expected, id);
      }
      for (const section of sections!.filter((each) => report.devices.some(({ name }) => name === each.name))) {
        const device = report.devices.find(({ offset }) => offset === section.offset)!;
        const body = bytes.subarray(section.offset, section.offset + section.size);
        assert.equal(Deno.readFileSync(path(device.file)).toHex(), body.toHex(), section.name);
      }
      assert.deepEqual(JSON.parse(Deno.readTextFileSync(path("salvage.json"))), JSON.parse(JSON.stringify(report)));
      assert.equal(Deno.readTextFileSync(path("salvage.txt")), salvageText(report));
      assert(Array.isArray(JSON.parse(Deno.readTextFileSync(path("vmdescription.json"))).devices));
    });
  });
}

Deno.test("salvageImage() of a file cut anywhere gives every page and device before the cut", async () => {
  for (const name of ["q35-file-2cpu", "pc-multipass"]) {
    const bytes = await loadFixture(name);
    for (const part of [0.1, 0.5, 0.9, 0.97]) {
      const cut = bytes.slice(0, Math.floor(bytes.length * part));
      await using before = await openImage(cut, { tables });
      const intact = await contents(cut);
      await salvage(cut, (path, report) => {
        assertPages(report, path, intact);
        for (const { id, missingPages } of before.ram.blocks) {
          assert.equal(report.ram.find(({ block }) => block === id)!.lostPages, missingPages, id);
        }
        assert.equal(report.devices.length, before.devices.length);
        assert.equal(report.lost.devices, null);
        assert.match(report.lost.notes.join(), /the description is missing/);
      });
    }
  }
});

Deno.test("salvageImage() loses no more than the damaged pages, and finds all devices behind them", async () => {
  const bytes = await loadFixture("q35-file-2cpu");
  const intact = await contents(bytes);
  for (const [from, to] of [[0x8000, 0x12000], [0x20000, 0x20008], [0x40000, 0x48000]]) {
    const damaged = bytes.slice();
    damaged.fill(0xaa, from, to);
    await salvage(damaged, (path, report) => {
      // pages whose own bytes were overwritten, but not their heads, cannot be told
      const files = new Map(report.ram.map(({ block, file }) => [block, Deno.readFileSync(path(file))]));
      const content = (block: string, page: number) => {
        return files.get(block)!.subarray(page * 4096, (page + 1) * 4096).includes(0xaa);
      };
      assertPages(report, path, intact, content);
      assert(report.lost.pages <= (to - from) / 9 + 2);
      assert.deepEqual(report.lost.devices, []);
    });
  }
});

Deno.test("salvageImage() reads on behind a damaged header, configuration or block list", async () => {
  for (const name of ["q35-file-2cpu", "q35-mapped"]) {
    const bytes = await loadFixture(name);
    const intact = await contents(bytes);
    for (const at of [0, 2, 7, 8, 12, 0x30, 0x40, 0x64, 0x90]) {
      const damaged = bytes.slice();
      damaged[at] ^= 0x55;
      await salvage(damaged, (path, report) => {
        assert(report.lost.pages <= 1, `${name} byte ${at}`); // of a block by the damaged name
        assert.deepEqual(report.lost.devices, [], `${name} byte ${at}`);
        assertPages(report, path, intact, (block) => name === "q35-mapped" && at === 0x90 && block === "pc.ram");
      });
    }
  }
});

Deno.test("salvageImage() names the device that is lost, and only that", async () => {
  const bytes = await loadFixture("q35-file-2cpu");
  await using image = await openImage(bytes);
  const device = image.devices.find(({ name }) => name === "apic")!;
  const damaged = bytes.slice();
  damaged.fill(0xff, device.offset - 20, device.offset);
  const report = await salvage(damaged);
  assert.deepEqual(report.lost.devices, [{ name: "apic", instanceId: device.instanceId }]);
  assert.equal(report.devices.length, image.devices.length - 1);
  assert.equal(report.lost.pages, 0);
  assert.match(salvageText(report), /32 devices recovered, 1 lost: apic 0\n/);
});

Deno.test("salvageImage() takes slots that are not zero for pages where no bitmap was written", async () => {
  const bytes = await loadFixture("q35-mapped");
  const intact = await contents(bytes);
  await using image = await openImage(bytes);
  const damaged = bytes.slice(0, image.ram.blocks.at(-1)!.pagesOffset! + 4096);
  for (const { bitmapOffset, bytes: length } of image.ram.blocks) {
    damaged.fill(0, bitmapOffset!, bitmapOffset! + Math.ceil(length / 4096 / 64) * 8);
  }
  await salvage(damaged, (path, report) => {
    for (const { block, recoveredPages, dataPages, uncertainPages } of report.ram) {
      const content = intact.get(block)!;
      let nonzero = 0;
      for (let at = 0; at < content.length; at += 4096) {
        if (content.subarray(at, at + 4096).some((byte) => byte !== 0)) nonzero++;
      }
      assert.equal(recoveredPages, dataPages);
      assert.equal(uncertainPages, dataPages);
      assert(dataPages >= nonzero, block); // slots of pages that turned zero keep what they had
    }
    assert.match(report.lost.notes.join(), /no bitmap was written/);
    const { file } = report.ram.find(({ block }) => block === "pc.bios")!;
    assert.equal(sha256(Deno.readFileSync(path(file))), sha256(intact.get("pc.bios")!));
  });
});

Deno.test("salvageImage() gives pages of a mapped-ram file that ends among them", async () => {
  const bytes = await loadFixture("q35-mapped");
  const intact = await contents(bytes);
  await using image = await openImage(bytes);
  const { pagesOffset, id } = image.ram.blocks[0];
  const cut = bytes.slice(0, pagesOffset! + 0x801000);
  await salvage(cut, (path, report) => {
    assert.deepEqual(report.ram.map(({ block }) => block), [id]);
    assertPages(report, path, intact);
    const [{ lost }] = report.ram;
    assert(lost.every(([first]) => first * 4096 >= 0x801000));
    assert(lost.length > 0);
  });
});

Deno.test("salvageImage() gives what interrupted saves hold", async () => {
  for (const name of ["pc-cancelled", "q35-killed", "pc-mapped-cancelled"]) {
    const report = await salvage(await loadFixture(name));
    assert(report.ram.some(({ dataPages }) => dataPages > 50), name);
    assert.equal(report.intact, false);
  }
});

Deno.test("salvageImage() makes a new directory or none", async () => {
  const directory = Deno.makeTempDirSync({ prefix: "miglab-salvage-" });
  try {
    Deno.writeTextFileSync(`${directory}/kept`, "");
    Deno.writeTextFileSync(`${directory}/in`, "nothing that is known");
    await assert.rejects(salvageImage(`${directory}/in`, directory), /Could not make '.*': it is there and not empty/);
    await assert.rejects(salvageImage(`${directory}/no`, `${directory}/out`), /No such file or directory/);
    await assert.rejects(
      salvageImage(`${directory}/in`, `${directory}/a/b`),
      /Could not make '.*\/a\/b': No such file/,
    );
    const report = await salvageImage(`${directory}/in`, `${directory}/out`);
    assert.deepEqual([report.ram, report.devices, report.lost.devices], [[], [], null]);
    assert.deepEqual([...Deno.readDirSync(directory)].map(({ name }) => name).sort(), ["in", "kept", "out"]);
  } finally {
    Deno.removeSync(directory, { recursive: true });
  }
});

/** Heads of the records that name a block; the pages behind them say CONTINUE. */
async function namingRecords(bytes: Uint8Array): Promise<{ block: string; from: number; to: number }[]> {
  const heads = [];
  for await (const record of decode(bufferSource(bytes))) {
    if (record.kind !== "ram-pages") continue;
    for (let i = 0; i < record.count; i++) {
      if (record.flags[i] & RAM_SAVE_FLAG_CONTINUE) continue;
      const block = record.blocks[record.block[i]].idstr;
      heads.push({ block, from: record.offset + record.at[i], to: record.offset + record.dataAt[i] });
    }
  }
  return heads;
}

/** Pages that are said to be recovered, and certain, and are not the intact guest's. */
function wrongPages(
  report: SalvageReport,
  path: (file: string) => string,
  intact: ReadonlyMap<string, Uint8Array>,
): number {
  let wrong = 0;
  for (const { block, file, bytes, pageBytes, lost } of report.ram) {
    const found = Deno.readFileSync(path(file)), expected = intact.get(block)!;
    const gone = new Set(lost.flatMap(([first, count]) => Array.from({ length: count }, (_, i) => first + i)));
    for (let at = 0; at < bytes; at += pageBytes) {
      if (gone.has(at / pageBytes)) continue;
      if (Buffer.compare(found.subarray(at, at + pageBytes), expected.subarray(at, at + pageBytes)) !== 0) wrong++;
    }
  }
  return wrong;
}

Deno.test("salvageImage() finds the block of pages whose record no longer names it", async () => {
  const bytes = await loadFixture("q35-file-2cpu");
  const intact = await contents(bytes);
  const heads = await namingRecords(bytes);
  assert(heads.length > 4);
  for (const { block, from, to } of heads) {
    for (let at = from; at < to; at++) {
      const damaged = bytes.slice();
      damaged[at] ^= at % 2 ? 0x55 : 0x20;
      await salvage(damaged, (path, report) => {
        assert(report.lost.pages <= 2, `byte ${at - from} of ${block}: ${report.lost.pages} lost`);
        // what a flag makes of the one record may pass for a page
        assert(wrongPages(report, path, intact) <= 1, `byte ${at - from} of ${block}`);
      });
    }
    const damaged = bytes.slice();
    damaged.fill(0xaa, from, to);
    await salvage(damaged, (path, report) => {
      assert(report.lost.pages <= 2, `${block}: ${report.lost.pages} lost`);
      assert.equal(wrongPages(report, path, intact), 0);
      const [first] = heads;
      const { inferredPages, recoveredPages } = report.ram.find(({ block: id }) => id === block)!;
      // a block of one page has nothing behind the record that could be told
      if (block !== first.block && recoveredPages > 2) {
        assert(inferredPages >= recoveredPages - 2, block);
        assert.match(salvageText(report), /, \d+ of an inferred block/);
      }
    });
  }
});

Deno.test("salvageImage() finds the records that a zero page with damaged flags swallows", async () => {
  const bytes = await loadFixture("q35-file-2cpu");
  const intact = await contents(bytes);
  const words: number[] = [];
  for await (const record of decode(bufferSource(bytes))) {
    if (record.kind !== "ram-pages") continue;
    for (let i = 0; i < record.count; i++) {
      if (record.flags[i] & RAM_SAVE_FLAG_ZERO) words.push(record.offset + record.at[i]);
    }
  }
  for (let i = 5; i < words.length; i += 499) {
    const damaged = bytes.slice();
    damaged[words[i] + 7] ^= RAM_SAVE_FLAG_ZERO | RAM_SAVE_FLAG_PAGE;
    await salvage(damaged, (path, report) => {
      assert(report.lost.pages <= 2, `record ${i}: ${report.lost.pages} lost`);
      const uncertain = report.ram.reduce((sum, { uncertainPages }) => sum + uncertainPages, 0);
      assert(wrongPages(report, path, intact) <= Math.max(1, uncertain));
    });
  }
});

Deno.test("salvageImage() gives iterable sections other than ram as bytes", async () => {
  for (
    const [name, iterable] of [["pc-dirty-bitmaps-postcopy.main", "dirty-bitmap"], [
      "s390x-ccw-file",
      "s390-storage_attributes",
    ]]
  ) {
    const bytes = await loadFixture(name);
    await using image = await openImage(bytes, { tables });
    const sections = image.sections.filter((section) => section.name === iterable);
    const expected = Buffer.concat(sections.map(({ offset, bytes: n }) => bytes.subarray(offset, offset + n))).toHex();
    const recovers = async (input: Uint8Array, from = 0) => {
      await salvage(input, (path, report) => {
        const [found, ...more] = report.iterables;
        assert.deepEqual([found?.name, found?.instanceId, more], [iterable, 0, []], name);
        assert.equal(Deno.readFileSync(path(found.file)).toHex(), expected.slice(from), name);
        assert.deepEqual(found.sections.map(({ type }) => type), sections.slice(from ? 1 : 0).map(({ type }) => type));
        assert.equal(found.ended, from === 0);
      });
    };
    await recovers(bytes);
    // pages in between that do not decode
    const damaged = bytes.slice();
    const part = image.sections.find((section) => section.name === "ram" && section.type === "part")!;
    damaged.fill(0xaa, part.offset, part.offset + 64);
    await recovers(damaged);
    // one that nobody knows: its footers tell where it ends
    const unknown = bytes.slice();
    const letter = sections[0].headerOffset + 6;
    unknown[letter] = 0x7a;
    await salvage(unknown, (path, report) => {
      assert.equal(report.iterables[0].name, "z" + iterable.slice(1));
      assert.equal(Deno.readFileSync(path(report.iterables[0].file)).toHex(), expected);
      assert.match(
        salvageText(report),
        new RegExp(`\nz${iterable.slice(1)} 0: ${sections.length} sections, \\d+ bytes\n`),
      );
    });
  }
});

Deno.test("salvageImage() of any cut and any flipped bytes ends soon, and recovers what is not near them", async () => {
  const bytes = await loadFixture("q35-file-2cpu");
  await fc.assert(
    fc.asyncProperty(
      fc.array(fc.tuple(fc.nat(bytes.length - 1), fc.integer({ min: 1, max: 255 })), { maxLength: 4 }),
      fc.option(fc.nat(bytes.length)),
      async (flips, end) => {
        const damaged = bytes.slice(0, end ?? bytes.length);
        for (const [at, bits] of flips) if (at < damaged.length) damaged[at] ^= bits;
        const began = performance.now();
        const report = await salvage(damaged);
        assert(performance.now() - began < 20_000);
        if (end !== null) return;
        assert(report.lost.pages <= 8 * flips.length, JSON.stringify(report.lost.pages));
        if (report.lost.devices) assert(report.lost.devices.length <= flips.length * 2);
      },
    ),
    { numRuns: 300 },
  );
});

Deno.test("salvage counts pages that are on channels of their own as lost, of a whole file too", async () => {
  for (const name of ["pc-multifd-2", "pc-multifd-2-zlib-legacy-zero"]) {
    const main = await loadFixture(name);
    await using image = await openImage(main, { tables });
    const report = await salvage(main);
    assert.deepEqual([report.intact, report.lost.devices], [true, []]);
    assert.deepEqual(report.lost.notes, ["pages are on multifd channels, which this file does not hold"]);
    for (const { block, recoveredPages, lostPages, dataPages } of report.ram) {
      const { bytes, pageBytes } = image.ram.block(block)!;
      assert.deepEqual([recoveredPages + lostPages, dataPages], [bytes / pageBytes, 0], block);
    }
    assert(report.lost.pages > 100, `${report.lost.pages}`);
  }
});

Deno.test("salvageImage() tells each damage once, and nothing that only follows from starting anew", async () => {
  const expected: Record<string, readonly [damages: number, blocks: number, devices: number, lost: string]> = {
    // an end mark in front of the devices makes them the rest of the file
    "legacy-end-mark-early": [1, 3, 21, ""],
    // what stands where the block's pages should be is nowhere; all behind it is there
    "mapped-pages-offset-past-eof": [1, 8, 32, ""],
    "legacy-section-type": [1, 3, 20, "i8254"],
    "legacy-section-version-older": [1, 3, 20, "i8254"],
    "legacy-section-removed": [1, 3, 20, "i8254"],
    "legacy-unknown-instance": [1, 3, 20, "i8259"],
    "legacy-command-unknown": [1, 3, 21, ""],
    "legacy-block-length-huge": [4, 3, 21, ""],
  };
  for (const [name, [damages, blocks, devices, lost]] of Object.entries(expected)) {
    const report = await salvage(await loadFixture(`bad/${name}`));
    const found = [report.damages.length, report.ram.length, report.devices.length];
    assert.deepEqual(found, [damages, blocks, devices], `${name}: ${JSON.stringify(report.damages)}`);
    assert.equal(report.lost.devices!.map((device) => device.name).join(), lost, name);
    assert(!report.lost.notes.some((note) => note.includes("multifd")), name);
  }
});

Deno.test("salvageImage() tells what is wrong with a container, not that no stream begins there", async () => {
  const broken = loadLibvirt("raw");
  broken[28] = 9;
  const report = await salvage(broken);
  assert.deepEqual(report.damages.map(({ offset }) => offset), [28]);
  assert.match(
    report.damages[0].message,
    /^Cannot read libvirt save image at offset 0x1c .* format 9, expected 0 to 6$/,
  );
  assert.deepEqual([report.intact, report.devices.length > 20, report.lost.pages], [false, true, 0]);
});

import assert from "node:assert/strict";
import { Buffer } from "node:buffer";
import { createHash } from "node:crypto";
import fc from "fast-check";
import { combine } from "../../core/registry.ts";
import { explainImage } from "../../reports/explain.ts";
import { salvageImage, type SalvageReport } from "../../reports/salvage.ts";
import { salvageText } from "../../reports/salvage_text.ts";
import { bufferSink } from "../../stream/channel.ts";
import { encodeConfiguration } from "../../stream/configuration.ts";
import * as C from "../../stream/constants.ts";
import * as encode from "../../stream/encode.ts";
import {
  encodeMultifdInit,
  encodeMultifdPacket,
  MULTIFD_FLAG_SYNC,
  MULTIFD_INIT_BYTES,
  multifdPacketBytes,
} from "../../stream/multifd.ts";
import { StreamWriter } from "../../stream/writer.ts";
import { DEFAULT_PLUGINS } from "../../wiring.ts";
import { badManifest, type BadVariant, type Capture, capture, loadFixture, manifest } from "../fixtures.ts";
import { run } from "../repl/capture.ts";

const { tables } = combine(DEFAULT_PLUGINS);
const FURTHER = ["multifd", "postcopy-preempt"];

function further({ files }: Capture | BadVariant): string[] {
  return files.filter(({ role }) => FURTHER.includes(role)).map(({ file }) => file);
}

/** All files of a capture, the main one first. */
async function load(name: string): Promise<Uint8Array<ArrayBuffer>[]> {
  return await Promise.all([name, ...further(capture(name))].map((each) => loadFixture(each)));
}

/** Salvage files; `look` sees the directory before it goes away. */
async function salvage(
  [main, ...channels]: readonly Uint8Array[],
  look: (content: (file: string) => Uint8Array, report: SalvageReport) => void = () => {},
): Promise<SalvageReport> {
  const directory = Deno.makeTempDirSync({ prefix: "miglab-salvage-" });
  try {
    Deno.writeFileSync(`${directory}/main`, main);
    const files = channels.map((bytes, i) => {
      Deno.writeFileSync(`${directory}/ch${i}`, bytes);
      return `${directory}/ch${i}`;
    });
    const report = await salvageImage(`${directory}/main`, `${directory}/out`, { tables, channels: files });
    look((file) => Deno.readFileSync(`${directory}/out/${file}`), report);
    for (const { channel } of report.damages) assert(channel === undefined || files.includes(channel));
    return report;
  } finally {
    Deno.removeSync(directory, { recursive: true });
  }
}

/** Contents of the blocks as the capture with nothing wrong has them. */
async function contents(files: readonly Uint8Array[]): Promise<Map<string, Uint8Array>> {
  const found = new Map<string, Uint8Array>();
  await salvage(files, (content, { ram, intact }) => {
    assert(intact);
    for (const { block, file } of ram) found.set(block, content(file));
  });
  return found;
}

/** Pages that are said to be recovered, and are not those of the guest. */
function wrongPages(
  { ram }: SalvageReport,
  content: (file: string) => Uint8Array,
  truth: ReadonlyMap<string, Uint8Array>,
): string[] {
  const wrong: string[] = [];
  for (const { block, file, bytes, pageBytes, lost } of ram) {
    const found = content(file), expected = truth.get(block);
    if (!expected) continue;
    const gone = new Set(lost.flatMap(([first, count]) => Array.from({ length: count }, (_, i) => first + i)));
    for (let at = 0; at < bytes; at += pageBytes) {
      const [one, two] = [found.subarray(at, at + pageBytes), expected.subarray(at, at + pageBytes)];
      if (!gone.has(at / pageBytes) && Buffer.compare(one, two) !== 0) wrong.push(`${block}:${at.toString(16)}`);
    }
  }
  return wrong;
}

const captures = manifest().filter((each) => further(each).length > 0);

for (const { name, ram } of captures) {
  Deno.test(`salvageImage() of the intact ${name} with its channels gives all of it and loses nothing`, async () => {
    const [main, ...channels] = await load(name);
    for (const files of [[main, ...channels], [main, ...channels.toReversed()]]) {
      await salvage(files, (content, report) => {
        assert.deepEqual([report.intact, report.damages, report.lost.pages, report.lost.notes], [true, [], 0, []]);
        for (const { name: id, sha256 } of ram.blocks) {
          const { file } = report.ram.find(({ block }) => block === id)!;
          assert.equal(createHash("sha256").update(content(file)).digest("hex"), sha256, id);
        }
        assert.equal(report.channels.length, channels.length);
        assert.match(salvageText(report), /: nothing is wrong with it\n/);
      });
    }
  });
}

/** Where the packets of a channel begin, and what each has. */
async function packetsOf(bytes: Uint8Array): Promise<{ at: number; sync: boolean; normal: number; zero: number }[]> {
  const packets: { at: number; sync: boolean; normal: number; zero: number }[] = [];
  for await (const { path, offset, value } of explainImage(bytes, { pages: "runs" })) {
    const field = /^packets\[\d+\]\.(\w+)$/.exec(path)?.[1];
    if (field === "magic") packets.push({ at: offset, sync: false, normal: 0, zero: 0 });
    const last = packets.at(-1)!;
    if (field === "flags") last.sync = (Number(value) & 1) === 1;
    if (field === "normalPages") last.normal = Number(value);
    if (field === "zeroPages") last.zero = Number(value);
  }
  return packets;
}

Deno.test("a damaged head costs the pages of its packet and no others", async () => {
  let checked = 0;
  for (const name of ["pc-multifd-2", "q35-multifd-2-legacy-zero", "pc-multifd-1-no-zero-detection"]) {
    const files = await load(name);
    const truth = await contents(files);
    for (const [channel, bytes] of files.entries()) {
      if (channel === 0) continue;
      const packets = (await packetsOf(bytes)).filter(({ sync }) => !sync);
      const some = [0, packets.length >> 1, packets.length - 1].flatMap((i) => packets[i] ?? []);
      for (const { at, normal, zero } of some) {
        checked++;
        const damaged = bytes.slice();
        damaged.fill(0xaa, at, at + 400);
        await salvage(files.with(channel, damaged), (content, report) => {
          assert.equal(report.intact, false);
          assert.equal(report.lost.pages, normal + zero, name);
          assert.deepEqual(wrongPages(report, content, truth), []);
          assert.match(report.damages[0].message, /received packet magic aaaaaaaa, expected 11223344/);
          assert.match(report.lost.notes.join(), /1 packets are damaged, or on channels that were not given/);
        });
        // nothing but magic or version is wrong: what the packet holds is taken
        for (const byte of [0, 3, 7]) {
          const flipped = bytes.slice();
          flipped[at + byte] ^= 0x10;
          await salvage(files.with(channel, flipped), (content, report) => {
            assert.deepEqual([report.intact, report.damages.length, report.lost.pages], [false, 1, 0]);
            assert.deepEqual(wrongPages(report, content, truth), []);
          });
        }
      }
    }
  }
  assert(checked >= 9, `${checked} packets`);
});

Deno.test("pages keep the order of sync points where SYNC packets are lost, and where their numbers are", async () => {
  for (const name of ["q35-multifd-4-live", "pc-8.0-multifd-2-live", "q35-multifd-2-legacy-zero"]) {
    const files = await load(name);
    const truth = await contents(files);
    for (const [channel, bytes] of files.entries()) {
      if (channel === 0) continue;
      for (const { at, sync } of await packetsOf(bytes)) {
        const damaged = bytes.slice();
        if (sync) damaged.fill(0xaa, at, at + 64);
        else damaged.fill(0xff, at + 25, at + 30);
        await salvage(files.with(channel, damaged), (content, report) => {
          assert.equal(report.damages.length, 1, `${name} ${channel} at ${at}: ${JSON.stringify(report.damages)}`);
          assert.equal(report.lost.pages, 0);
          assert.deepEqual(wrongPages(report, content, truth), [], `${name} ${channel} at ${at}`);
        });
      }
    }
  }
});

/** A main channel of one block: a mark, a mark, a zero page 1 and a mark, a mark, the end. */
async function markedMain(): Promise<Uint8Array> {
  const sink = bufferSink();
  const writer = new StreamWriter(sink);
  const ram = { sectionId: 1, idstr: "ram", instanceId: 0, versionId: C.RAM_SAVE_VERSION };
  const end = async () => {
    await writer.room(64);
    writer.u64(C.RAM_SAVE_FLAG_MULTIFD_FLUSH);
    writer.u64(C.RAM_SAVE_FLAG_EOS);
    await encode.encodeFooter(writer, 1);
  };
  await encode.encodeHeader(writer);
  await encodeConfiguration(writer, { machine: "pc-i440fx-10.0", targetPageBits: 12 });
  await encode.encodeSection(writer, { type: "start", ...ram });
  writer.u64(BigInt(8192 | C.RAM_SAVE_FLAG_MEM_SIZE));
  await encode.encodeRamBlock(writer, { idstr: "mem", usedLength: 8192 });
  await end();
  await encode.encodeSection(writer, { type: "part", ...ram });
  await end();
  await encode.encodeSection(writer, { type: "part", ...ram });
  await writer.room(64);
  writer.u64(4096 | C.RAM_SAVE_FLAG_ZERO);
  writer.str8("mem");
  writer.u8(0);
  await end();
  await encode.encodeSection(writer, { type: "end", ...ram });
  await end();
  writer.u8(C.QEMU_VM_EOF);
  await writer.flush();
  return sink.bytes();
}

/** A channel of SYNC packets, and of packets with page 1 where `pages` has their numbers. */
function channelOf(id: number, numbers: readonly number[], pages: readonly number[]): Uint8Array<ArrayBuffer> {
  const parts = numbers.map((number) => {
    const normal = pages.includes(number) ? 1 : 0;
    const packet = Buffer.alloc(multifdPacketBytes(4096) + normal * 4096, 0x5a);
    const head = packet.subarray(0, multifdPacketBytes(4096));
    const flags = normal ? 0 : MULTIFD_FLAG_SYNC, payload = normal * 4096;
    const offsets = new Float64Array(128).fill(4096);
    encodeMultifdPacket(head, { flags, normal, zero: 0, payload, number, idstr: "mem", offsets });
    return packet;
  });
  return new Uint8Array(Buffer.concat([encodeMultifdInit(id), ...parts]));
}

Deno.test("behind lost SYNC packets numbers say before which mark a page came", async () => {
  const main = await markedMain();
  const other = channelOf(1, [1, 3, 5, 8], []);
  const bytes = multifdPacketBytes(4096);
  for (
    const [numbers, page, data] of [
      // data behind the third mark: newer than the zero page in front of it
      [[0, 2, 4, 6, 7], 6, true],
      // data before the second mark: older
      [[0, 2, 4, 6, 7], 2, false],
    ] as const
  ) {
    const whole = channelOf(0, numbers, [page]);
    const damaged = whole.slice();
    const from = MULTIFD_INIT_BYTES + bytes + (page === 2 ? bytes + 4096 : 0);
    damaged.fill(0xaa, from, from + (page === 2 ? bytes : 2 * bytes));
    for (const channel of page === 2 ? [damaged] : [whole, damaged]) {
      await salvage([main, channel, other], (content, report) => {
        assert.equal(report.damages.length, channel === whole ? 0 : 1, JSON.stringify(report.damages));
        const [{ file, recoveredPages }] = report.ram;
        assert(recoveredPages >= 1);
        assert.equal(content(file).subarray(4096).every((byte) => byte === (data ? 0x5a : 0)), true);
      });
    }
  }
});

Deno.test("of a channel that is cut there is every whole page before the cut", async () => {
  for (const name of ["pc-multifd-2", "q35-multifd-2-zlib", "pc-multifd-2-zstd", "q35-postcopy-preempt"]) {
    const files = await load(name);
    const truth = await contents(files);
    const whole = [...truth.values()].reduce((sum, { length }) => sum + length / 4096, 0);
    let before = -1;
    for (const part of [0, 0.1, 0.35, 0.6, 0.9, 0.999]) {
      const cut = files[1].slice(0, Math.floor(files[1].length * part));
      await salvage(files.with(1, cut), (content, report) => {
        assert.deepEqual(wrongPages(report, content, truth), [], `${name} ${part}`);
        const recovered = report.ram.reduce((sum, { recoveredPages }) => sum + recoveredPages, 0);
        assert.equal(recovered + report.lost.pages, whole);
        assert(recovered >= before, `${name} ${part}: ${recovered} after ${before}`);
        before = recovered;
        if (part > 0) assert(report.damages.length === 1 && report.damages[0].channel!.endsWith("/ch0"), name);
      });
    }
  }
});

Deno.test("packed pages behind a damaged place are lost, not made up", async () => {
  for (const name of ["q35-multifd-2-zlib", "pc-multifd-2-zstd"]) {
    const files = await load(name);
    const truth = await contents(files);
    const packets = (await packetsOf(files[1])).filter(({ normal }) => normal > 0);
    const { at } = packets[packets.length >> 1];
    // the head, or the first bytes of what is packed
    for (const [from, to] of [[at, at + 16], [at + 1344, at + 1350]]) {
      const damaged = files[1].slice();
      damaged.fill(0xaa, from, to);
      await salvage(files.with(1, damaged), (content, report) => {
        assert.deepEqual(wrongPages(report, content, truth), []);
        const rest = packets.slice((packets.length >> 1) + 1).reduce((sum, { normal }) => sum + normal, 0);
        assert(report.lost.pages >= rest && report.lost.pages < rest + 129, `${report.lost.pages} of ${rest}`);
        assert.match(report.lost.notes.join(), /packets cannot be unpacked: they go on from one that is damaged/);
      });
    }
  }
});

Deno.test("pages of further channels are there when the main channel is damaged, or not there at all", async () => {
  for (const name of ["pc-multifd-2", "q35-multifd-4-live", "pc-multifd-3-zstd-live"]) {
    const [main, ...channels] = await load(name);
    const truth = await contents([main, ...channels]);
    const cut = main.slice(0, 0xd0), marks = main.slice();
    marks.fill(0xaa, 0xcd, 0xe0);
    for (const damaged of [cut, marks]) {
      await salvage([damaged, ...channels], (content, report) => {
        assert.deepEqual([report.lost.pages, wrongPages(report, content, truth)], [0, []], name);
        assert(report.damages.some(({ channel }) => channel === undefined));
      });
    }
    for (const none of [new Uint8Array(), new Uint8Array(5000).fill(0xaa)]) {
      await salvage([none, ...channels], (content, report) => {
        assert.deepEqual(report.ram.map(({ block }) => block).sort(), [...truth.keys()].sort());
        assert(report.ram.every(({ lengthKnown }) => !lengthKnown));
        for (const { block, file } of report.ram) {
          const found = content(file);
          assert(Buffer.compare(found, truth.get(block)!.subarray(0, found.length)) === 0, block);
          assert(truth.get(block)!.subarray(found.length).every((byte) => byte === 0), block);
        }
      });
    }
  }
});

Deno.test("zero pages of a main channel whose marks are lost are uncertain beside data on channels", async () => {
  const files = await load("pc-8.0-multifd-2-live");
  const truth = await contents(files);
  const main = files[0].slice();
  const at = Buffer.from(main).indexOf(Buffer.from("pc.ram"), 0x100);
  main.fill(0xaa, at - 8, at + 4);
  await salvage(files.with(0, main), (content, report) => {
    const uncertain = report.ram.reduce((sum, { uncertainPages }) => sum + uncertainPages, 0);
    assert(wrongPages(report, content, truth).length <= uncertain);
  });
});

Deno.test("a postcopy-preempt channel that is damaged gives the records behind the place, too", async () => {
  const files = await load("q35-postcopy-preempt");
  const truth = await contents(files);
  for (const from of [0, 0x2028, 0x50000]) {
    const damaged = files[1].slice();
    damaged.fill(0xaa, from, from + 64);
    await salvage(files.with(1, damaged), (content, report) => {
      const overwritten = wrongPages(report, content, truth);
      assert(overwritten.length <= 1, overwritten.join());
      assert(report.lost.pages <= 4, `${report.lost.pages} lost`);
      assert(report.devices.length > 20 && report.devices.every(({ offset }) => offset < files[0].length));
    });
  }
  const none = await salvage(files.slice(0, 1));
  assert.deepEqual(none.lost.notes, ["pages are on a postcopy-preempt channel, which this file does not hold"]);
  assert(none.lost.pages > 100);
});

Deno.test("a channel that was not given is missed, and a main channel is none", async () => {
  const files = await load("pc-multifd-2");
  const truth = await contents(files);
  await salvage(files.slice(0, 2), (content, report) => {
    assert.equal(report.intact, false);
    assert.match(report.lost.notes.join(), /^\d+ packets are on channels that were not given$/);
    assert.match(salvageText(report), /: incomplete\n\S+: multifd 0 channel, 6 packets\n/);
    assert.deepEqual(wrongPages(report, content, truth), []);
    assert(report.lost.pages > 0);
  });
  await assert.rejects(salvage([files[0], files[0]]), /Cannot use as a further channel .*QEVM: a main channel/);
});

for (const variant of badManifest().filter((each) => further(each).length > 0)) {
  Deno.test(`salvageImage() of bad/${variant.name} gives what is sound: ${variant.what}`, async () => {
    const names = [variant.name, ...further(variant)];
    const files = await Promise.all(names.map((name) => loadFixture(`bad/${name}`)));
    const truth = await contents(await load(variant.base));
    await salvage(files, (content, report) => {
      assert.equal(report.intact, false);
      const said = [...report.damages.map(({ message }) => message), ...report.lost.notes];
      assert(said.length > 0 && said.every((text) => !/[\n]|undefined|NaN/.test(text)), said.join("; "));
      assert.deepEqual(wrongPages(report, content, truth), []);
      assert(report.ram.some(({ recoveredPages }) => recoveredPages > 0));
    });
  });
}

Deno.test("any cut and any flipped bytes of any file end soon, in a report", async () => {
  for (const name of ["pc-multifd-2", "pc-multifd-2-zstd", "q35-postcopy-preempt"]) {
    const files = await load(name);
    await fc.assert(
      fc.asyncProperty(
        fc.nat(files.length - 1),
        fc.array(fc.tuple(fc.double({ min: 0, max: 0.999999, noNaN: true }), fc.integer({ min: 1, max: 255 })), {
          maxLength: 4,
        }),
        fc.option(fc.double({ min: 0, max: 1, noNaN: true })),
        async (which, flips, cut) => {
          const damaged = files[which].slice(0, cut === null ? undefined : Math.floor(cut * files[which].length));
          for (const [at, bits] of flips) if (damaged.length) damaged[Math.floor(at * damaged.length)] ^= bits;
          const began = performance.now();
          const report = await salvage(files.with(which, damaged));
          assert(performance.now() - began < 20_000);
          const pages = report.ram.reduce((sum, block) => sum + block.recoveredPages, 0);
          if (which > 0 && cut === null && !name.includes("zstd")) assert(report.lost.pages <= 130 * flips.length);
          assert(which === 0 || pages > 100);
        },
      ),
      { numRuns: 40, seed: 5 },
    );
  }
});

Deno.test("miglab salvage --channel gives the same, in the words of the command line", async () => {
  const [main, ch0, ch1] = await load("pc-multifd-2");
  const directory = Deno.makeTempDirSync({ prefix: "miglab-salvage-" });
  try {
    for (const [name, bytes] of Object.entries({ main, ch0, ch1 })) Deno.writeFileSync(`${directory}/${name}`, bytes);
    const given = ["--channel", `${directory}/ch0`, "--channel", `${directory}/ch1`];
    const text = await run("salvage", `${directory}/main`, ...given, "-o", `${directory}/out`);
    assert.deepEqual([text.status, text.stderr], [0, ""]);
    assert.match(text.stdout, /\n\S+ch0: multifd 0 channel, 6 packets\n\S+ch1: multifd 1 channel, 37 packets\n/);
    assert.match(text.stdout, /\npc\.ram +4096 pages: 4096 recovered \(104 with data\), 0 lost\n/);
    const json = await run("salvage", `${directory}/main`, ...given, "-o", `${directory}/json`, "--json");
    assert.deepEqual(JSON.parse(json.stdout).channels, [
      { file: `${directory}/ch0`, name: "multifd 0", bytes: ch0.length, packets: 6 },
      { file: `${directory}/ch1`, name: "multifd 1", bytes: ch1.length, packets: 37 },
    ]);
    const none = await run("salvage", `${directory}/main`, "--channel", `${directory}/no`, "-o", `${directory}/x`);
    assert.deepEqual([none.status, none.stdout], [1, ""]);
    assert.equal(none.stderr, `miglab: Could not open '${directory}/no': No such file or directory\n`);
    assert.deepEqual([...Deno.readDirSync(directory)].map((each) => each.name).sort(), [
      "ch0",
      "ch1",
      "json",
      "main",
      "out",
    ]);
  } finally {
    Deno.removeSync(directory, { recursive: true });
  }
});

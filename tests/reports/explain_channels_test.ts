import assert from "node:assert/strict";
import fc from "fast-check";
import { openImage } from "../../containers/image.ts";
import { explainImage, type ExplainLine, type ExplainOptions, type ReportInput } from "../../reports/explain.ts";
import { explainJson } from "../../reports/explain_text.ts";
import { bufferSource } from "../../stream/channel.ts";
import {
  encodeMultifdInit,
  encodeMultifdPacket,
  MULTIFD_FLAG_DEVICE_STATE,
  MULTIFD_FLAG_SYNC,
  multifdPacketBytes,
  multifdPagesPerPacket,
} from "../../stream/multifd.ts";
import { DEFAULT_PLUGINS } from "../../wiring.ts";
import { combine } from "../../core/registry.ts";
import { badManifest, type BadVariant, type Capture, fixturePath, loadFixture, manifest } from "../fixtures.ts";
import { run, TempDir } from "../repl/capture.ts";

const { tables } = combine(DEFAULT_PLUGINS);
const FURTHER = ["multifd", "postcopy-preempt"];

function further({ files }: Capture | BadVariant): string[] {
  return files.filter(({ role }) => FURTHER.includes(role)).map(({ file }) => file);
}

/** Number of the channel that a file holds. */
function idOf({ files }: Capture, name: string): number | undefined {
  return files.find(({ file }) => file === name)!.channel;
}

async function explain(input: ReportInput, options: ExplainOptions = {}): Promise<ExplainLine[]> {
  const lines: ExplainLine[] = [];
  for await (const line of explainImage(input, { tables, ...options })) lines.push({ ...line, raw: line.raw.slice() });
  return lines;
}

/** Every byte of a channel once, in order. */
function assertTiles(lines: readonly ExplainLine[], size: number, name: string): void {
  let end = 0;
  for (const { offset, length, path, raw, meaning } of lines) {
    assert.equal(offset, end, `${name} ${path}`);
    assert(length > 0 && raw.length <= Math.min(16, length) && meaning !== "", path);
    end = offset + length;
  }
  assert.equal(end, size, name);
}

const captures = manifest().filter((capture) => further(capture).length > 0);

for (const capture of captures) {
  for (const pages of ["each", "runs"] as const) {
    Deno.test(`every byte of every channel of ${capture.name} is named, ${pages}`, async () => {
      const names = further(capture);
      const channels = await Promise.all(names.map((name) => fixturePath(name)));
      const faults: Error[] = [], told: unknown[] = [];
      const lines = await explain(await fixturePath(capture.name), {
        channels,
        pages,
        onFault: (fault) => faults.push(fault),
        onChannel: (channel) => told.push(channel),
      });
      assert.deepEqual(faults, []);
      assert.deepEqual(lines.filter(({ path }) => path === "opaque"), []);
      const files = Map.groupBy(lines, ({ channel }) => channel);
      assert.deepEqual([...files.keys()], [undefined, ...channels]);
      const main = await fixturePath(capture.name);
      for (const [path, own] of files) assertTiles(own, (await Deno.stat(path ?? main)).size, path ?? "main");
      const alone = await explain(main, { pages });
      assert.deepEqual(files.get(undefined)!.map(explainJson), alone.map(explainJson));
      const kind = capture.multifd ? "multifd" : "postcopy-preempt";
      assert.deepEqual(
        told,
        channels.map((name, i) => ({ name, kind, ...(capture.multifd ? { id: idOf(capture, names[i]) } : {}) })),
      );
      // without the main channel the same, as far as it does not need it
      for (const path of channels) {
        const itself = await explain(path, { pages });
        const same = files.get(path)!.map(({ channel: _, ...line }) => explainJson(line));
        assert.deepEqual(itself.map(explainJson), same);
      }
      if (!capture.multifd) return;
      for (const { id, packets, sync_packets } of capture.multifd.channels) {
        const path = channels[names.findIndex((name) => idOf(capture, name) === id)];
        const flags = files.get(path)!.filter(({ path }) => /^packets\[\d+\]\.flags$/.test(path));
        const syncs = flags.filter(({ meaning }) => meaning.startsWith("SYNC"));
        assert.deepEqual([flags.length, syncs.length], [packets, sync_packets]);
      }
    });
  }
}

for (const variant of badManifest().filter((each) => further(each).length > 0)) {
  Deno.test(`every byte of every channel of bad/${variant.name} is named`, async () => {
    const channels = await Promise.all(further(variant).map((file) => fixturePath(`bad/${file}`)));
    const main = await fixturePath(`bad/${variant.name}`);
    const lines = await explain(main, { channels, pages: "runs" });
    const files = Map.groupBy(lines, ({ channel }) => channel);
    for (const path of [undefined, ...channels]) {
      assertTiles(files.get(path) ?? [], (await Deno.stat(path ?? main)).size, path ?? "main");
    }
  });
}

Deno.test("explain says what is wrong with a channel where it stands, and goes on with the next", async () => {
  const expected: Record<string, RegExp> = {
    "multifd-normal-pages": /offset 0x[0-9a-f]+ in "[^"]*ch0\.bin": 1000 pages with data, expected at most 128/,
    "multifd-block-unknown": /ch\d\.bin": block "[^"]+", expected a block of the list .*multifd: unknown ram block/,
    "multifd-channel-truncated": /ch0\.bin": \d+ bytes before the end, expected \d+ \(QEMU: multifd: unexpected EOF/,
    "multifd-init-version": /Cannot read first message of a channel at offset 0x4 .* version 2, expected 1/,
  };
  for (const [name, what] of Object.entries(expected)) {
    const variant = badManifest().find((each) => each.name === name)!;
    const channels = await Promise.all(further(variant).map((file) => fixturePath(`bad/${file}`)));
    const faults: string[] = [];
    const lines = await explain(await fixturePath(`bad/${name}`), { channels, onFault: (e) => faults.push(e.message) });
    assert.equal(faults.length, 1, faults.join("\n"));
    assert.match(faults[0], what);
    assert.equal(lines.filter(({ path, meaning }) => path === "opaque" && meaning === faults[0]).length, 1);
    assert.equal(new Set(lines.map(({ channel }) => channel)).size, 1 + channels.length);
  }
});

Deno.test("--at BLOCK:OFFSET finds a page on any channel, and the bytes there are the page", async () => {
  for (const name of ["pc-multifd-2", "q35-multifd-4-live", "q35-postcopy-preempt.main"]) {
    const capture = captures.find((each) => each.name === name.replace(/\.main$/, ""))!;
    const channels = await Promise.all(further(capture).map((each) => fixturePath(each)));
    const path = await fixturePath(name);
    await using image = await openImage(path, { tables, channels });
    const block = image.ram.blocks.find(({ id }) => id === "pc.ram")!;
    let checked = 0;
    for (let at = 0; at < block.bytes && checked < 8;) {
      const run = image.ram.run(block, at);
      if (run < 0) {
        at -= run;
        continue;
      }
      const found = await explain(path, { channels, page: { block: block.id, offset: at + 0xabc } });
      const content = await image.ram.readPage(block, at);
      // it may have been sent more than once
      const copies = found.filter(({ path }) => !path.includes(".offset[")).map(({ channel, offset, length }) => {
        return Deno.readFileSync(channel ?? path).subarray(offset, offset + length).subarray(-content.length).toHex();
      });
      assert(copies.includes(content.toHex()), `page ${at.toString(16)} of ${name}`);
      checked++;
      at += Math.max(4096, Math.floor(run / 8 / 4096) * 4096);
    }
    assert(checked > 2, `${name}: ${checked} pages`);
  }
});

Deno.test("--at CHANNEL:OFFSET begins in that channel, --section ram takes its packets along", async () => {
  const [main, ch0, ch1] = await Promise.all(["main", "ch0", "ch1"].map((each) => fixturePath(`pc-multifd-2.${each}`)));
  const given = ["--channel", ch0, "--channel", ch1];
  const base = ch1.slice(ch1.lastIndexOf("/") + 1);
  const whole = (await explain(ch1, { pages: "runs" })).filter(({ offset, length }) => offset + length > 0x5a1);
  for (const name of [ch1, base]) {
    const { stdout, stderr, status } = await run("explain", main, ...given, "--at", `${name}:0x5a1`);
    assert.deepEqual([status, stderr], [0, ""]);
    const lines = stdout.trimEnd().split("\n");
    assert.equal(lines[0], `${ch1}: multifd channel 1`);
    assert.deepEqual(
      lines.slice(1).map((line) => line.split(" ")[0]),
      whole.slice(0, 16).map(({ offset }) => `0x${offset.toString(16)}`),
    );
  }
  const json = (await run("explain", main, ...given, "--at", `${base}:0x40`, "--limit", "1", "--json")).stdout;
  const { channel, offset, path } = JSON.parse(json);
  assert.deepEqual([channel, offset, path], [ch1, 0x40, "packets[0].magic"]);

  const heads = (await run("explain", main, ...given)).stdout.split("\n").filter((line) => line.startsWith("/"));
  assert.deepEqual(heads, [`${main}: main channel`, `${ch0}: multifd channel 0`, `${ch1}: multifd channel 1`]);
  const ram = await explain(main, { channels: [ch0, ch1], section: "ram", pages: "runs" });
  assert(ram.some((line) => line.channel === ch1) && ram.every(({ path }) => !path.startsWith("init")));
  const timer = await explain(main, { channels: [ch0, ch1], section: "timer" });
  assert(timer.length > 5 && timer.every((line) => line.channel === undefined));

  const refused: [string[], RegExp][] = [
    [["--at", `${base}:0xffffff`], /nothing at or behind 0xffffff of \S+ch1\S* to explain\n$/],
    [["--at", "0xffffff"], /nothing at or behind 0xffffff to explain\n$/],
    [["--channel", main], /Cannot use as a further channel .*QEVM: a main channel, expected a further one\n$/],
    [["--channel", "/nonexistent"], /^miglab: Could not open '\/nonexistent': No such file or directory\n$/],
  ];
  for (const [args, what] of refused) {
    const { status, stderr } = await run("explain", main, ...given, ...args);
    assert.equal(status, 1);
    assert.match(stderr, what);
    assert.equal(stderr.split("\n").length, 2);
  }
});

Deno.test("what is said of a page that nothing holds is true, of files and of pipes", async () => {
  using dir = new TempDir();
  const piped = async (path: string, ...args: string[]) => {
    const fifo = dir.file("fifo");
    assert((await new Deno.Command("mkfifo", { args: [fifo] }).output()).success);
    const cat = new Deno.Command("sh", { args: ["-c", `cat '${path}' > '${fifo}'`], stderr: "null" }).spawn();
    const ran = await run("explain", fifo, ...args);
    await cat.status;
    Deno.removeSync(fifo);
    const stderr = ran.stderr.replace(fifo, path);
    return { ...ran, stderr, both: ran.both.replace(fifo, path) };
  };
  const multifd = await fixturePath("pc-multifd-2"), old = await fixturePath("pc-8.0-multifd-2-live.main");
  const ch0 = await fixturePath("pc-multifd-2.ch0");
  const cases: [string, string[], RegExp][] = [
    ["pc-mapped-many-blocks", ["--at", "n0:0x7000000"], /No page at 0x7000000 of n0: it has 0x800000$/],
    ["pc-mapped-many-blocks", ["--at", "nosuch:0"], /No RAM block is named "nosuch": the blocks are n0, n1, /],
    ["pc-file-stopped", ["--at", "pc.ram:0xfffffff000"], /No page at 0xfffffff000 of pc\.ram: it has 0x1000000$/],
    [
      "pc-ignore-shared",
      ["--at", "shm0:0x1000"],
      /nothing holds page 0x1000 of shm0: it is in shared memory, kept by a file of its own/,
    ],
  ];
  for (const [name, args, what] of cases) {
    const path = await fixturePath(name);
    const file = await run("explain", path, ...args);
    assert.deepEqual([file.status, file.stdout], [1, ""], name);
    assert.match(file.stderr.trimEnd(), what);
    assert.deepEqual(await piped(path, ...args), file);
  }
  for (const path of [multifd, old]) {
    const file = await run("explain", path, "--at", "pc.ram:0x200000");
    assert.match(
      file.stderr,
      /nothing holds page 0x200000 of pc\.ram: it went on a multifd channel; give the file of each with --channel\n$/,
    );
    assert.deepEqual(await piped(path, "--at", "pc.ram:0x200000"), file);
  }
  const one = await run("explain", multifd, "--channel", ch0, "--at", "pc.ram:0x80000");
  assert.match(one.stderr, /none of the channels that were given holds page 0x80000 of pc\.ram\n$/);
  const channel = await run("explain", ch0, "--at", "pc.ram:0x80000");
  assert.match(channel.stderr, /nothing on this channel holds page 0x80000 of pc\.ram\n$/);
});

Deno.test("channels come from pipes, too, and say the same", async () => {
  for (const name of ["pc-multifd-2", "pc-multifd-3-zstd-live", "q35-postcopy-preempt"]) {
    const capture = captures.find((each) => each.name === name)!;
    const main = await loadFixture(name);
    const bytes = await Promise.all(further(capture).map((each) => loadFixture(each)));
    const piped = (one: Uint8Array, i: number) =>
      bufferSource(one, { sequential: true, chunk: 7001, name: `channel ${i}` });
    const whole = await explain(main, { channels: bytes, pages: "each" });
    const lines = await explain(main, { channels: bytes.map(piped), pages: "each" });
    assert.deepEqual(lines.map(explainJson), whole.map(explainJson));
    for (const [i, one] of bytes.entries()) {
      const own = await explain(piped(one, i), { pages: "runs" });
      assertTiles(own, one.length, name);
      assert(own.every(({ path }) => path !== "opaque"));
    }
  }
});

/** A channel of one SYNC packet, one packet of two pages, and state of a device. */
function build(pageSize: number, first: "sync" | "pages"): Uint8Array<ArrayBuffer> {
  const packet = (flags: number, normal: number, zero: number, number: number) => {
    const head = new Uint8Array(multifdPacketBytes(pageSize));
    const offsets = new Float64Array(multifdPagesPerPacket(pageSize)).map((_, i) => i * pageSize);
    const payload = normal * pageSize;
    encodeMultifdPacket(head, { flags, normal, zero, payload, number, idstr: "mem", offsets });
    return [head, new Uint8Array(payload).fill(0x5a)];
  };
  const state = new Uint8Array(276 + 1000).fill(7);
  const view = new DataView(state.buffer);
  [0x11223344, 1, MULTIFD_FLAG_DEVICE_STATE].forEach((word, i) => view.setUint32(4 * i, word));
  state.fill(0, 12, 272);
  state.set(new TextEncoder().encode("0000:00:04.0/vfio"), 12);
  view.setUint32(272, 1000);
  const sync = packet(MULTIFD_FLAG_SYNC, 0, 0, 0), pages = packet(0, 1, 1, 1);
  const parts = [encodeMultifdInit(3), ...(first === "sync" ? [...sync, ...pages] : [...pages, ...sync]), state];
  const bytes = new Uint8Array(parts.reduce((sum, { length }) => sum + length, 0));
  let at = 0;
  for (const part of parts) {
    bytes.set(part, at);
    at += part.length;
  }
  return bytes;
}

Deno.test("a channel alone tells its page size, whatever it begins with, and the device whose state it carries", async () => {
  for (const pageSize of [1024, 2048, 4096, 8192, 16384, 65536]) {
    for (const first of ["sync", "pages"] as const) {
      const bytes = build(pageSize, first);
      const lines = await explain(bytes, { onFault: (fault) => assert.fail(fault.message) });
      assertTiles(lines, bytes.length, `${pageSize} ${first}`);
      const [page] = lines.filter(({ path }) => path.endsWith(".pages[0]"));
      assert.deepEqual([page.length, page.raw[0]], [pageSize, 0x5a]);
      const state = lines.filter(({ path }) => path.startsWith("packets[2]."));
      assert.equal(state.find(({ path }) => path.endsWith(".idstr"))!.value, "0000:00:04.0/vfio");
      assert.deepEqual([state.at(-1)!.path, state.at(-1)!.length], ["packets[2].data", 1000]);
      const only = await explain(bytes, { section: "vfio" });
      assert.deepEqual(only.map(({ path }) => path), state.map(({ path }) => path));
    }
  }
});

Deno.test("cuts and flipped bytes of a channel are told, every byte of them; whole pages of a cut packet are named", async () => {
  const main = await loadFixture("pc-multifd-2");
  for (const file of ["pc-multifd-2.ch1", "pc-multifd-2-zstd.ch0", "q35-postcopy-preempt.preempt"]) {
    const whole = (await loadFixture(file)).slice(0, 200_000);
    await fc.assert(
      fc.asyncProperty(
        fc.integer({ min: 1, max: whole.length }),
        fc.array(fc.tuple(fc.nat(whole.length - 1), fc.integer({ min: 1, max: 255 })), { maxLength: 4 }),
        fc.boolean(),
        async (cut, flips, sequential) => {
          const bytes = whole.slice(0, cut);
          for (const [at, by] of flips) if (at < cut) bytes[at] ^= by;
          if (bytes[0] === 0x51) return;
          const channel = bufferSource(bytes, { sequential, chunk: 5000 });
          const lines = await explain(main, { channels: [channel], pages: "runs", at: { channel: 0, offset: 0 } });
          assertTiles(lines, cut, `${file} cut at ${cut}`);
        },
      ),
      { numRuns: 100, seed: 11 },
    );
  }
  const bytes = await loadFixture("pc-multifd-2.ch0");
  const all = await explain(bytes, { pages: "each" });
  const page = all.filter(({ path }) => path === "packets[3].pages[2]")[0];
  const cut = await explain(bytes.slice(0, page.offset + page.length + 100), { pages: "runs" });
  assert.deepEqual(cut.slice(-2).map(({ path, offset }) => [path, offset]), [
    ["packets[3].pages[0..2]", page.offset - 2 * 4096],
    ["opaque", page.offset + page.length],
  ]);
});

Deno.test("an empty channel is one that no page was asked for on", async () => {
  using dir = new TempDir();
  const main = await fixturePath("q35-postcopy-preempt.main"), empty = dir.file("empty", "");
  const { stdout, status } = await run("explain", main, "--channel", empty);
  assert.equal(status, 0);
  assert(stdout.endsWith(`${empty}: empty: a postcopy-preempt channel on which no page was asked for\n`));
  const json = await run("explain", main, "--channel", empty, "--json");
  assert.equal(json.stdout, (await run("explain", main, "--json")).stdout);
});

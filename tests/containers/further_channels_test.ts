import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { gzipSync } from "node:zlib";
import { type Image, openImage } from "../../containers/image.ts";
import { multifdZlib } from "../../plugins/multifd_zlib.ts";
import { multifdZstd } from "../../plugins/multifd_zstd.ts";
import { inspectImage } from "../../reports/inspect.ts";
import type { ByteSource } from "../../stream/channel.ts";
import { StreamError } from "../../stream/errors.ts";
import { badManifest, type BadVariant, type Capture, fixturePath, loadFixture, manifest } from "../fixtures.ts";

const tables = { multifd: { ...multifdZlib.tables!.multifd, ...multifdZstd.tables!.multifd } };
const FURTHER = ["multifd", "postcopy-preempt"];

/** Names of a capture's further channels, in the order of the manifest. */
function further({ files }: Capture | BadVariant): string[] {
  return files.filter(({ role }) => FURTHER.includes(role)).map(({ file }) => file);
}

/** Blocks of the image hashed, beside the truth about them. */
function hashes(image: Image): Record<string, string> {
  const found: Record<string, string> = {};
  const buffer = new Uint8Array(1 << 20);
  for (const block of image.ram.blocks) {
    const hash = createHash("sha256");
    for (let at = 0; at < block.bytes; at += buffer.length) {
      const piece = buffer.subarray(0, Math.min(buffer.length, block.bytes - at));
      image.ram.readRange(block, at, piece);
      hash.update(piece);
    }
    found[block.id] = hash.digest("hex");
  }
  return found;
}

function truth({ ram }: Capture): Record<string, string> {
  return Object.fromEntries(ram.blocks.map(({ name, sha256 }: { name: string; sha256: string }) => [name, sha256]));
}

/** A source that can only be read forward. */
function pipe(bytes: Uint8Array): ByteSource {
  let position = 0;
  return {
    name: "pipe",
    read(view) {
      const n = Math.min(view.length, bytes.length - position, 1000);
      view.set(bytes.subarray(position, position + n));
      position += n;
      return n;
    },
  };
}

const captures = manifest().filter((capture) => further(capture).length > 0);

Deno.test("there are captures of every way to send pages on further channels", () => {
  const of = (part: string) => captures.filter(({ name }) => name.includes(part)).length;
  assert(captures.length >= 10 && of("zlib") >= 2 && of("zstd") >= 2 && of("live") >= 3 && of("preempt") === 1);
});

Deno.test("channels that were packed as whole files are unpacked, each by itself", async () => {
  const capture = captures.find(({ name }) => name.includes("zstd-live"))!;
  const files = await Promise.all(further(capture).map(loadFixture));
  const [first, ...rest] = files;
  const channels = [gzipSync(first), ...rest.map((bytes) => Uint8Array.from(bytes))];
  await using image = await openImage(await loadFixture(capture.files[0].file), { tables, channels });
  assert.deepEqual(hashes(image), truth(capture));
});

for (const capture of captures) {
  Deno.test(`${capture.name} with its channels holds the RAM the guest had`, async () => {
    const names = further(capture);
    const channels = await Promise.all(names.map((name) => fixturePath(name)));
    await using image = await openImage(await fixturePath(capture.name), { tables, channels });
    assert.equal(image.fault, undefined);
    assert.equal(image.complete, true);
    assert.deepEqual(hashes(image), truth(capture));
    const doubts = image.warnings.filter(({ text }) => /channel|packet|page/.test(text));
    assert.deepEqual(doubts, []);
    if (!capture.multifd) return;
    assert.equal(image.stream.ramFormat, "multifd");
    for (const { id, packets, sync_packets } of capture.multifd.channels) {
      const found = image.channels.find((channel) => channel.id === id);
      assert.deepEqual([found?.packets, found?.syncs], [packets, sync_packets], `channel ${id}`);
    }
    const { normal, duplicate } = capture.query_migrate.ram;
    const counts = image.ram.blocks.reduce((sum, block) => sum + block.normalPages, 0);
    assert(counts <= normal, `${counts} of ${normal} data pages, ${duplicate} of zeros`);
  });
}

Deno.test("channels may come in any order, as bytes, and as pipes", async () => {
  for (const name of ["pc-multifd-2", "pc-multifd-3-zstd-live", "q35-multifd-4-live"]) {
    const capture = captures.find((each) => each.name === name)!;
    const bytes = await Promise.all(further(capture).map((each) => loadFixture(each)));
    const main = await loadFixture(name);
    for (const channels of [bytes.toReversed(), bytes]) {
      await using image = await openImage(main, { tables, channels });
      assert.deepEqual(hashes(image), truth(capture), name);
      assert.deepEqual(image.channels.map(({ id }) => id), bytes.map((_, i) => i));
    }
    await using piped = await openImage(pipe(main), { tables, channels: bytes.map(pipe) });
    assert.equal(piped.fault, undefined);
    if (name.includes("zstd")) assert.deepEqual(hashes(piped), truth(capture), name);
  }
});

Deno.test("a channel that was not given is missed", async () => {
  const channels = [await fixturePath("pc-multifd-2.ch0")];
  await using image = await openImage(await fixturePath("pc-multifd-2"), { tables, channels });
  const text = image.warnings.map((warning) => warning.text).join();
  assert.match(text, /\d+ packets are on channels that were not given/);
  const [block] = image.ram.blocks;
  assert(block.missingPages > 0);
});

Deno.test("what is not a channel of this migration is refused", async () => {
  const main = await fixturePath("pc-multifd-2");
  const refuse = async (channels: string[], expected: RegExp) => {
    const paths = await Promise.all(channels.map((name) => name.startsWith("/") ? name : fixturePath(name)));
    await assert.rejects(openImage(main, { tables, channels: paths }), (error) => {
      assert(error instanceof StreamError, String(error));
      assert.match(error.message, expected);
      return true;
    });
  };
  await refuse(["pc-file-stopped"], /QEVM: a main channel/);
  await refuse(["pc-multifd-2.ch0", "pc-multifd-2.ch0"], /received id '0' already setup'/);
  await refuse(["pc-multifd-2.ch1"], /received channel id 1 is greater than number of channels 1/);
  await refuse(["pc-multifd-2.ch0", "pc-multifd-2-zlib-legacy-zero.ch1"], /received uuid 'aabbccdd-0011-2233/);
  await refuse(["/dev/null"], /0 bytes before the end/);
  await assert.rejects(
    openImage(main, { channels: ["/nonexistent"] }),
    { name: "TransportError", message: "Could not open '/nonexistent': No such file or directory" },
  );
  await assert.rejects(openImage(main, { channels: new Array(300).fill(main) }), RangeError);
});

Deno.test("a preempt channel that nobody asked for a page on is empty", async () => {
  const main = await loadFixture("q35-file-2cpu"), nothing = new Uint8Array();
  for (const channels of [[nothing], [pipe(nothing)]]) {
    await using image = await openImage(main, { channels });
    assert.deepEqual([image.fault, image.complete], [undefined, true]);
    assert.deepEqual(image.channels.map(({ name }) => name), ["preempt"]);
    await using alone = await openImage(main);
    assert.deepEqual(hashes(image), hashes(alone));
  }
  const multifd = await loadFixture("pc-multifd-2");
  for (const channels of [[nothing], [nothing, await loadFixture("pc-multifd-2.ch0")]]) {
    await assert.rejects(
      openImage(multifd, { channels }),
      /^TruncatedStreamError: Cannot read first message of a channel /,
    );
  }
});

Deno.test("without its codec a packed channel says which feature is missing", async () => {
  const channels = [await fixturePath("pc-multifd-2-zstd.ch0"), await fixturePath("pc-multifd-2-zstd.ch1")];
  await using image = await openImage(await fixturePath("pc-multifd-2-zstd"), { channels });
  assert.match(image.fault!.message, /Cannot unpack multifd packet .* in "multifd \d": compression 0x4/);
});

/** What is wrong with each corrupted variant, in QEMU's words where it has some. */
const FAULTS: Readonly<Record<string, RegExp>> = {
  "multifd-init-magic": /received packet magic 11223345 expected 11223344/,
  "multifd-init-version": /received packet version 2 expected 1/,
  "multifd-init-uuid": /received uuid '0101.*' and expected uuid '0000.*' for channel 1/,
  "multifd-channel-id-range": /received channel id 9 is greater than number of channels 2/,
  "multifd-channel-id-twice": /received id '0' already setup'/,
  "multifd-channel-missing": /packets are on channels that were not given/,
  "multifd-packet-magic": /received packet magic [0-9a-f]+, expected 11223344/,
  "multifd-pages-alloc": /received packet with 129 pages, expected 128/,
  "multifd-normal-pages": /1000 non-zero pages, which exceeds maximum expected pages 128/,
  "multifd-offset-past-block": /offset too long \d+ \(max 1000000\)/,
  "multifd-block-unknown": /unknown ram block/,
  "multifd-channel-truncated": /bytes before the end/,
  "multifd-sync-missing": /Cannot find SYNC packet/,
  "multifd-zlib-garbage": /multifd \d: inflate returned -3 instead of Z_OK/,
  "multifd-zlib-packet-size": /multifd/,
  "multifd-zlib-packet-size-huge": /16777216 bytes of payload, expected at most 1048576/,
  // nothing in the files says that it should be zlib
  "multifd-compression-flag": /multifd 0: decompressStream returned Unknown frame descriptor/,
};

const bad = badManifest().filter((variant) => further(variant).length > 0);

Deno.test("every corrupted set of channels has its fault named here", () => {
  assert.deepEqual(bad.map(({ name }) => name).toSorted(), Object.keys(FAULTS).toSorted());
});

for (const variant of bad) {
  Deno.test(`bad/${variant.name} with its channels: ${variant.what}`, async () => {
    const channels = await Promise.all(further(variant).map((file) => fixturePath(`bad/${file}`)));
    const begin = performance.now();
    let said: string[];
    try {
      await using image = await openImage(await fixturePath(`bad/${variant.name}`), { tables, channels });
      said = [...image.warnings.map(({ text }) => text), ...(image.fault ? [image.fault.message] : [])];
      if (variant.name !== "multifd-channel-missing") assert(image.fault && !image.complete);
      // what came before the fault is there, and can be reported
      assert(image.ram.blocks.length > 0);
      await inspectImage(image);
    } catch (error) {
      if (!(error instanceof StreamError)) throw error;
      said = [error.message];
    }
    assert(performance.now() - begin < 20_000, "took over twenty seconds");
    assert(said.some((text) => FAULTS[variant.name].test(text)), said.join("; "));
    for (const text of said) assert.doesNotMatch(text, /\n|undefined|NaN/);
  });
}

import assert from "node:assert/strict";
import { Buffer } from "node:buffer";
import fs from "node:fs";
import type { PageJob } from "../../core/page_job.ts";
import { writePages } from "../../core/page_job.ts";
import { PageWriters } from "../../core/page_writers.ts";
import type { Channel } from "../../core/transport.ts";

const PAGE = 4096, SLOT = 1 << 20, PAGES = SLOT / PAGE;
const { O_RDONLY, O_WRONLY } = fs.constants;

/** Eight slots; of every page of three the first is random, the second has its last byte, the third is zero. */
function memory(): WebAssembly.Memory {
  const memory = new WebAssembly.Memory({ initial: 128, maximum: 128, shared: true });
  const bytes = new Uint8Array(memory.buffer as ArrayBuffer);
  const random = crypto.getRandomValues(new Uint8Array(PAGE));
  for (let page = 0; page < 8 * PAGES; page++) {
    if (page % 3 === 0) bytes.set(random, page * PAGE);
    else if (page % 3 === 1) bytes[(page + 1) * PAGE - 1] = 1;
  }
  return memory;
}

/** A channel as {@link PageWriters} sees it; `inline` ones have no file a Worker could open. */
function channel(path: string, flags: number, inline = false): Channel & { fd: number } {
  const fd = fs.openSync(path, O_WRONLY | fs.constants.O_CREAT);
  return {
    fd,
    name: "multifd",
    noun: "file",
    seekable: true,
    returnPath: false,
    ...(inline ? {} : { file: { path, flags } }),
    writeAt: (view: Uint8Array, position: number) => void fs.writeSync(fd, view, 0, view.length, position),
    abort() {},
    close: () => fs.closeSync(fd),
  };
}

async function withFile(body: (path: string) => Promise<void>): Promise<void> {
  const path = Deno.makeTempFileSync();
  try {
    await body(path);
  } finally {
    Deno.removeSync(path);
  }
}

/** With all its Workers at work, where there are any. */
async function started(
  channels: readonly Channel[],
  memories: readonly WebAssembly.Memory[],
  bitmaps: readonly SharedArrayBuffer[],
): Promise<PageWriters> {
  const workers = channels.filter(({ file }) => file).length;
  const writers = new PageWriters(channels, memories, bitmaps, workers);
  // the Workers start with the first range, which may be one of nothing
  await writers.submit(
    { memory: memories[0], at: 0, length: 0, pageSize: PAGE, position: 0, scan: false, first: 0 },
    0,
  );
  while (writers.open < workers) await new Promise((resolve) => setTimeout(resolve, 5));
  return writers;
}

function* slots(ram: WebAssembly.Memory, scan = true): Generator<Omit<PageJob, "bitmap">> {
  for (let slot = 0; slot < 8; slot++) {
    const at = slot * SLOT;
    yield { memory: ram, at, length: SLOT, pageSize: PAGE, position: SLOT + at, scan, first: slot * PAGES };
  }
}

for (const [how, count, inline] of [["one Worker", 1], ["three Workers", 3], ["this thread", 2, true]] as const) {
  Deno.test(`pages land where they belong, zero pages leave holes, bits say which: ${how}`, () =>
    withFile(async (path) => {
      const ram = memory();
      const channels = Array.from({ length: count }, () => channel(path, O_WRONLY, inline));
      const bitmap = new SharedArrayBuffer(8 * PAGES / 8);
      new Uint8Array(bitmap).fill(0xff); // bits of zero pages are cleared
      const writers = await started(channels, [ram], [bitmap]);
      for (const job of slots(ram)) await writers.submit(job, 0);
      await writers.drain();
      const zero = Math.floor(8 * PAGES / 3);
      assert.deepEqual([writers.normal, writers.zero], [8 * PAGES - zero, zero]);
      const counters = writers.counters();
      assert.equal(counters.length, count);
      assert.equal(counters.reduce((sum, { bytes }) => sum + bytes, 0), writers.normal * PAGE);
      await writers.close();
      for (const each of channels) each.close();

      const file = Deno.readFileSync(path).subarray(SLOT);
      const bytes = new Uint8Array(ram.buffer as ArrayBuffer).subarray(0, file.length);
      assert.equal(Buffer.compare(file, bytes), 0);
      const bits = new Uint8Array(bitmap);
      for (let page = 0; page < 8 * PAGES; page++) {
        assert.equal(bits[page >> 3] >> (page & 7) & 1, page % 3 === 2 ? 0 : 1, `page ${page}`);
      }
    }));
}

Deno.test("without a scan everything is written, memory that is not there as zeros", () =>
  withFile(async (path) => {
    const channels = [channel(path, O_WRONLY), channel(path, O_WRONLY)];
    const writers = await started(channels, [], [new SharedArrayBuffer(256)]);
    for (const job of slots(memory(), false)) await writers.submit({ ...job, memory: undefined }, 0);
    await writers.drain();
    assert.deepEqual([writers.normal, writers.zero], [8 * PAGES, 0]);
    await writers.close();
    for (const each of channels) each.close();
    assert(Deno.statSync(path).blocks! * 512 >= 8 * SLOT);
    assert(Deno.readFileSync(path).every((byte) => byte === 0));
  }));

Deno.test("a channel that cannot write fails the whole, with its reason, and every handle is closed", () =>
  withFile(async (path) => {
    const ram = memory();
    const channels = [channel(path, O_WRONLY), channel(path, O_RDONLY), channel(path, O_WRONLY)];
    const handles = () =>
      [...Deno.readDirSync("/proc/self/fd")].filter(({ name }) => {
        try {
          return fs.readlinkSync(`/proc/self/fd/${name}`) === path;
        } catch {
          return false; // another test's, closed since it was listed
        }
      }).length;
    const writers = await started(channels, [ram], [new SharedArrayBuffer(256)]);
    assert.equal(handles(), 6);
    const expected = { name: "TransportError", message: "Unable to write to file: Bad file descriptor" };
    await assert.rejects(async () => {
      for (let round = 0; round < 10; round++) for (const job of slots(ram)) await writers.submit(job, 0);
      await writers.drain();
    }, expected);
    assert.throws(() => writers.submit(slots(ram).next().value!, 0), expected);
    await assert.rejects(writers.drain(), expected);
    await writers.close();
    assert.equal(handles(), 3);
    for (const each of channels) each.close();
  }));

Deno.test("a file that is gone when a Worker opens it fails the save; without a file all is written from here", () =>
  withFile(async (path) => {
    const ram = memory();
    const own = channel(path, O_WRONLY);
    const elsewhere = (other: string) => ({ ...own, file: { path: other, flags: O_WRONLY } });
    const gone = new PageWriters([elsewhere(path + "-gone")], [ram], [new SharedArrayBuffer(256)]);
    await assert.rejects(async () => {
      for (const until = performance.now() + 60_000; performance.now() < until;) {
        for (const job of slots(ram)) await gone.submit(job, 0);
        await new Promise((resolve) => setTimeout(resolve, 5));
      }
    }, { message: "Unable to write to file: No such file or directory" });
    await gone.close();

    const refused = new PageWriters([{ ...own, file: undefined }], [ram], [new SharedArrayBuffer(256)]);
    for (const job of slots(ram)) await refused.submit(job, 0);
    await refused.drain();
    assert.equal(refused.open, 0);
    assert.equal(refused.normal + refused.zero, 8 * PAGES);
    await refused.close();
    own.close();
  }));

Deno.test("a Worker for every channel only where there is much to write", () =>
  withFile(async (path) => {
    const ram = memory();
    const channels = Array.from({ length: 3 }, () => channel(path, O_WRONLY));
    const writers = new PageWriters(channels, [ram], [new SharedArrayBuffer(256)], 1);
    const opened = async (count: number) => {
      while (writers.open < count) await new Promise((resolve) => setTimeout(resolve, 5));
    };
    for (const job of slots(ram, false)) await writers.submit(job, 0);
    await opened(1);
    const once = writers.counters().reduce((sum, { bytes }) => sum + bytes, 0);
    assert.ok(once < 64 << 20);
    for (let round = 0; round <= (64 << 20) / (8 * SLOT) + 1; round++) {
      for (const job of slots(ram, false)) await writers.submit(job, 0);
      await writers.drain();
    }
    await opened(3);
    await writers.close();
    for (const each of channels) each.close();
  }));

Deno.test("what is handed over before a Worker is at work is written at once", () =>
  withFile(async (path) => {
    const ram = memory();
    const only = channel(path, O_WRONLY);
    const writers = new PageWriters([only], [ram], [new SharedArrayBuffer(256)]);
    for (const job of slots(ram)) assert.equal(writers.submit(job, 0), undefined);
    assert.equal(writers.normal + writers.zero, 8 * PAGES);
    await writers.close();
    only.close();
  }));

Deno.test("writePages() gives one write for each run of pages", () => {
  const ram = memory();
  const bitmap = new Uint8Array(32);
  const written: [number, number][] = [];
  const job = { memory: ram, at: 0, length: 7 * PAGE, pageSize: PAGE, position: 100, scan: true, bitmap, first: 9 };
  assert.equal(writePages(job, (view, position) => void written.push([position, view.length])), 5);
  assert.deepEqual(written, [[100, 2 * PAGE], [100 + 3 * PAGE, 2 * PAGE], [100 + 6 * PAGE, PAGE]]);
  assert.deepEqual([...bitmap.subarray(0, 3)], [0, 0b10110110, 0]);
});

/**
 * Rows of pages read straight from the file, by two threads; and pages that never come.
 * @module
 */
import assert from "node:assert/strict";
import fs from "node:fs";
import { Buffer } from "node:buffer";
import fc from "fast-check";
import { Arrivals } from "../../core/arrivals.ts";
import { addressOf } from "../../threads/machine_address.ts";
import { RecordRow } from "../../threads/record_row.ts";
import { PIECE_PAGES, type RowJob, rowState, settleRow, takePieces } from "../../threads/row_team.ts";
import { GuestMemory, type RamBlock } from "../../guest/memory.ts";
import { openImage, Workbench } from "../../mod.ts";
import { fixturePath } from "../fixtures.ts";

const PAGE = 4096, RECORD = 8 + PAGE;
/** RAM_SAVE_FLAG_PAGE with CONTINUE, in the lowest byte of a record's head. */
const PAGE_CONTINUE = 0x28;

function temporary(): { readonly path: string } & Disposable {
  const path = Deno.makeTempDirSync({ prefix: "miglab-load-" });
  return { path, [Symbol.dispose]: () => Deno.removeSync(path, { recursive: true }) };
}

function contentOf(block: RamBlock): Uint8Array {
  const bytes = new Uint8Array(block.usedLength);
  block.read(0, bytes);
  return bytes;
}

/** Where records of pages of the block that goes on are, in a stream of our own. */
function rowRecords(file: Uint8Array, from: number): number[] {
  const found: number[] = [];
  for (let at = from; at + RECORD <= file.length && file[at + 7] === PAGE_CONTINUE; at += RECORD) found.push(at);
  return found;
}

Deno.test("a long row is read as it is, also where records stand in another order than guessed", async () => {
  using dir = temporary();
  const saved = `${dir.path}/saved`;
  await using source = await Workbench.open({ ram: "96M", content: "random:seed=4", stopped: true });
  await source.setParameter("max-bandwidth", 0);
  await source.migrate(`file:${saved}`);
  const bytes = inOnePart(Deno.readFileSync(saved));
  const first = findRecord(bytes, new TextEncoder().encode("pc.ram"));
  const records = rowRecords(bytes, first);
  assert.ok(records.length > 4_000, `${records.length} records in a row`);
  const expected = contentOf(source.session.guest.memory.block("pc.ram")!);
  for (const swaps of [[], [[3_000, 3_001]], [[300, 3_900], [1_024, 1_535], [2_999, 3_001]]]) {
    const changed = bytes.slice();
    for (const [a, b] of swaps) {
      changed.set(bytes.subarray(records[a], records[a] + RECORD), records[b]);
      changed.set(bytes.subarray(records[b], records[b] + RECORD), records[a]);
    }
    Deno.writeFileSync(saved, changed);
    await using bench = await Workbench.open({ guest: saved, stopped: true });
    const got = contentOf(bench.session.guest.memory.block("pc.ram")!);
    assert.equal(Buffer.compare(expected, got), 0, `the same content, ${swaps.length} swaps`);
    // an image passes over rows, and finds each page all the same
    await using image = await openImage(saved);
    const [ram] = image.ram.blocks;
    assert.equal(ram.normalPages + ram.zeroPages, ram.bytes / PAGE);
    for (let page = 0; page < ram.bytes / PAGE; page += page > 2_990 && page < 3_010 ? 1 : 37) {
      const content = await image.ram.readPage("pc.ram", page * PAGE);
      assert.equal(Buffer.compare(content, expected.subarray(page * PAGE, (page + 1) * PAGE)), 0, `page ${page}`);
    }
  }
});

/** Without the joints between PARTs: EOS, footer, header of the next. */
function inOnePart(bytes: Uint8Array): Uint8Array<ArrayBuffer> {
  const kept: Uint8Array[] = [];
  let from = 0;
  for (let at = 0; at + 18 < bytes.length; at++) {
    at = bytes.indexOf(0x7e, at);
    if (at < 0) break;
    const eos = bytes.subarray(at - 8, at).every((byte, i) => byte === (i === 7 ? 0x10 : 0));
    const id = bytes[at + 4];
    if (!eos || bytes[at + 5] !== 0x02 || bytes[at + 9] !== id || bytes[at + 17] !== PAGE_CONTINUE) continue;
    kept.push(bytes.subarray(from, at - 8));
    from = at + 10;
  }
  return new Uint8Array(Buffer.concat([...kept, bytes.subarray(from)]));
}

/** Behind the record that names a block. */
function findRecord(bytes: Uint8Array, name: Uint8Array): number {
  for (let at = 0;; at++) {
    at = bytes.indexOf(name.length, at);
    assert.ok(at >= 0, "the block is named");
    // 08: RAM_SAVE_FLAG_PAGE without CONTINUE; the list of blocks has a length behind the name
    if (bytes[at - 1] === 0x08 && name.every((byte, i) => bytes[at + 1 + i] === byte)) {
      return at + 1 + name.length + PAGE;
    }
  }
}

Deno.test("takePieces() and settleRow(): what is in place, and what was written behind it", () => {
  using dir = temporary();
  const path = `${dir.path}/row`;
  fc.assert(
    fc.property(
      fc.integer({ min: 1, max: 3 * PIECE_PAGES }),
      fc.integer({ min: 0, max: 4 * PIECE_PAGES }),
      fc.integer({ min: 0, max: RECORD - 1 }),
      (pages, whole, cut) => {
        // a row of records, and how many of them are as guessed; then the file ends in one
        const right = Math.min(whole, pages);
        const file = new Uint8Array(right * RECORD + (right < pages ? cut : 0));
        const view = new DataView(file.buffer);
        for (let i = 0; i < right; i++) {
          view.setBigUint64(i * RECORD, BigInt(i * PAGE + PAGE_CONTINUE));
          file.fill(i % 255 + 1, i * RECORD + 8, (i + 1) * RECORD);
        }
        fs.writeFileSync(path, file);
        const row = RecordRow.open(path)!;
        const block = new GuestMemory([{ idstr: "x", usedLength: pages * PAGE }]).blocks[0];
        block.materialise(0, 1);
        const memory = new Uint8Array(block.segments[0]!.buffer as ArrayBuffer);
        const job: RowJob = {
          pages,
          pageSize: PAGE,
          at: addressOf(memory),
          offset: 0,
          position: 0,
          state: rowState(pages),
        };
        // two at once, turn by turn
        const hands = [takePieces(job, row), takePieces(job, row)];
        for (let open = true; open;) open = hands.map((hand) => !hand.next().done).includes(true);
        const { good, written } = settleRow(job);
        row.close();
        assert.equal(good, right);
        assert.ok(written >= good && written <= pages);
        for (let page = 0; page < good; page++) {
          assert.equal(memory[page * PAGE], page % 255 + 1);
          assert.equal(memory[(page + 1) * PAGE - 1], page % 255 + 1);
        }
        block.touched.fill(1);
        block.release();
      },
    ),
    { numRuns: 30 },
  );
});

Deno.test("Arrivals counts what did not come", () => {
  const blocks =
    new GuestMemory([{ idstr: "a", usedLength: 100 * PAGE }, { idstr: "b", usedLength: 5 * PAGE }], "listed").blocks;
  fc.assert(fc.property(
    fc.array(fc.tuple(fc.nat(99), fc.nat(100), fc.boolean()), { maxLength: 20 }),
    (steps) => {
      const arrivals = new Arrivals(blocks, PAGE);
      const came = new Set<number>();
      for (const [first, length, there] of steps) {
        const count = Math.min(length, 100 - first);
        if (there) arrivals.markRow(0, first, count);
        else arrivals.forget(0, first, count);
        for (let page = first; page < first + count; page++) there ? came.add(page) : came.delete(page);
      }
      arrivals.mark(1, 2);
      assert.deepEqual(arrivals.missing(), [
        ...(came.size < 100 ? [{ idstr: "a", pages: 100 - came.size }] : []),
        { idstr: "b", pages: 4 },
      ]);
    },
  ));
});

Deno.test("a stream whose pages are elsewhere is no guest; what the source left out on purpose is said", async () => {
  const open = async (name: string) => {
    const said: string[] = [];
    await using bench = await Workbench.open({ guest: await fixturePath(name), report: (line) => said.push(line) });
    assert.ok(bench.session.guest.memory.totalBytes > 0);
    return said.map((line) => line.replace(/: .*: pages/, ": pages"));
  };
  await assert.rejects(open("pc-8.0-multifd-2-live.main"), /160 of pc\.ram.*expected the multifd channels/);
  await assert.rejects(open("q35-postcopy-preempt.main"), /502 of pc\.ram.*postcopy had not ended/);
  assert.deepEqual(await open("q35-virtio-mem-dimm"), [
    "warning: pages that did not come are zero: 32768 of 0000:00:01.0/vmem0 (not plugged in, or free as the guest hinted)",
  ]);
  assert.deepEqual(await open("pc-postcopy.main"), []);
  assert.deepEqual(await open("pc-multipass"), []);
});

import { Buffer } from "node:buffer";
import assert from "node:assert/strict";
import fc from "fast-check";
import { xbzrle } from "../../plugins/xbzrle.ts";
import { explainImage, type ExplainLine, type ExplainOptions, type ReportInput } from "../../reports/explain.ts";
import { explainJson, explainText } from "../../reports/explain_text.ts";
import { bufferSource } from "../../stream/channel.ts";
import { badManifest, capture, fixturePath, loadFixture, manifest } from "../fixtures.ts";

const tables = xbzrle.tables!;

async function explain(input: ReportInput, options: ExplainOptions = {}): Promise<ExplainLine[]> {
  const lines: ExplainLine[] = [];
  // raw bytes are borrowed until the next line is asked for
  for await (const line of explainImage(input, { tables, ...options })) lines.push({ ...line, raw: line.raw.slice() });
  return lines;
}

/** Every byte once, in order. */
function assertTiles(lines: Iterable<ExplainLine>, size: number, name: string): void {
  let end = 0;
  for (const { offset, length, path } of lines) {
    assert.equal(offset, end, `${name} ${path}`);
    assert(length > 0);
    end = offset + length;
  }
  assert.equal(end, size, name);
}

for (const c of [...manifest(), ...badManifest().map((v) => ({ ...v, name: `bad/${v.name}` }))]) {
  const folded = /dirty-bitmaps$|bitmap-node/.test(c.name);
  Deno.test(`explainImage() names every byte of ${c.name}`, async () => {
    const path = await fixturePath(c.name);
    const offset = (c as { stream_offset?: number }).stream_offset ?? 0;
    let end = 0, opaque = 0;
    let fault: number | undefined;
    const lines = explainImage(path, {
      offset,
      tables,
      pages: folded ? "runs" : "each",
      onFault: (e) => fault = e.offset,
    });
    for await (const { offset: at, length, path, meaning, raw } of lines) {
      assert.equal(at, end, path);
      assert(length > 0 && raw.length <= Math.min(16, length) && meaning !== "", path);
      end = at + length;
      if (path === "opaque") opaque += length;
    }
    assert.equal(end, (await Deno.stat(path)).size);
    if (fault === undefined) assert.equal(opaque, offset);
    else assert(opaque === 0 || fault >= offset);
  });
}

Deno.test("explainImage() on a pipe says what it says of the file", async () => {
  for (const name of ["pc-multipass", "pc-mapped-over-4g", "pc-postcopy", "bad/legacy-footer-other-id"]) {
    const c = await fixturePath(name);
    if ((await Deno.stat(c)).size > 64 << 20) continue;
    const bytes = await loadFixture(name);
    const whole = await explain(bytes, { pages: "each" });
    const piped = await explain(bufferSource(bytes, { sequential: true, chunk: 70_001 }));
    assertTiles(piped, bytes.length, name);
    if (name === "pc-multipass") {
      // without the description ahead, bodies of devices come as one line each
      const frame = (lines: ExplainLine[]) =>
        lines.filter(({ path }) => /^(header|configuration|sections\[\d+\]\.(ram|type|id)\b)/.test(path));
      assert.deepEqual(frame(piped).map((line) => line.path), frame(whole).map((line) => line.path));
    }
  }
});

Deno.test("explainImage() gives values, meanings and the place of the rule", async () => {
  const lines = await explain(await loadFixture("pc-mapped"));
  const at = (path: string) => {
    const found = lines.find((line) => line.path === path);
    assert(found, path);
    return found;
  };
  assert.deepEqual({ ...at("header.magic"), raw: [...at("header.magic").raw] }, {
    offset: 0,
    length: 4,
    path: "header.magic",
    value: "QEVM",
    meaning: "begins the main channel of every migration stream",
    source: "migration/savevm.c qemu_savevm_state_header",
    raw: [0x51, 0x45, 0x56, 0x4d],
  });
  assert.equal(at("configuration.machine").value, "pc-i440fx-10.0");
  assert.equal(at("configuration.subsections[0].capabilities[0]").value, "mapped-ram");
  const [block] = capture("pc-mapped").mapped_ram;
  assert.equal(at("sections[0].ram.blocks[0].idstr").value, block.name);
  assert.equal(at("sections[0].ram.blocks[0].mapped.pagesOffset").value, block.pages_offset);
  const globalstate = lines.find((line) => line.path.endsWith(".globalstate.runstate"))!;
  assert.match(String(globalstate.value), /^(running|prelaunch|paused)$/);
  const rax = lines.find((line) => line.path.endsWith(".cpu.env.regs[0]"))!;
  assert.equal(rax.meaning, "RAX (uint64)");
  assert.match(rax.source!, /vmstate-types\.c vmstate_info_uint64; VMStateDescription cpu/);
  assert.deepEqual(Object.keys(explainJson(at("header.magic"))), [
    "offset",
    "length",
    "path",
    "value",
    "meaning",
    "source",
  ]);
});

Deno.test("device fields mean what inspect says of them; parts of a value are lines of their own", async () => {
  const lines = await explain(await loadFixture("pc-seabios-booted"));
  const at = (end: string) => lines.find(({ path }) => path.endsWith(end)) ?? assert.fail(end);
  assert.equal(at(".cpu.env.eflags").meaning, "RFLAGS: PF ZF (uint64)");
  assert.equal(at(".i8254.channels[0].count_load_time").meaning, "-110.942 us, 1.615671809 s ago (int64)");
  assert.equal(at(".globalstate.runstate").meaning, "the guest stays stopped after the load (buffer)");
  assert.equal(at(".mc146818rtc.cmos_index").meaning, "seconds (uint8)");
  assert.equal(
    at('["0000:00:01.3/piix4_pm"].parent_obj.config[0].command').meaning,
    "IO MEMORY SERR, of config[0] (pci config)",
  );
  const cmos = lines.filter(({ path }) => path.includes(".cmos_data"));
  assert.equal(cmos.reduce((sum, { length }) => sum + length, 0), 128);
  assert.equal(cmos[0].meaning, "1, of cmos_data (buffer): 2026-11-20 23:06:01, BCD, 24 hours");
  const { path, value, meaning, length } = cmos[10];
  assert.deepEqual([path.slice(path.indexOf("cmos")), value, meaning, length], [
    'cmos_data["register A"]',
    0x26,
    "32768 Hz, periodic 1024 Hz, of cmos_data (buffer)",
    1,
  ]);
});

Deno.test("device fields stand where other readers of the same capture found them", async () => {
  let checked = 0;
  for (const name of ["pc-file-stopped", "q35-file-2cpu", "aarch64-virt-file"]) {
    const { device_checks: checks = [] } = capture(name);
    const lines = await explain(await loadFixture(name), { pages: "runs" });
    for (const { offset, raw, byte_offset = 0, section } of checks) {
      const line = lines.findLast((l) => l.offset <= offset)!;
      assert(line.offset + line.length > offset, section);
      const start = offset - line.offset + byte_offset;
      const bytes = line.raw.subarray(start, start + raw.length / 2);
      if (bytes.length * 2 < raw.length) continue;
      assert.equal(Buffer.from(bytes).toString("hex"), raw, `${name} ${line.path}`);
      checked++;
    }
  }
  assert(checked > 10, `${checked} fields`);
});

Deno.test("--at begins at the line with that byte, and says which page a slot of mapped-ram is", async () => {
  const path = await fixturePath("pc-mapped-many-blocks");
  const whole = await explain(path);
  const begin = performance.now();
  const [page] = await explain(path, { at: 0x106123, limit: 1 });
  assert(performance.now() - begin < 20_000);
  assert.deepEqual([page.offset, page.length, page.value], [0x106000, 0x1000, "data"]);
  assert.match(page.meaning, /^page 0x6000 of n0: content$/);
  for (const line of [whole[3], whole[whole.length >> 1], whole.at(-2)!]) {
    const rest = await explain(path, { at: line.offset + line.length - 1 });
    assert.equal(rest[0].path, line.path);
    assert.deepEqual(
      rest.slice(0, 3).map((l) => l.path),
      whole.slice(whole.indexOf(line)).slice(0, 3).map((l) => l.path),
    );
  }
  assert.deepEqual(await explain(path, { at: 1 << 30 }), []);
  const bytes = await loadFixture("pc-multipass");
  const records = await explain(bytes);
  const record = records.filter((line) => line.path.includes(".records["))[100];
  assert.equal((await explain(bytes, { at: record.offset + 3, limit: 1 }))[0].path, record.path);
});

Deno.test("a page of RAM is found in the file", async () => {
  const mapped = await fixturePath("pc-mapped-many-blocks");
  const [bit, slot, ...none] = await explain(mapped, { page: { block: "n0", offset: 0x6abc } });
  assert.equal(none.length, 0);
  assert.match(bit.meaning, /^bit 6 is page 0x6000 of n0: set/);
  assert.deepEqual([slot.offset, slot.length, slot.value], [0x106000, 0x1000, "data"]);
  const stream = await loadFixture("pc-multipass");
  const all = (await explain(stream)).filter((line) => /^pc\.ram:0x/.test(String(line.value)));
  const most = Map.groupBy(all, (line) => String(line.value).split(" ")[0]);
  const [name, sent] = [...most].sort((a, b) => b[1].length - a[1].length)[0];
  assert(sent.length > 1, "no page was sent twice");
  const found = await explain(stream, { page: { block: "pc.ram", offset: Number(name.split(":")[1]) + 5 } });
  assert.deepEqual(found.map((line) => line.offset), sent.map((line) => line.offset));
  assert.deepEqual(await explain(stream, { page: { block: "no.ram", offset: 0 } }), []);
});

Deno.test("--section and runs of pages", async () => {
  const bytes = await loadFixture("pc-file-stopped");
  const cpu = await explain(bytes, { section: "cpu" });
  assert(
    cpu.length > 50 &&
      cpu.every((line) => /^sections\[\d+\](\.cpu\b|\.(type|id|idstr|instanceId|version|footer)\b)/.test(line.path)),
  );
  const ide = await explain(bytes, { section: "ide" });
  assert(ide.some((line) => line.path.includes('["0000:00:01.1/ide"]')));
  const runs = await explain(bytes, { pages: "runs" });
  assertTiles(runs, bytes.length, "runs");
  assert(runs.length < (await explain(bytes)).length);
  assert(runs.some((line) => /\.records\[\d+\.\.\d+\]$/.test(line.path)));
});

Deno.test("what follows a fault is opaque, and a broken device is told up to the fault", async () => {
  const bytes = await loadFixture("bad/legacy-subsection-unknown");
  const lines = await explain(bytes);
  const last = lines.at(-1)!;
  assert.deepEqual([last.path, last.offset], ["opaque", 380561]);
  assert.match(last.meaning, /fw_cfg\/zma/);
  assert(lines.at(-2)!.path.includes(".fw_cfg"));
});

Deno.test("explainText() is one line without control characters, whatever names hold", async () => {
  const bytes = await loadFixture("pc-file-stopped");
  const at = bytes.findIndex((_, i) => String.fromCharCode(...bytes.subarray(i, i + 6)) === "pc.ram");
  bytes.set([0x1b, 0x5b], at);
  for (const line of await explain(bytes)) {
    // deno-lint-ignore no-control-regex -- none may be there
    assert.doesNotMatch(explainText(line), /[\x00-\x1f\x7f]|undefined/);
  }
  const [magic] = await explain(await loadFixture("pc-file-stopped"), { limit: 1 });
  assert.equal(
    explainText(magic),
    '0x0                4  51 45 56 4d                header.magic = "QEVM"  begins the main channel of every migration ' +
      "stream (migration/savevm.c qemu_savevm_state_header)",
  );
});

Deno.test("cuts and flipped bytes are told, every byte of them", async () => {
  const whole = await loadFixture("isapc-file");
  await fc.assert(
    fc.asyncProperty(
      fc.integer({ min: 0, max: whole.length }),
      fc.array(fc.tuple(fc.nat(whole.length - 1), fc.integer({ min: 1, max: 255 })), { maxLength: 4 }),
      async (cut, flips) => {
        const bytes = whole.slice(0, cut);
        for (const [at, by] of flips) if (at < cut) bytes[at] ^= by;
        assertTiles(await explain(bytes, { pages: "runs" }), cut, `cut at ${cut}`);
      },
    ),
    { numRuns: 150, seed: 7 },
  );
});

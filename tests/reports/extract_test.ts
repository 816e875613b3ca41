import assert from "node:assert/strict";
import { Buffer } from "node:buffer";
import { createHash } from "node:crypto";
import { spawnSync } from "node:child_process";
import { openImage } from "../../containers/image.ts";
import { encodeNote } from "../../containers/elf.ts";
import { xbzrle } from "../../plugins/xbzrle.ts";
import { cpuStates } from "../../reports/cpu_state.ts";
import { writeElfCore } from "../../reports/elf.ts";
import { cpuNotes } from "../../reports/elf_notes.ts";
import { extractBlock, extractRange } from "../../reports/extract.ts";
import { findVmdescription } from "../../stream/vmdesc.ts";
import { readCore } from "../elf_core.ts";
import { capture, fixturePath, loadFixture } from "../fixtures.ts";

const tables = xbzrle.tables!;
const installed = (program: string) => spawnSync(program, ["--version"]).error === undefined;

async function open(name: string) {
  return await openImage(await fixturePath(name), { tables, offset: capture(name).stream_offset ?? 0 });
}

async function inDirectory(body: (path: (name: string) => string) => Promise<void>): Promise<void> {
  const directory = Deno.makeTempDirSync({ prefix: "miglab-extract-" });
  try {
    await body((name) => `${directory}/${name}`);
  } finally {
    Deno.removeSync(directory, { recursive: true });
  }
}

function sha256(bytes: Uint8Array): string {
  return createHash("sha256").update(bytes).digest("hex");
}

Deno.test("extractBlock() gives each block as its source had it, zero pages as holes", async () => {
  for (
    const name of ["pc-multipass", "q35-mapped", "pc-xbzrle", "aarch64-virt-file", "q35-mapped-zero-detection-none"]
  ) {
    await inDirectory(async (path) => {
      await using image = await open(name);
      for (const block of capture(name).ram.blocks) {
        const out = path("block");
        const { bytes, dataBytes } = await extractBlock(image, block.name, out);
        assert.deepEqual([bytes, dataBytes], [block.used_length, block.nonzero_pages * 4096], block.name);
        assert.equal(sha256(Deno.readFileSync(out)), block.sha256, `${name} ${block.name}`);
        assert(Deno.statSync(out).blocks! * 512 <= block.nonzero_pages * 4096 + 65536);
      }
    });
  }
});

Deno.test("extractRange() gives any piece, across pages and data and zeros", async () => {
  await using image = await open("q35-file-2cpu");
  const whole = new Uint8Array(image.ram.block("pc.ram")!.bytes);
  await image.ram.prepare();
  image.ram.readRange("pc.ram", 0, whole);
  for (const [offset, length] of [[0, 1], [0xfff, 2], [0x7ff, 3 << 20], [whole.length - 5, 5], [4096, 0]]) {
    const got = new Uint8Array(length);
    let done = 0;
    await extractRange(image, "pc.ram", offset, length, (piece) => {
      got.set(piece, done);
      done += piece.length;
    });
    assert.equal(
      sha256(got.subarray(0, done)),
      sha256(whole.subarray(offset, offset + length)),
      `${offset}+${length}`,
    );
  }
  await assert.rejects(extractRange(image, "pc.ram", whole.length - 5, 6, () => {}), {
    name: "MemoryFaultError",
    message: "Cannot extract up to 0x1800001 of pc.ram: it has 0x1800000",
  });
});

Deno.test("extractBlock() names the blocks there are, and leaves nothing", async () => {
  await inDirectory(async (path) => {
    await using image = await open("aarch64-virt-file");
    await assert.rejects(extractBlock(image, "pc.ram", path("out")), {
      message: 'No RAM block is named "pc.ram": the blocks are virt.flash0, virt.flash1, mach-virt.ram, ' +
        "/rom@etc/acpi/tables, /rom@etc/table-loader, /rom@etc/acpi/rsdp",
    });
    await using main = await open("pc-multifd-2");
    await assert.rejects(extractBlock(main, "pc.ram", path("out")), /Cannot extract pc\.ram: .*multifd/);
    assert.throws(() => Deno.statSync(path("out")), Deno.errors.NotFound);
  });
});

Deno.test("writeElfCore() lays memory out as the machine has it", async () => {
  const layouts: Record<string, [address: number, length: number][]> = {
    "microvm-file": [[0, 0xf0000], [0xf0000, 0x10000]],
    "aarch64-virt-file": [[0, 0x4000000], [0x4000000, 0x4000000], [0x40000000, 0x1000000]],
    "pc-mapped-over-4g": [[0, 0xc0000]],
  };
  for (const [name, begin] of Object.entries(layouts)) {
    await inDirectory(async (path) => {
      await using image = await open(name);
      const { ranges } = await writeElfCore(image, path("core"));
      const core = readCore(path("core"));
      assert.deepEqual(core.loads.slice(0, begin.length).map(({ address, length }) => [address, length]), begin, name);
      assert.deepEqual(core.loads.map(({ address }) => address), ranges.map(({ base }) => base));
      for (const { base, length, idstr, blockOffset } of ranges) {
        const bytes = new Uint8Array(Math.min(length, 1 << 20));
        image.ram.readRange(idstr, blockOffset, bytes);
        assert.equal(sha256(core.memory(base, bytes.length)!), sha256(bytes), `${name} 0x${base.toString(16)}`);
      }
      const stat = Deno.statSync(path("core"));
      assert(stat.blocks! * 512 < 4 << 20);
      if (name === "pc-mapped-over-4g") assert(core.loads.some(({ address }) => address === 2 ** 32));
    });
  }
});

/** A stream with one more device before its end. */
function withDevice(bytes: Uint8Array, name: string, body: Uint8Array, fields: string): Uint8Array {
  const found = findVmdescription(bytes)!;
  const text = new TextEncoder().encode(
    found.text.replace(
      /\]\}$/,
      `, {"name": "${name}", "instance_id": 0, "vmsd_name": "${name}", "version": 1, "fields": [${fields}]}]}`,
    ),
  );
  const head = new Uint8Array(14 + name.length);
  const view = new DataView(head.buffer);
  head.set([4, 0, 0, 0x7f, 0xff, name.length]);
  head.set(new TextEncoder().encode(name), 6);
  view.setUint32(10 + name.length, 1);
  const end = new Uint8Array(11);
  end.set([0x7e, 0, 0, 0x7f, 0xff, 0, 6]);
  new DataView(end.buffer).setUint32(7, text.length);
  return new Uint8Array(Buffer.concat([bytes.subarray(0, found.offset - 1), head, body, end, text]));
}

Deno.test("writeElfCore() adds the note a guest told QEMU about, and only one that is whole", async () => {
  const bytes = await loadFixture("q35-mapped");
  await using before = await openImage(bytes);
  const block = before.ram.block("pc.ram")!;
  let page = 0x100000;
  while (before.ram.run(block, page) < 0) page -= before.ram.run(block, page);
  const note = encodeNote("VMCOREINFO", 0, new TextEncoder().encode("OSRELEASE=6.1.0\n"));
  const ram = bytes.slice();
  ram.set(note, block.pagesOffset! + page);
  const body = new Uint8Array(17);
  const view = new DataView(body.buffer);
  view.setUint8(0, 1);
  view.setUint16(3, 1);
  view.setUint32(5, note.length);
  view.setBigUint64(9, BigInt(page));
  const field = (name: string, type: string, size: number) => `{"name": "${name}", "type": "${type}", "size": ${size}}`;
  const fields = [
    field("has_vmcoreinfo", "bool", 1),
    field("vmcoreinfo.host_format", "uint16", 2),
    field("vmcoreinfo.guest_format", "uint16", 2),
    field("vmcoreinfo.size", "uint32", 4),
    field("vmcoreinfo.paddr", "uint64", 8),
  ].join(", ");
  const notesOf = async (state: Uint8Array) => {
    let notes = new Uint8Array();
    await inDirectory(async (path) => {
      await using image = await openImage(withDevice(ram, "vmcoreinfo", state, fields));
      assert.equal(image.fault, undefined);
      await writeElfCore(image, path("core"));
      notes = new Uint8Array(readCore(path("core")).notes);
    });
    return notes;
  };
  const told = await notesOf(body);
  assert.equal(told.subarray(-note.length).toHex(), note.toHex());
  const changes: [at: number, value: number][] = [[0, 0], [4, 2], [8, 20], [9, 0x40]];
  for (const [at, value] of changes) { // none, of another format, cut short, outside of RAM
    const state = body.slice();
    state[at] = value;
    assert.equal((await notesOf(state)).length, told.length - note.length, `byte ${at}`);
  }
});

Deno.test("cpuNotes() of an aarch64 guest are prstatus and fpregs, as long as QEMU's", async () => {
  await using image = await open("aarch64-virt-file");
  const [cpu] = cpuStates(image);
  assert(cpu.kind === "arm" && !cpu.aarch32);
  const [prstatus, fpregs, ...more] = cpuNotes([cpu]);
  assert.deepEqual([prstatus.length, fpregs.length, more.length], [20 + 392, 20 + 528, 0]);
  const view = new DataView(prstatus.buffer, 20);
  assert.equal(view.getUint32(32, true), 1);
  const { fields } = image.devices.find(({ name }) => name === "cpu")!;
  assert.equal(view.getBigUint64(112, true), BigInt((fields["env.xregs"] as number[])[0]));
  assert.equal(view.getBigUint64(112 + 32 * 8, true), BigInt(fields["env.pc"] as number));
  assert.equal(view.getBigUint64(112 + 33 * 8, true), 0x200003c5n);
  assert.equal(view.getUint32(112 + 34 * 8, true), 1);
});

Deno.test({
  name: "gdb finds registers and memory in a core" + (installed("gdb") ? "" : " (needs gdb: apt-get install gdb)"),
  ignore: !installed("gdb"),
  async fn() {
    await inDirectory(async (path) => {
      await using image = await open("q35-file-2cpu");
      await writeElfCore(image, path("core"));
      const args = ["-nx", "-batch", "-ex", "info registers eip ebx", "-ex", "x/1xw 0xf0000", "-ex", "info threads"];
      const { stdout } = spawnSync("gdb", [...args, "-c", path("core")], { encoding: "utf8" });
      assert.match(stdout, /eip +0xf016f/);
      assert.match(stdout, /ebx +0xf0040/);
      assert.match(stdout, /0xf0000:\s+0x0000fde9/);
      assert.match(stdout, /2 +LWP 2/);
    });
  },
});

Deno.test({
  name: "readelf has nothing to say against a core" +
    (installed("readelf") ? "" : " (needs readelf: apt-get install binutils)"),
  ignore: !installed("readelf"),
  async fn() {
    for (
      const [name, machine] of [["q35-file-2cpu", "Intel 80386"], ["aarch64-virt-file", "AArch64"], [
        "s390x-ccw-file",
        "IBM S/390",
      ]]
    ) {
      await inDirectory(async (path) => {
        await using image = await open(name);
        await writeElfCore(image, path("core"));
        const { stdout, stderr } = spawnSync("readelf", ["-W", "-hln", path("core")], { encoding: "utf8" });
        assert.equal(stderr, "");
        assert.match(stdout, /Type: +CORE/);
        assert(stdout.includes(machine), stdout);
      });
    }
  },
});

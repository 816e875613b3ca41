/**
 * FPU, AVX and AVX-512 registers of code in ring 3 under KVM, held against `info registers`.
 * @module
 */
import assert from "node:assert/strict";
import { openImage } from "../../containers/image.ts";
import { inspectImage } from "../../reports/inspect.ts";
import type { DescribedField } from "../../reports/symbols/describe.ts";
import { qemuTest } from "./available.ts";
import { guestFiles } from "./content.ts";
import { longModeRom, longModeTables } from "./long_mode.ts";
import { launchQemu } from "./qemu.ts";

/** At 0x10000: to ring 3, for some KVMs run all of ring 0 by emulation, which knows no such instructions. */
const KERNEL = [
  "b810000000 8ed0 bc00000200", // ss = 0x10; esp = 0x20000
  "0f20c0 83c802 25ffffff9f 0f22c0", // cr0 |= MP, without CD and NW
  "0f20e0 0d00060400 0f22e0", // cr4 |= OSFXSR | OSXMMEXCPT | OSXSAVE
  "31c9 b8e7000000 31d2 0f01d1", // XCR0 = FP SSE YMM OPMASK ZMM_Hi256 Hi16_ZMM
  "b800030100 0f0110", // lgdt 0x10300
  "6a23 6800000200 6a02 6a2b 6800020100 48cf", // iretq to 0x2b:0x10200, stack 0x23:0x20000
];
/** At 0x10200. */
const USER = [
  "dbe3 d9eb d9e8", // fninit; fldpi; fld1
  "48b88877665544332211", // rax = 0x1122334455667788
  "62e2fd487cc8 62f2fd487cd0", // vpbroadcastq %rax, %zmm17; and %zmm2
  "c4e1fb92d8 ebfe", // kmovq %rax, %k3; for ever
];
/** At 0x10300: limit and base; empty, empty, data, code; data and code of ring 3. */
const GDT = "2f00 1003010000000000 000000000000" +
  "0000000000000000 0000000000000000 ffff00000093cf00 ffff0000009baf00 ffff000000f3cf00 ffff000000fbaf00";
/** Behind the firmware's two constants: mov $0x10000, %ecx; jmp *%rcx */
const JUMP: readonly [offset: number, hex: string] = [0xffa4, "b900000100ffe1"];

function code(): Uint8Array {
  const bytes = new Uint8Array(0x400);
  const put = (at: number, hex: string) => bytes.set(Uint8Array.fromHex(hex.replaceAll(" ", "")), at);
  put(0, KERNEL.join(""));
  put(0x200, USER.join(""));
  put(0x300, GDT);
  return bytes;
}

/** Pages that ring 3 may use. */
function userTables(): Uint8Array {
  const tables = longModeTables();
  for (let at = 0; at < tables.length; at += 8) if (tables[at] & 1) tables[at] |= 4;
  return tables;
}

function* named(fields: readonly DescribedField[]): Generator<[name: string, words: string]> {
  for (const { symbol, text, meaning, children = [] } of fields) {
    if (symbol !== undefined) yield [symbol, [text, meaning].filter((part) => part).join(" ")];
    yield* named(children);
  }
}

function avx512(): boolean {
  try {
    return /^flags.* avx512f /m.test(Deno.readTextFileSync("/proc/cpuinfo"));
  } catch {
    return false;
  }
}

const NAME = "ZMM registers come in pieces, FPU registers in the order of FXSAVE";
if (avx512()) qemuTest(NAME, test, "kvm");
else Deno.test({ name: `${NAME} (needs AVX-512)`, ignore: true, fn: () => {} });

async function test(): Promise<void> {
  const rom = longModeRom();
  rom.set(Uint8Array.fromHex(JUMP[1]), JUMP[0]);
  using files = guestFiles(rom, 64 << 20);
  Deno.writeFileSync(files.path("tables"), userTables());
  Deno.writeFileSync(files.path("code"), code());
  const load = (name: string, at: string) => ["-device", `loader,file=${files.path(name)},addr=${at},force-raw=on`];
  const args = ["-machine", "q35", "-m", "64", "-cpu", "host", ...files.bios];
  await using vm = await launchQemu([...args, ...load("tables", "0x8000"), ...load("code", "0x10000")], {
    accel: "kvm",
  });
  const loops = /RIP=0000000000010221/;
  for (let i = 0; i < 500 && !loops.test(await vm.hmp("info registers")); i++) {
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
  await vm.qmp("stop");
  const registers = await vm.hmp("info registers");
  await vm.migrate(`file:${vm.path("saved")}`);
  await using image = await openImage(vm.path("saved"));
  const said = new Map(named((await inspectImage(image, { device: "cpu" })).devices[0].described!));

  const word = "1122334455667788";
  assert.equal(said.get("ZMM17"), `0x${word.repeat(8)}`);
  assert.equal(said.get("k3"), `0x${word}`);
  assert.equal(said.get("XCR0"), "0x00000000000000e7 FP SSE YMM OPMASK ZMM_Hi256 Hi16_ZMM");
  // the register on top is the first, and the tags are of R6 and R7
  assert.equal(said.get("FPR0"), "0x3fff8000000000000000 1");
  assert.equal(said.get("FPR1"), "0x4000c90fdaa22168c235 3.14159265358979323851");
  assert.equal(said.get("FTW"), "0x00c0 R6 R7");
  const lines = registers.split("\n").filter((line) => /^(ZMM|Opmask)/.test(line)).join(" ");
  const theirs = lines.matchAll(/(ZMM|Opmask)(\d\d)=((?:[0-9a-f]{16} ?)+)/g);
  let seen = 0;
  for (const [, kind, number, digits] of theirs) {
    const i = Number(number), plain = digits.replaceAll(" ", "");
    const pieces = kind === "Opmask"
      ? [`k${i}`]
      : i < 16
      ? [`ZMM${i}[511:256]`, `YMM${i}[255:128]`, `XMM${i}`]
      : [`ZMM${i}`];
    assert.equal(pieces.map((piece) => said.get(piece)!.slice(2)).join(""), plain, `${kind}${number}`);
    seen++;
  }
  assert.equal(seen, 8 + 32);
}

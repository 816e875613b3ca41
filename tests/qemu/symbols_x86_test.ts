/**
 * What is said of x86 processors, held against what the QEMU they come from says: `info registers`, `info lapic`, `info pic`.
 * @module
 */
import assert from "node:assert/strict";
import { openImage } from "../../containers/image.ts";
import { inspectImage } from "../../reports/inspect.ts";
import type { DescribedField } from "../../reports/symbols/describe.ts";
import { qemuTest } from "./available.ts";
import { guestFiles } from "./content.ts";
import { LONG_MODE_REGISTERS, longModeRom, longModeTables } from "./long_mode.ts";
import { launchQemu, type Qemu } from "./qemu.ts";

/** 64-bit code at 0xffff0000, where the firmware's own goes on. */
const BEGIN = [
  "b810000000 8ed8 8ec0 8ed0 8ee0 8ee8", // flat data in every segment register but CS
  "0f20c0 83c802 0f22c0", // cr0 |= MP
  "0f20e0 0d00060000 0f22e0", // cr4 |= OSFXSR | OSXMMEXCPT
];
/** Some KVMs run all of the firmware's ROM by emulation, which knows none of these. */
const FLOAT = [
  "dbe3 d9eb d9e8 d9e0", // fninit; fldpi; fld1; fchs
  "48b88877665544332211 66480f6ed8", // movq $0x1122334455667788, %xmm3
];
const REST = [
  "b9820000c0 b88000e081 baffffffff 0f30", // LSTAR = 0xffffffff81e00080
  "b9810000c0 31c0 ba10002300 0f30", // STAR: SYSCALL CS=0x10, SYSRET CS=0x23
  "b834120000 0f23c0 b802060d00 0f23f8", // DR0 = 0x1234; DR7: G0 GE, on write of 4 bytes
  "bb0000e0fe", // ebx = the local APIC
  "c783f0000000ff010000", // SPIV: enabled, vector 255
  "c7832003000040000200", // LVTT: periodic, vector 64
  "c783e00300000b000000", // DCR: divide by 1
  "c78380000000f0000000", // TPR = 0xf0
  "c7830003000030000400", // ICR: vector 48 to itself
  "bb0000c0fe", // ebx = the IOAPIC
  "c70319000000 c7431000000001", // pin 4: to 1
  "c70318000000 c7431030a80000", // level, active low, logical, vector 48
  "48b88877665544332211 f9 f4 ebfd", // rax again; stc; hlt
];
/** Behind the firmware's two constants, to the code: jmp 0xffff0000. */
const JUMP: readonly [offset: number, hex: string] = [0xffa4, "e95700ffff"];

function firmware(float: boolean): Uint8Array {
  const rom = longModeRom();
  rom.set(Uint8Array.fromHex([...BEGIN, ...(float ? FLOAT : []), ...REST].join("").replaceAll(" ", "")));
  rom.set(Uint8Array.fromHex(JUMP[1]), JUMP[0]);
  return rom;
}

/** Fields that have a name of their own, as "0x10 words"; segments as QEMU has them. */
function named(fields: readonly DescribedField[], into = new Map<string, string>()): Map<string, string> {
  for (const { name, symbol, text = "", meaning, children } of fields) {
    if (symbol !== undefined) into.set(symbol, [text, meaning].filter((part) => part).join(" "));
    const [selector, base, limit, flags] = children ?? [];
    if (symbol !== undefined && selector?.name === "selector") {
      const plain = [selector, base, limit, flags].map(({ text }) => text!.slice(2)).join(" ");
      into.set(symbol, [plain, flags.meaning].filter((part) => part).join(" "));
    }
    assert(name !== "");
    if (children) named(children, into);
  }
  return into;
}

/** Bring the guest to where it halts, and save it: what its monitor says of it, squeezed, and what we do. */
async function bothSides(vm: Qemu): Promise<{ qemu: string[]; said: Map<string, string> }> {
  for (let i = 0; i < 500 && !/HLT=1/.test(await vm.hmp("info registers")); i++) {
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
  await vm.qmp("stop");
  const qemu: string[] = [];
  for (const command of ["info registers", "info lapic", "info pic"]) {
    qemu.push(...(await vm.hmp(command)).split("\n").map((line) => line.replace(/\s+/g, " ").trim()));
  }
  await vm.migrate(`file:${vm.path("saved")}`);
  await using image = await openImage(vm.path("saved"));
  const said = new Map<string, string>();
  for (const device of ["ioapic", "apic", "cpu"]) {
    named((await inspectImage(image, { device })).devices[0].described!, said);
  }
  return { qemu, said };
}

/** Registers of a line "RAX=.. RBX=..": by our names, digits without zeros in front. */
function registersOf(lines: readonly string[]): [name: string, digits: string][] {
  const found: [string, string][] = [];
  for (const line of lines) {
    for (const [, name, digits] of line.matchAll(/\b([A-Z]{2,5}\d{0,2}|R\d+) ?=([0-9a-f]+(?: [0-9a-f]{4,16}\b)?)/g)) {
      if (/^(II|A20|SMM|HLT|CPL|ST|ES|CS|SS|DS|FS|GS|LDT|TR|GDT|IDT|DPL|DCR)$/.test(name)) continue;
      if (/^FPR/.test(name)) found.push([name, digits.split(" ").toReversed().join("")]);
      else found.push([name === "RFL" ? "RFLAGS" : name.replace(/^XMM0/, "XMM"), digits.replace(" ", "")]);
    }
  }
  return found.map(([name, digits]) => [name, digits.replace(/^0+(?=.)/, "")]);
}

for (const accel of ["tcg", "kvm"] as const) {
  qemuTest(`registers of a guest under ${accel} are those of info registers, info lapic and info pic`, async () => {
    using files = guestFiles(firmware(accel === "tcg"), 64 << 20);
    Deno.writeFileSync(files.path("tables"), longModeTables());
    const tables = ["-device", `loader,file=${files.path("tables")},addr=0x8000,force-raw=on`];
    await using vm = await launchQemu(["-machine", "q35", "-m", "64", ...files.bios, ...tables], { accel });
    const { qemu, said } = await bothSides(vm);
    const value = (name: string) => said.get(name)?.split(" ")[0].replace(/^0x0*(?=.)/, "");
    const registers = registersOf(qemu);
    // 16 general, RIP, RFLAGS, 4 CR, 6 DR, EFER, FCW FSW FTW MXCSR, 8 FPR, 16 XMM
    assert.equal(registers.length, 57, registers.join(" "));
    for (const [name, digits] of registers) assert.equal(value(name), digits, name);
    for (const name of ["ES", "CS", "SS", "DS", "FS", "GS", "LDT", "TR"]) {
      assert(qemu.some((line) => line.replace(" =", "=") === `${name}=${said.get(name)}`), `${name} ${said.get(name)}`);
    }
    for (const name of ["LVT0", "LVT1", "LVTPC", "LVTERR", "LVTTHMR", "LVTT", "SPIV", "IRR", "ISR"]) {
      assert(qemu.includes(`${name} ${said.get(name)}`), `${name} ${said.get(name)}\n${qemu.join("\n")}`);
    }
    for (let pin = 0; pin < 24; pin++) {
      const name = `pin ${pin}`;
      assert(qemu.includes(`${name} ${said.get(name)}`), `${name} ${said.get(name)}\n${qemu.join("\n")}`);
    }
    // it came to where it halts, and what it set there
    assert.equal(said.get("RAX"), "0x" + LONG_MODE_REGISTERS.rax.toString(16));
    assert.equal(said.get("RFLAGS"), "0x0000000000000047 CF PF ZF");
    assert.equal(said.get("CR3"), "0x0000000000008000 page tables at 0x8000");
    assert.equal(said.get("DR7"), "0x00000000000d0602 G0 GE; DR0: write, 4 bytes");
    assert.equal(said.get("EFER"), "0x0000000000000500 LME LMA (MSR 0xc0000080)");
    assert.equal(said.get("LSTAR"), "0xffffffff81e00080 MSR 0xc0000082");
    assert.equal(said.get("TPR"), "0xf0 CR8=15");
    assert.equal(said.get("ICR"), "0x00040030 physical edge de-assert self Fixed (vec 48)");
    assert.equal(said.get("DCR"), "0x0000000b divide by 1");
    if (accel === "tcg") {
      assert.equal(said.get("FPR7"), "0x4000c90fdaa22168c235 3.14159265358979323851");
      assert.equal(said.get("FPR6"), "0xbfff8000000000000000 -1");
      assert.equal(said.get("FTW"), "0x00c0 R6 R7");
    }
  }, accel === "kvm" ? "kvm" : undefined);
}

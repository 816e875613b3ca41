/**
 * What is said of processors other than x86, held against what the QEMU they come from says: `info registers`, and of
 * Arm's system registers, which that does not print, its gdbstub.
 * @module
 */
import assert from "node:assert/strict";
import { openImage } from "../../containers/image.ts";
import { inspectImage } from "../../reports/inspect.ts";
import type { DescribedField } from "../../reports/symbols/describe.ts";
import { qemuTest } from "./available.ts";
import { bounded } from "./qmp.ts";
import { launchQemu, type Qemu } from "./qemu.ts";

/** Fields that have a name of their own: what is said of them. */
type Said = Map<string, { readonly text: string; readonly meaning: string }>;

/** A test with the QEMU of another architecture; shown with the reason where that is not installed. */
function otherQemuTest(program: string, name: string, body: () => Promise<void>): void {
  const found =
    new Deno.Command("/bin/sh", { args: ["-c", `command -v ${program}`], stdout: "null" }).outputSync().success;
  if (found) return qemuTest(name, body);
  Deno.test({ name: `${name} (needs ${program})`, ignore: true, fn: body });
}

async function savedRegisters(vm: Qemu): Promise<Said> {
  await vm.migrate(`file:${vm.path("saved")}`);
  await using image = await openImage(vm.path("saved"));
  const said: Said = new Map();
  const walk = (fields: readonly DescribedField[]) => {
    for (const { symbol, text = "", meaning = "", children } of fields) {
      // of a name that comes twice, as TBL does, the first is the one in use
      if (symbol !== undefined && !said.has(symbol)) said.set(symbol, { text, meaning });
      if (children) walk(children);
    }
  };
  walk((await inspectImage(image, { device: "cpu" })).devices[0].described!);
  return said;
}

async function run(vm: Qemu, ms: number): Promise<string> {
  await vm.qmp("cont");
  await new Promise((resolve) => setTimeout(resolve, ms));
  await vm.qmp("stop");
  return await vm.hmp("info registers");
}

/** Every register of `wanted` has the value `info registers` prints behind its name there: `[ours, theirs]`. */
function assertRegisters(said: Said, qemu: string, wanted: readonly (readonly [ours: string, theirs: string])[]): void {
  for (const [ours, theirs] of wanted) {
    const printed = new RegExp(`(?:^|[\\s])${theirs}[ =:]+(?:0x|mask )?([0-9a-f]+)\\b`, "m").exec(qemu)?.[1];
    assert(printed, `no ${theirs} in\n${qemu}`);
    const found = said.get(ours);
    assert(found, `no ${ours} in ${[...said.keys()].join(" ")}`);
    assert.equal(BigInt(found.text), BigInt("0x" + printed), ours);
  }
}

function range(count: number): number[] {
  return Array.from({ length: count }, (_, i) => i);
}

/** Words of 32 bits that are in memory when the machine starts. */
function words(address: number, code: readonly number[]): string[] {
  return code.flatMap((word, i) => ["-device", `loader,addr=${address + 4 * i},data=${word},data-len=4`]);
}

const A64_CODE = [
  0xd2824680, // movz x0, #0x1234
  0xd2b7dde5, // movz x5, #0xbeef, lsl #16
  0xd518d080, // msr tpidr_el1, x0
  0xd5182005, // msr ttbr0_el1, x5
  0xd518c005, // msr vbar_el1, x5
  0xd2a00601, // movz x1, #0x30, lsl #16
  0xd5181041, // msr cpacr_el1, x1
  0xd5033fdf, // isb
  0x9e6700a1, // fmov d1, x5
  0x4e080c22, // dup v2.2d, x1
  0x910000bf, // mov sp, x5
  0xd2a10002, // movz x2, #0x800, lsl #16: GICD
  0x52800443, // movz w3, #0x22: INTID 33 and 37
  0xb9010443, // str w3, [x2, #0x104]: GICD_ISENABLER1
  0xb9020443, // str w3, [x2, #0x204]: GICD_ISPENDR1
  0x52800024, // movz w4, #1
  0xb9000044, // str w4, [x2]: GICD_CTLR
  0xb1000421, // adds x1, x1, #1
  0x14000000, // b .
];

/** Machine, processor, and the section of its interrupt controller. */
const A64_MACHINES = [
  ["virt,gic-version=2", "cortex-a57", "arm_gic"],
  ["virt,gic-version=3", "cortex-a72", "arm_gicv3"],
  ["virt,gic-version=3,virtualization=on,secure=on", "max", "arm_gicv3"],
] as const;

for (const [machine, cpu, gic] of A64_MACHINES) {
  const program = "qemu-system-aarch64", address = 0x40100000;
  otherQemuTest(program, `registers of a guest on ${cpu} are those of info registers, gdbstub and ${gic}`, async () => {
    const start = ["-device", `loader,addr=${address},cpu-num=0`];
    const args = ["-machine", machine, "-cpu", cpu, "-m", "16", "-S", ...words(address, A64_CODE), ...start];
    await using vm = await launchQemu(args, { program, accel: "tcg" });
    const qemu = await run(vm, 200);
    const gdb = await systemRegisters(vm);
    const memory = await vm.hmp("xp /1wx 0x08000104") + await vm.hmp("xp /1wx 0x08000204");
    const said = await savedRegisters(vm);
    assertRegisters(said, qemu, [
      ...range(31).map((i) => [`X${i}`, `X${String(i).padStart(2, "0")}`] as const),
      ["PC", "PC"],
      ["SP", "SP"],
      ["PSTATE", "PSTATE"],
    ]);
    const [, flags, level] = /PSTATE=[0-9a-f]+ (\S+) (EL\S+)/.exec(qemu)!;
    assert.equal(said.get("PSTATE")!.meaning, `${flags} DAIF ${level}`);
    const vectors = [...qemu.matchAll(/Q(\d\d)=([0-9a-f]{16}):([0-9a-f]{16})/g)];
    assert.equal(vectors.length, 32);
    for (const [, number, high, low] of vectors) assert.equal(said.get(`V${Number(number)}`)!.text, `0x${high}${low}`);
    assert.equal(said.get("X5")!.text, "0x00000000beef0000", "the guest has run");
    assert.equal(said.get("V1")!.text, "0x000000000000000000000000beef0000");
    assert.equal(said.get("CPACR_EL1")!.meaning, "FPEN=open");
    assert(compareSystemRegisters(said, gdb, ["TPIDR_EL1", "TTBR0_EL1", "VBAR", "SCTLR", "CNTFRQ_EL0"]) > 90);
    // the monitor looks with Non-secure eyes: interrupts of group 0 are zero to it
    if (!machine.includes("secure=on")) assert.match(memory, /8000104: 0x00000022\s.*8000204: 0x00000022\s/s);
    await using image = await openImage(vm.path("saved"));
    const [{ described }] = (await inspectImage(image, { device: gic })).devices;
    const field = (name: string) => described!.find((field) => field.name === name)!.children!;
    const lists = gic === "arm_gic"
      ? [
        field("ctlr").find(({ name }) => name === "enabled")!.text,
        field("ctlr").find(({ name }) => name === "pending")!.text,
      ]
      : [field("enabled")[1].meaning, field("pending")[1].meaning];
    assert.deepEqual(lists, gic === "arm_gic" ? ["0..15 33 37", "33 37"] : ["33 37", "33 37"]);
  });
}

const A32_CODE = [
  0xe3a00c12, // mov r0, #0x1200
  0xe3a0d801, // mov sp, #0x10000
  0xee0d0f90, // mcr p15, 0, r0, c13, c0, 4 (TPIDRPRW)
  0xee0c0f10, // mcr p15, 0, r0, c12, c0, 0 (VBAR)
  0xe10f1000, // mrs r1, cpsr
  0xe321f0d1, // msr cpsr_c, #0xd1: fiq
  0xe3a09077, // mov r9, #0x77
  0xe3a0db02, // mov sp, #0x800
  0xe321f0d3, // msr cpsr_c, #0xd3: svc
  0xe0900000, // adds r0, r0, r0
  0xeafffffe, // b .
];

otherQemuTest("qemu-system-arm", "registers of an AArch32 guest are those of info registers and gdbstub", async () => {
  const program = "qemu-system-arm", address = 0x40100000;
  const start = ["-device", `loader,addr=${address},cpu-num=0`];
  const args = ["-machine", "virt", "-cpu", "cortex-a15", "-m", "16", "-S", ...words(address, A32_CODE), ...start];
  await using vm = await launchQemu(args, { program, accel: "tcg" });
  const qemu = await run(vm, 200);
  const gdb = await systemRegisters(vm);
  const said = await savedRegisters(vm);
  const names = [...range(13).map((i) => `R${i}`), "SP", "LR", "PC"];
  assertRegisters(said, qemu, [
    ...names.map((name, i) => [name, `R${String(i).padStart(2, "0")}`] as const),
    ["CPSR", "PSR"],
  ]);
  assert.match(qemu, /PSR=000001d3 ---- A svc32/);
  assert.equal(said.get("CPSR")!.meaning, "---- AIF svc, Arm");
  assert.equal(said.get("R9_fiq")!.text, "0x00000077", "the guest has run");
  assert.equal(said.get("SP_fiq")!.text, "0x00000800");
  assert.equal(BigInt(said.get("TPIDR_EL1")!.text), 0x1200n);
  assert(compareSystemRegisters(said, gdb, ["MIDR", "CTR"]) > 30);
});

otherQemuTest("qemu-system-ppc64", "registers of a ppc64 guest are those of info registers", async () => {
  await using vm = await launchQemu(["-machine", "pseries", "-m", "256", "-S"], {
    program: "qemu-system-ppc64",
    accel: "tcg",
  });
  const qemu = await run(vm, 1500);
  const said = await savedRegisters(vm);
  assertRegisters(said, qemu, [
    ...[
      "NIP",
      "LR",
      "CTR",
      "XER",
      "MSR",
      "SRR0",
      "SRR1",
      "PVR",
      "SPRG0",
      "SPRG1",
      "CFAR",
      "LPCR",
      "DAR",
      "DSISR",
      "HSRR0",
      "FPSCR",
    ]
      .map((name) => [name, name] as const),
  ]);
  const registers = [...qemu.matchAll(/^GPR\d\d ((?:[0-9a-f]{16} ?){4})/gm)].flatMap(([, row]) =>
    row.trim().split(" ")
  );
  assert.deepEqual(range(32).map((i) => said.get(`GPR${i}`)!.text.slice(2)), registers);
  const fields = /^CR ([0-9a-f]{8})/m.exec(qemu)![1];
  assert.equal(range(8).map((i) => said.get(`CR${i}`)!.text.slice(-1)).join(""), fields);
  assert(said.get("MSR")!.meaning.endsWith("SF"), said.get("MSR")!.meaning);
});

otherQemuTest("qemu-system-ppc", "registers of a ppc guest are those of info registers", async () => {
  await using vm = await launchQemu(["-machine", "g3beige", "-m", "64", "-S"], {
    program: "qemu-system-ppc",
    accel: "tcg",
  });
  const qemu = await run(vm, 1500);
  const said = await savedRegisters(vm);
  assertRegisters(
    said,
    qemu,
    ["NIP", "LR", "CTR", "XER", "MSR", "HID0", "SRR0", "SRR1", "PVR", "SDR1", "DAR", "DSISR"].map((name) =>
      [name, name] as const
    ),
  );
});

otherQemuTest("qemu-system-s390x", "registers of an s390x guest are those of info registers", async () => {
  const program = "qemu-system-s390x";
  await using vm = await launchQemu(["-machine", "s390-ccw-virtio", "-m", "64", "-S", "-no-shutdown"], {
    program,
    accel: "tcg",
  });
  const qemu = await run(vm, 500);
  const said = await savedRegisters(vm);
  const two = (i: number) => String(i).padStart(2, "0");
  assertRegisters(said, qemu, [
    ["PSW mask", "PSW"],
    ["PSW address", "addr"],
    ...range(16).map((i) => [`R${i}`, `R${two(i)}`] as const),
    ...range(16).map((i) => [`C${i}`, `C${two(i)}`] as const),
  ]);
  const vectors = [...qemu.matchAll(/V(\d\d)=([0-9a-f]{16})([0-9a-f]{16})/g)];
  assert.equal(vectors.length, 32);
  for (const [, name, high, low] of vectors) {
    const i = Number(name);
    assert.equal(said.get(i < 16 ? `F${i}` : `V${i}[0]`)!.text, `0x${high}`);
    assert.equal(said.get(`V${i}[1]`)!.text, `0x${low}`);
  }
  assert.match(said.get("PSW mask")!.meaning, new RegExp(`CC=${Number(/ cc (\d\d)/.exec(qemu)![1])} `));
});

for (
  const [program, extra] of [["qemu-system-mips", []], ["qemu-system-mips64el", ["-cpu", "MIPS64R2-generic"]]] as const
) {
  otherQemuTest(program, `registers of a guest of ${program} are those of info registers`, async () => {
    // the malta board turns the words of its flash round for a little-endian processor
    // lui a0, 0x1234; lui a1, 0x8000; mtc0 a0, EPC; 1: b 1b; nop
    const code = [0x3c041234, 0x3c058000, 0x40847000, 0x1000ffff, 0];
    const rom = new Uint8Array(4 << 20);
    for (const [i, word] of code.entries()) new DataView(rom.buffer).setUint32(4 * i, word);
    const bios = await Deno.makeTempFile({ prefix: "miglab-bios-" });
    try {
      await Deno.writeFile(bios, rom);
      const args = ["-machine", "malta", "-m", "64", "-S", "-bios", bios, ...extra];
      await using vm = await launchQemu(args, { program, accel: "tcg" });
      const qemu = await run(vm, 200);
      const said = await savedRegisters(vm);
      const general = [...qemu.matchAll(/(?<= )([a-z]\w) ([0-9a-f]{8,16})(?= |$)/gm)].filter(([, name]) =>
        name !== "ds"
      );
      assert.equal(general.length, 32, qemu);
      for (const [, name, value] of general) assert.equal(said.get(name)!.text, `0x${value}`, name);
      assertRegisters(said, qemu, [
        ...["HI", "LO", "Status", "Cause", "EPC", "Config1", "Config2", "Config3"].map((name) => [name, name] as const),
        ["Config", "Config0"],
      ]);
      assert.equal(BigInt.asUintN(32, BigInt(said.get("EPC")!.text)), 0x12340000n, "the guest has run");
      assert.equal(said.get("Status")!.meaning, "ERL KSU=kernel BEV");
    } finally {
      await Deno.remove(bios);
    }
  });
}

for (const [program, machine] of [["qemu-system-sparc", "SS-5"], ["qemu-system-sparc64", "sun4u"]] as const) {
  otherQemuTest(program, `registers of a guest of ${program} are those of info registers`, async () => {
    await using vm = await launchQemu(["-machine", machine, "-m", "64", "-S"], { program, accel: "tcg" });
    const qemu = await run(vm, 1000);
    const said = await savedRegisters(vm);
    const rows = (letter: string) => {
      const found = [...qemu.matchAll(new RegExp(`^%${letter}\\d-\\d: ([0-9a-f ]+)$`, "gm"))];
      return found.flatMap(([, row]) => row.trim().split(" "));
    };
    assert.deepEqual(range(8).map((i) => said.get(`%g${i}`)!.text.slice(2)), rows("g"));
    const now = new Map(
      [...said.values()].filter(({ meaning }) => meaning.startsWith("now ")).map((
        { text, meaning },
      ) => [meaning, text]),
    );
    for (const letter of ["o", "l", "i"]) {
      assert.deepEqual(range(8).map((i) => now.get(`now %${letter}${i}`)!.slice(2)), rows(letter), letter);
    }
    const more = machine === "SS-5"
      ? [["%psr", "psr"], ["%wim", "wim"]] as const
      : [["%pstate", "pstate"], ["%tl", "tl"], ["%gl", "gl"], ["%cansave", "cansave"], ["%tba", "tbr"]] as const;
    assertRegisters(said, qemu, [["%pc", "pc"], ["%npc", "npc"], ["%fsr", "fsr"], ["%y", "y"], ...more]);
  });
}

/** Arm's system registers by the names QEMU has for them, through its gdbstub; undefined where two have one name. */
async function systemRegisters(vm: Qemu): Promise<Map<string, bigint | undefined>> {
  const path = vm.path("gdb");
  await vm.hmp(`gdbserver unix:${path},server=on,wait=off`);
  using gdb = await Deno.connect({ transport: "unix", path });
  const ask = async (command: string): Promise<string> => {
    const bytes = new TextEncoder().encode(command);
    const sum = bytes.reduce((sum, byte) => sum + byte & 255, 0).toString(16).padStart(2, "0");
    await gdb.write(new TextEncoder().encode(`$${command}#${sum}`));
    const buffer = new Uint8Array(65536);
    for (let text = "";;) {
      const got = await bounded(gdb.read(buffer), 10_000, "an answer of the gdbstub");
      assert(got !== null, "the gdbstub hung up");
      text += new TextDecoder("latin1").decode(buffer.subarray(0, got));
      const answer = /\$([^#]*)#../s.exec(text)?.[1];
      if (answer === undefined) continue;
      await gdb.write(new TextEncoder().encode("+"));
      return answer;
    }
  };
  const annex = async (name: string): Promise<string> => {
    for (let text = "";;) {
      const part = await ask(`qXfer:features:read:${name}:${text.length.toString(16)},800`);
      assert(/^[lm]/.test(part), `${name}: ${part}`);
      text += part.slice(1);
      if (part[0] === "l") return text;
    }
  };
  await ask("qSupported:xmlRegisters=arm");
  await annex("target.xml");
  const registers = new Map<string, bigint | undefined>();
  const pattern = /<reg name="(\w+)" bitsize="(\d+)" regnum="(\d+)"/g;
  for (const [, name, , number] of (await annex("system-registers.xml")).matchAll(pattern)) {
    const value = await ask(`p${Number(number).toString(16)}`);
    const bytes = Uint8Array.fromHex(value).reverse();
    registers.set(name, registers.has(name) ? undefined : BigInt("0x" + bytes.toHex()));
  }
  return registers;
}

/**
 * What both sides have under one name has one value; QEMU leaves "_EL1" off names both execution states have.
 * @param certain names that must be among them
 * @returns how many they are
 */
function compareSystemRegisters(said: Said, gdb: Map<string, bigint | undefined>, certain: readonly string[]): number {
  const upper = new Map([...said].map(([name, { text }]) => [name.toUpperCase(), text]));
  let compared = 0;
  for (const [name, value] of gdb) {
    const text = upper.get(name.toUpperCase()) ?? upper.get(`${name.toUpperCase()}_EL1`);
    if (value === undefined || text === undefined || !/^0x/.test(text)) continue;
    assert.equal(BigInt(text), value, name);
    compared++;
  }
  for (const name of certain) {
    assert(gdb.get(name) !== undefined && (upper.has(name) || upper.has(`${name}_EL1`)), name);
  }
  return compared;
}

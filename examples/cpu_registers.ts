/**
 * What were the processors doing when the guest was saved?
 *
 *     deno run -A examples/cpu_registers.ts vm.sav
 */
import { cpuStates, openImage } from "../mod.ts";

await using image = await openImage(Deno.args[0] ?? "/tmp/vm.sav");
const word = (value: bigint) => value.toString(16).padStart(16, "0");
const X86 = [
  "rax",
  "rcx",
  "rdx",
  "rbx",
  "rsp",
  "rbp",
  "rsi",
  "rdi",
  "r8",
  "r9",
  "r10",
  "r11",
  "r12",
  "r13",
  "r14",
  "r15",
];

for (const [number, cpu] of cpuStates(image).entries()) {
  if (cpu.kind === "x86") {
    console.log(`CPU ${number}: rip ${word(cpu.rip)} rflags ${cpu.rflags.toString(16)}`);
    cpu.regs.forEach((value, i) => console.log(`  ${X86[i].padEnd(4)}${word(value)}`));
    console.log(`  cr0 ${word(cpu.cr[0])} cr3 ${word(cpu.cr[3])} ${cpu.longMode ? "64-bit" : "not in long mode"}`);
  } else {
    console.log(`CPU ${number}: pc ${word(cpu.pc)} sp ${word(cpu.sp)} pstate ${cpu.pstate.toString(16)}`);
    cpu.xregs.forEach((value, i) => console.log(`  x${String(i).padEnd(3)}${word(value)}`));
  }
}

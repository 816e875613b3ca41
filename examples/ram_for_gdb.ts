/**
 * Memory and registers of a saved guest for gdb: an ELF core.
 *
 *     deno run -A examples/ram_for_gdb.ts vm.sav vm.core
 *     gdb vmlinux vm.core
 */
import { openImage, writeElfCore } from "../mod.ts";

const [from, to] = Deno.args;
if (!to) throw new Error("usage: ram_for_gdb.ts FROM TO");

await using image = await openImage(from);
const { cpus, ranges, dataBytes } = await writeElfCore(image, to);
for (const { base, length, idstr } of ranges) {
  console.log(
    `0x${base.toString(16).padStart(9, "0")}-0x${(base + length - 1).toString(16).padStart(9, "0")} ${idstr}`,
  );
}
console.log(`${to}: registers of ${cpus} processors, ${dataBytes} bytes of data`);

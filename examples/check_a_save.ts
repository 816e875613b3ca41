/**
 * Is a saved machine fit to be kept? For a script that runs behind every save.
 *
 *     deno run -A examples/check_a_save.ts vm.sav
 *     deno run -A examples/check_a_save.ts vm.sav qemu-system-x86_64     and would that QEMU load it?
 */
import { verifyImage } from "../mod.ts";

const [path = "/tmp/vm.sav", qemu] = Deno.args;

const { ok, findings, against } = await verifyImage(path, qemu ? { against: qemu } : {});

for (const { severity, offset, path, message } of findings) {
  console.log(`${severity} at 0x${offset.toString(16)}, ${path}: ${message}`);
}
for (const { name, verdict, reasons } of against?.devices ?? []) {
  if (verdict === "refused") console.log(`${name} would be refused: ${reasons.join("; ")}`);
}
console.log(ok ? `${path} is good` : `${path} is not good: salvage it, or save again`);
Deno.exit(ok ? 0 : 1);

/**
 * Save a virtual machine to a file with every page at a fixed place.
 *
 *     deno run -A examples/save.ts /tmp/vm.sav
 */
import { Workbench } from "../mod.ts";

const path = Deno.args[0] ?? "/tmp/vm.sav";

await using bench = await Workbench.open({ ram: "256M", content: "random:seed=7,bytes=64M" });
await bench.setCapability("mapped-ram", true);
await bench.setParameter("max-bandwidth", 0); // as fast as the disk allows; QEMU's default is 128 MiB/s

const info = await bench.migrate(`file:${path}`, {
  onProgress: (p) => console.error(`${p.percent.toFixed(0)} %`),
});
console.log(`${path}: ${info.ram!.normal} pages of data, ${info.ram!.duplicate} zero, in ${info["total-time"]} ms`);

/**
 * Which RAM blocks are in a saved machine, and what is in them?
 *
 *     deno run -A examples/which_blocks.ts vm.sav
 */
import { openImage } from "../mod.ts";

await using image = await openImage(Deno.args[0] ?? "/tmp/vm.sav");
console.log(`${image.stream.machine}, ${image.stream.ramFormat}`);

for (const block of image.ram.blocks) {
  const first = await image.ram.readPage(block.id, 0);
  const words = [...first.subarray(0, 8)].map((byte) => byte.toString(16).padStart(2, "0")).join(" ");
  console.log(`${block.id.padEnd(24)} ${block.bytes} bytes, ${block.normalPages} pages of data, begins ${words}`);
}

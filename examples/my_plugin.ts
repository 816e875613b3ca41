/**
 * A capability of your own, with a rule about what it conflicts with, and a command.
 *
 *     deno run -A examples/my_plugin.ts
 *     miglab --plugin ./examples/my_plugin.ts
 */
import { type Plugin, Workbench } from "../mod.ts";

export const dryRun: Plugin = {
  name: "x-dry-run",
  help: "count what a save would write",
  capabilities: [{
    name: "x-dry-run",
    help: "promise to look and not to touch",
    rules: [{
      order: 100, // QEMU's own rules are 0 to 17
      check: ({ on }) => on("x-dry-run") && on("postcopy-ram") ? "A dry run cannot start the destination" : undefined,
    }],
  }],
  commands: [{
    hmp: {
      name: "count_pages",
      params: "",
      help: "count the pages somebody wrote to",
      format: (pages: number) => `${pages} pages may hold data\n`,
    },
    qmp: { name: "x-count-pages" },
    run: ({ guest }) =>
      guest.memory.blocks.reduce((sum, { touched }) => sum + touched.filter((slot) => slot).length, 0) * 256,
  }],
};

if (import.meta.main) {
  await using bench = await Workbench.open({ ram: "64M", plugins: [dryRun] });
  console.log(await bench.hmp("count_pages"));
  console.log(await bench.hmp("migrate_set_capability x-dry-run on") || "x-dry-run is on");
  console.log(await bench.hmp("migrate_set_capability postcopy-ram on").catch((error) => `refused: ${error.message}`));
}

/**
 * Passes over RAM are told apart: in one channel, with multifd channels, and not where pages come out of turn.
 * @module
 */
import assert from "node:assert/strict";
import { openImage } from "../../containers/image.ts";
import { RamPasses } from "../../containers/ram_passes.ts";
import { xbzrle } from "../../plugins/xbzrle.ts";
import { inspectImage } from "../../reports/inspect.ts";
import { pagesText } from "../../reports/inspect_detail.ts";
import { loadFixture } from "../fixtures.ts";

const tables = xbzrle.tables!;

/** Data, zero and xbzrle pages of pc.ram in each pass. */
async function passes(name: string, channels: readonly string[] = []): Promise<string[]> {
  const files = await Promise.all(channels.map((channel) => loadFixture(`${name}.${channel}`)));
  const main = await loadFixture(channels.length ? `${name}.main` : name);
  await using image = await openImage(main, { tables, channels: files });
  const { ram } = await inspectImage(image, { pages: true });
  return ram.passes!.map(({ blocks }) => {
    const { normalPages, zeroPages, deltaPages } = blocks.find(({ id }) => id === "pc.ram")!;
    return `${normalPages}/${zeroPages}/${deltaPages}`;
  });
}

Deno.test("passes of one channel, differences among them", async () => {
  assert.deepEqual(await passes("pc-multipass"), [
    "178/2894/0",
    "126/3/0",
    "129/0/0",
    "124/5/0",
    "129/0/0",
    "122/7/0",
    "126/3/0",
  ]);
  assert.deepEqual((await passes("pc-xbzrle")).slice(0, 4), ["302/2770/0", "254/3/0", "35/0/209", "30/4/198"]);
});

Deno.test("passes of multifd channels: marks after each round, and after each section as until 8.1", async () => {
  const now = await passes("q35-multifd-4-live", ["ch0", "ch1", "ch2", "ch3"]);
  assert.deepEqual(now, ["353/2719/0", "251/6/0", "255/2/0", "241/16/0", "255/2/0", "249/8/0"]);
  const then = await passes("pc-8.0-multifd-2-live", ["ch0", "ch1"]);
  assert.deepEqual(then, ["166/1882/0", "122/7/0", "129/0/0", "125/4/0", "122/7/0", "125/4/0"]);
});

Deno.test("one pass: mapped-ram has none to tell, a background snapshot and postcopy jump within theirs", async () => {
  assert.deepEqual(await passes("pc-mapped-live"), []);
  assert.equal((await passes("q35-background-snapshot-live")).length, 1);
  assert.equal((await passes("pc-postcopy.main")).length, 1);
});

Deno.test("pagesText() says what each pass brought, and where data is", async () => {
  await using image = await openImage(await loadFixture("pc-multipass"), { tables });
  const lines = pagesText(await inspectImage(image, { pages: true })).split("\n");
  assert.equal(lines[0], "Passes over RAM");
  assert.equal(lines[2], "     2  from 0xbef6c: pc.ram 126 data, 3 zero");
  assert.ok(lines.includes("  pc.bios: 0 f"));
});

Deno.test("a pass begins where a page comes again, not where one comes late", () => {
  const passes = new RamPasses();
  passes.add("normalPages", 0, 0, 10, false, 100);
  passes.add("zeroPages", 1, 0, 5, false, 200);
  passes.add("normalPages", 0, 20, 1, false, 300);
  assert.equal(passes.list.length, 1);
  assert.ok(passes.isBack(0, 5));
  passes.add("deltaPages", 0, 5, 1, true, 400);
  passes.postcopy();
  passes.add("normalPages", 0, 4, 1, true, 500);
  assert.deepEqual(passes.list, [
    {
      offset: 100,
      blocks: [{ block: 0, normalPages: 11, zeroPages: 0, deltaPages: 0 }, {
        block: 1,
        normalPages: 0,
        zeroPages: 5,
        deltaPages: 0,
      }],
    },
    { offset: 400, blocks: [{ block: 0, normalPages: 1, zeroPages: 0, deltaPages: 1 }] },
  ]);
});

import assert from "node:assert/strict";
import { Buffer } from "node:buffer";
import fs from "node:fs";
import type { RamBlock } from "../../guest/memory.ts";
import { holdPath, parseContent, Workbench } from "../../mod.ts";

const MIB = 1 << 20;
const CONTENT = ["random:at=3M,bytes=9M", "pattern:at=20M,bytes=5M", "random:at=40M,bytes=6M,percent=50"].map(
  parseContent,
);
const { O_DIRECT, O_RDONLY, O_WRONLY } = fs.constants;

/** What the two ends of a migration are set to. */
interface Settings {
  readonly channels?: number;
  readonly direct?: boolean;
  readonly detection?: "none" | "legacy" | "multifd";
}

async function set(bench: Workbench, { channels, direct = false, detection }: Settings): Promise<void> {
  await bench.setCapabilities({ "mapped-ram": true, multifd: channels !== undefined });
  if (channels !== undefined) await bench.setParameter("multifd-channels", channels);
  await bench.setParameter("direct-io", direct);
  if (detection) await bench.setParameter("zero-page-detection", detection);
}

async function source(settings: Settings): Promise<Workbench> {
  const bench = await Workbench.open({ ram: "64M", content: CONTENT, stopped: true });
  await set(bench, settings);
  return bench;
}

async function destination(settings: Settings): Promise<Workbench> {
  const bench = await Workbench.open({ incoming: "defer" });
  await set(bench, settings);
  return bench;
}

function content(block: RamBlock): Uint8Array {
  const bytes = new Uint8Array(block.usedLength);
  block.read(0, bytes);
  return bytes;
}

function assertSameRam(a: Workbench, b: Workbench): void {
  for (const block of a.session.guest.memory.blocks) {
    const other = b.session.guest.memory.block(block.idstr);
    assert(other && Buffer.compare(content(block), content(other)) === 0, block.idstr);
  }
}

async function inDirectory(body: (directory: string) => Promise<void>): Promise<void> {
  const directory = Deno.makeTempDirSync({ prefix: "miglab-multifd-" });
  try {
    await body(directory);
  } finally {
    Deno.removeSync(directory, { recursive: true });
  }
}

/** The file without the word of the clock that ticks on between two saves. */
function stable(path: string): Uint8Array {
  const bytes = Deno.readFileSync(path);
  return bytes.subarray(0, bytes.length - bytes.length % MIB); // device state is in the last MiB
}

for (const detection of ["none", "legacy", "multifd"] as const) {
  Deno.test(`the file of several channels is that of one, zero-page-detection ${detection}`, () =>
    inDirectory(async (directory) => {
      const files: Uint8Array[] = [];
      for (const settings of [{}, { channels: 1 }, { channels: 5 }, { channels: 2, direct: true }] as Settings[]) {
        await using bench = await source({ ...settings, detection });
        const { ram } = await bench.migrate(`file:${directory}/out,offset=5M`);
        files.push(stable(`${directory}/out`));
        const { channels } = bench.session.outgoing.counters;
        assert.equal(channels?.length, settings.channels);
        if (!channels) {
          assert.equal(ram!["multifd-bytes"], 0);
          continue;
        }
        // every page was counted once, by the channel that wrote it
        assert.equal(ram!["multifd-bytes"], ram!["normal-bytes"]);
        assert.equal((ram!.normal + ram!.duplicate) * 4096, ram!.total);
        assert.equal(channels.reduce((sum, { bytes }) => sum + bytes, 0), ram!["multifd-bytes"]);
        if (detection === "none") assert.equal(ram!.duplicate, 0);
        else assert(ram!.duplicate > 9000);
      }
      for (const file of files) assert.equal(Buffer.compare(file, files[0]), 0);
    }));
}

Deno.test("a file loads with another number of channels than it was saved with, or none, with and without direct-io", () =>
  inDirectory(async (directory) => {
    for (const saved of [{}, { channels: 3, direct: true }] as Settings[]) {
      const uri = `file:${directory}/out,offset=0x2345`;
      await using bench = await source(saved);
      await bench.migrate(uri);
      for (const settings of [{}, { channels: 1 }, { channels: 4 }, { channels: 2, direct: true }] as Settings[]) {
        await using other = await destination(settings);
        await other.migrateIncoming(uri);
        assertSameRam(bench, other);
      }
    }
  }));

Deno.test("descriptor sets: one descriptor does for several channels, direct-io needs a second", () =>
  inDirectory(async (directory) => {
    const path = `${directory}/out`;
    const migrate = async (bench: Workbench, command: string, flags: readonly number[]) => {
      for (const each of flags) await bench.qmp("add-fd", { "fdset-id": 1 }, { fd: holdPath(path, each) });
      const uri = "file:/dev/fdset/1,offset=1M";
      if (command === "migrate") await bench.migrate(uri);
      else await bench.migrateIncoming(uri);
    };
    for (const direct of [false, true]) {
      Deno.writeTextFileSync(path, "");
      await using bench = await source({ channels: 3, direct });
      await migrate(bench, "migrate", direct ? [O_WRONLY, O_WRONLY | O_DIRECT] : [O_WRONLY]);
      await using other = await destination({ channels: 2, direct });
      await migrate(other, "incoming", direct ? [O_RDONLY | O_DIRECT, O_RDONLY] : [O_RDONLY]);
      assertSameRam(bench, other);
    }
    await using bench = await source({ channels: 2, direct: true });
    const statuses: unknown[] = [];
    await bench.setCapability("events", true);
    bench.on("MIGRATION", ({ data }) => statuses.push(data!.status));
    await assert.rejects(
      migrate(bench, "migrate", [O_WRONLY]),
      { message: "Failed to find file descriptor with matching flags=0x4001" },
    );
    assert.deepEqual(statuses, ["setup", "failed"]);
    assert.equal(bench.session.runState, "prelaunch");
    await using other = await destination({ channels: 2, direct: true });
    await assert.rejects(
      migrate(other, "incoming", [O_RDONLY]),
      { message: "Failed to find file descriptor with matching flags=0x4000" },
    );
  }));

Deno.test("a file system without O_DIRECT says so", async () => {
  await using bench = await destination({ channels: 2, direct: true });
  await assert.rejects(
    bench.migrateIncoming("file:/proc/version"),
    { message: "Could not open '/proc/version': filesystem does not support O_DIRECT" },
  );
});

Deno.test("a truncated file is an error of the channel that met its end, and nothing is presented as loaded", () =>
  inDirectory(async (directory) => {
    const path = `${directory}/out`;
    await using bench = await source({ channels: 2 });
    await bench.migrate(`file:${path}`);
    await using loads = await destination({ channels: 2 });
    Deno.truncateSync(path, 45 * MIB + 1000);
    await assert.rejects(loads.migrateIncoming(`file:${path}`));
    assert.equal(loads.info().status, "failed");
    assert.notEqual(loads.session.guest.kind, "adopted");
  }));

Deno.test("max-bandwidth holds with several channels, and cancelling closes every handle", () =>
  inDirectory(async (directory) => {
    const path = `${directory}/out`;
    await using bench = await source({ channels: 3 });
    await bench.setParameter("max-bandwidth", 4 * MIB);
    await bench.setParameter("downtime-limit", 0);
    const begin = performance.now();
    await bench.migrate(`file:${path}`, { detach: true });
    const { outgoing } = bench.session;
    while (outgoing.counters.normal < 1000) await new Promise((resolve) => setTimeout(resolve, 10));
    assert(performance.now() - begin > 200, "4 MiB took no time at 4 MiB/s");
    await bench.hmp("migrate_cancel");
    await outgoing.settled;
    assert.equal(bench.info().status, "cancelled");
    assert.equal(bench.session.runState, "prelaunch");
    const open = [...Deno.readDirSync("/proc/self/fd")].filter(({ name }) => {
      const link = `/proc/self/fd/${name}`;
      return fs.existsSync(link) && fs.readlinkSync(link) === path;
    });
    assert.deepEqual(open, []);
    await bench.setParameter("max-bandwidth", 0);
    assert.equal((await bench.migrate(`file:${path}`)).status, "completed");
  }));

const SMALL = new URL("../fixtures/small_disk.ts", import.meta.url).pathname;
const unshare = new Deno.Command("unshare", { args: ["-rm", "true"], stderr: "null" });
const canMount = await unshare.output().then(({ success }) => success, () => false);

Deno.test({
  name: "a disk that is full fails the migration once, with the reason, and the guest runs on" +
    (canMount ? "" : " (needs unshare)"),
  ignore: !canMount,
  async fn() {
    const { stdout, stderr } = await new Deno.Command("unshare", {
      args: [
        "-rm",
        "sh",
        "-c",
        'mount -t tmpfs -o size=8m none /mnt && exec "$0" run -A "$1"',
        Deno.execPath(),
        SMALL,
      ],
      env: { NO_COLOR: "1" },
    }).output();
    const text = new TextDecoder();
    const said = text.decode(stdout).trim().split("\n").map((line) => JSON.parse(line));
    assert.equal(said.length, 3, text.decode(stderr));
    for (const { reported, statuses, runState, open } of said) {
      assert.deepEqual(statuses, ["setup", "active", "failed"]);
      assert(reported.includes("Unable to write to file: No space left on device"), reported.join());
      assert.equal(reported.filter((line: string) => line.startsWith("Unable")).length, 1);
      assert.equal(runState, "running");
      assert.equal(open, 0);
    }
  },
});

Deno.test("info channels says what went through each channel", () =>
  inDirectory(async (directory) => {
    await using bench = await source({ channels: 2 });
    assert.equal(await bench.hmp("info channels"), "no multifd channels\n");
    const { ram } = await bench.migrate(`file:${directory}/out`);
    const lines = (await bench.hmp("info channels")).trimEnd().split("\n");
    assert.equal(lines.length, 2);
    for (const [id, line] of lines.entries()) {
      assert.match(
        line,
        new RegExp(`^channel ${id}: \\d+ kbytes, normal: \\d+ pages, zero: \\d+ pages, [\\d.]+ mbps$`),
      );
    }
    const channels = await bench.qmp("x-query-channels") as { bytes: number; normal: number }[];
    assert.equal(channels.reduce((sum, { bytes }) => sum + bytes, 0), ram!["multifd-bytes"]);
    assert.equal(channels.reduce((sum, { normal }) => sum + normal, 0), ram!.normal);
  }));

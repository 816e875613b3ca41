/**
 * The Tab key of an attached console beside that of QEMU's own monitor, and on a terminal.
 * @module
 */
import assert from "node:assert/strict";
import { holdPath, Qemu, Workbench } from "../../mod.ts";
import { completeLine } from "../../repl/completion.ts";
import { MAIN } from "../program.ts";
import { Pty, whyNoPty } from "../repl/pty.ts";
import { qemuTest } from "./available.ts";
import { HumanMonitor } from "./readline.ts";

const PROMPT = "(miglab) ";

/** A machine with something of everything that has a name. */
const DEVICES = [
  ...["-netdev", "user,id=n0", "-netdev", "user,id=n1", "-device", "e1000,netdev=n0,id=nic0"],
  ...["-nic", "user,model=rtl8139", "-device", "i6300esb,id=wd0"],
  ...["-chardev", "ringbuf,id=rb0,size=4096", "-chardev", "null,id=cn0"],
  ...["-object", "iothread,id=io0", "-object", "rng-random,id=rng0,filename=/dev/urandom"],
  ...["-blockdev", "null-co,node-name=nul0"],
];

/** Start it, with two snapshots on a disk. */
async function machine(directory: string): Promise<Qemu> {
  const disk = `${directory}/disk`;
  const made = new Deno.Command("qemu-img", { args: ["create", "-q", "-f", "qcow2", disk, "1M"] }).outputSync();
  assert(made.success);
  const vm = await Qemu.launch({
    args: [
      ...["-machine", "pc", "-m", "16", "-S", "-monitor", `unix:${directory}/hmp,server=on,wait=off`],
      ...["-drive", `file=${disk},if=none,id=drv0`, "-device", "virtio-blk-pci,drive=drv0,id=vb0", ...DEVICES],
    ],
  });
  for (const tag of ["first", "second"]) assert.equal(await vm.hmp(`savevm ${tag}`), "");
  return vm;
}

/** Lines whose last word QEMU's own Tab completes as ours does. */
const SAME = [
  "device_add virtio-blk-d",
  "device_add virtio-",
  "device_add nonsense",
  "device_del ",
  "device_del nic",
  "netdev_add ",
  "netdev_add us",
  "netdev_del ",
  "object_add memory-b",
  "object_add nonsense",
  "object_del ",
  "set_link ",
  "set_link n0 ",
  "watchdog_action ",
  "chardev-add ",
  "chardev-remove ",
  "chardev-send-break c",
  "ringbuf_read ",
  "ringbuf_write ",
  "loadvm ",
  "delvm fi",
  "savevm ",
  "sendkey ctrl-alt-f1",
  "sendkey ",
  "trace-event qmp_job_",
  "trace-event qmp_job_dismiss ",
  "info trace-events qmp_job_d",
  "eject ",
  "change d",
  "block_resize ",
  "block_stream x",
  "commit ",
  "info block ",
  "snapshot_blkdev_internal ",
  "migrate_set_capability x",
  "migrate_set_capability multifd ",
  "migrate_set_parameter multifd-",
  "help device_",
  "info mig",
  "block_",
];

qemuTest("Tab offers what QEMU's own monitor offers", async () => {
  const directory = Deno.makeTempDirSync({ prefix: "miglab-tab-" });
  try {
    await using vm = await machine(directory);
    await using theirs = await HumanMonitor.open(`${directory}/hmp`);
    await using bench = await Workbench.open({ qmp: vm.qmp });
    for (const line of SAME) {
      const { listed, line: after } = await theirs.tab(line);
      const { start, candidates } = await bench.complete(line);
      if (listed) assert.deepEqual([...candidates].sort(), [...new Set(listed)], line);
      else {assert.equal(
          line.slice(0, start) + (candidates[0] ?? line.slice(start)),
          candidates[0] ? after.trimEnd() : after,
          line,
        );}
      assert(listed || candidates.length <= 1, line);
    }
  } finally {
    Deno.removeSync(directory, { recursive: true });
  }
});

qemuTest("Tab knows more than QEMU's own: properties, nodes, paths of objects", async () => {
  const directory = Deno.makeTempDirSync({ prefix: "miglab-tab-" });
  try {
    await using vm = await machine(directory);
    await using bench = await Workbench.open({ qmp: vm.qmp });
    const at = async (line: string) => (await bench.complete(line)).candidates;
    assert.deepEqual(await at("device_add virtio-blk-pci,driv"), ["drive="]);
    assert.deepEqual(await at("device_add virtio-blk-pci,id=x,i").then((all) => all.includes("id=")), false);
    assert.deepEqual(await at("device_add virtio-blk-pci,drive="), ["drv0", "nul0"]);
    assert.deepEqual(await at("device_add e1000,netdev=n"), ["n0", "n1"]);
    assert.deepEqual(await at("device_add e1000,multifunction=o"), ["off", "on"]);
    assert.deepEqual(await at("netdev_add user,hostn"), ["hostname="]);
    assert.deepEqual(await at("netdev_add user,restrict="), ["off", "on"]);
    assert.deepEqual(await at("object_add iothread,poll-m"), ["poll-max-ns="]);
    assert.deepEqual(await at("drive_del "), ["drv0", "nul0"]);
    assert.deepEqual(await at("qom-list /machine/peripheral/n"), ["nic0/"]);
    assert.deepEqual(await at("qom-get /machine/peripheral/nic0 hotplugge"), ["hotplugged"]);
    for (const line of ["device_add nonsense,x", "qom-list /nonsense/x", "object_add nonsense,x"]) {
      await assert.rejects(at(line), { name: "CommandError" }, line);
    }
    await bench.qmp("add-fd", { "fdset-id": 7 }, { fd: holdPath("/dev/null") });
    const { candidates, ask } = completeLine("migrate file:/dev/fdset/", bench);
    assert.deepEqual([candidates, await ask?.()], [[], { candidates: ["7"], typed: "" }]);
    await vm.hmp("device_add e1000,id=late");
    assert.deepEqual(await at("device_del l"), ["late"]); // not what was there the last time
  } finally {
    Deno.removeSync(directory, { recursive: true });
  }
});

const obstacle = whyNoPty();

qemuTest(`Tab at the prompt asks the QEMU it is attached to${obstacle ? ` (${obstacle})` : ""}`, async () => {
  if (obstacle) return;
  const directory = Deno.makeTempDirSync({ prefix: "miglab-tab-" });
  try {
    await using vm = await machine(directory);
    await using pty = new Pty(`'${Deno.execPath()}' run -A '${MAIN}' --qmp '${vm.qmp}'`, {
      MIGLAB_HISTORY: vm.path("history"),
    });
    await pty.expect(PROMPT);
    await pty.type("device_del ");
    await pty.pressUntil("\t", /nic0 {2}vb0 {3}wd0\n\n/);
    await pty.expect(`${PROMPT}device_del `);
    await pty.type("ni");
    await pty.press("\t");
    await pty.expect("c0 ");
    await pty.press("\x03");
    await pty.expect(PROMPT);
    await pty.type("device_add e1000,net");
    await pty.press("\t");
    await pty.expect("dev=");
    await pty.press("\x03");
    await pty.expect(PROMPT);
    // a list of several screens is asked for once more
    await pty.type("trace-event ");
    await pty.press("\t");
    await pty.expect(/[0-9]{4} possibilities; Tab again shows them all\n/);
    await pty.expect(`${PROMPT}trace-event `);
    await pty.press("\t");
    await pty.expect(/\bqmp_job_dismiss\b/);
    await pty.expect(`${PROMPT}trace-event `);
    await pty.press("\x03");
    await pty.expect(PROMPT);
    // nothing is said of what cannot be completed, and a line goes on behind it
    await pty.type("device_add nonsense,x");
    await pty.press("\t");
    await new Promise((resolve) => setTimeout(resolve, 300));
    await pty.press("\x03");
    assert.equal(await pty.expect(PROMPT), `^C\n${PROMPT}`);
    await pty.type("x/");
    await pty.press("\t");
    await pty.expect("x /fmt addr -- virtual memory dump starting at 'addr'; fmt: ");
    await pty.press("\x03");
    await pty.expect(PROMPT);
    // a QEMU that is gone is not waited for, nor complained about
    vm.kill();
    await vm.status;
    await pty.expect("the next command connects again\n");
    await pty.type("netdev_del ");
    await pty.press("\t");
    await new Promise((resolve) => setTimeout(resolve, 300));
    await pty.press("\x03");
    assert.equal((await pty.expect("^C\n")).includes("rror"), false);
  } finally {
    Deno.removeSync(directory, { recursive: true });
  }
});

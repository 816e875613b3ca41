/**
 * What stands behind the names of monitor commands that only a running QEMU has, as far as the Tab key can help: QEMU's own
 * completion, and names where that offers none (paths of objects, properties of devices).
 * Source: QEMU hmp-commands.hx, hmp-commands-info.hx (args_type, command_completion).
 * @module
 */
import type { HmpArgument } from "./arguments.ts";
import type { NameKind } from "./remote_names.ts";

const REST: HmpArgument = { name: "arguments", type: "rest", optional: true };
const FILE: HmpArgument = { name: "filename", type: "string", optional: true };
const ON_OFF: HmpArgument = { name: "option", type: "onoff", optional: true };

function named(names: NameKind): HmpArgument {
  return { name: names, type: "string", optional: true, names };
}

const BLOCK = [named("blocks"), REST];
const NODE = [named("nodes"), REST];
const JOB = [named("jobs"), REST];
const OBJECT = [named("qom-paths"), REST];
const PROPERTY = [named("qom-paths"), named("qom-properties"), REST];

/** By name, those of `info` with it in front. */
const ARGUMENTS: ReadonlyMap<string, readonly HmpArgument[]> = new Map(Object.entries({
  block_job_cancel: JOB,
  block_job_complete: JOB,
  block_job_pause: JOB,
  block_job_resume: JOB,
  block_job_set_speed: JOB,
  block_resize: BLOCK,
  block_set_io_throttle: BLOCK,
  block_stream: NODE,
  change: [named("blocks"), FILE, REST],
  "chardev-add": [named("chardev-backends")],
  "chardev-change": [named("chardevs"), named("chardev-backends")],
  "chardev-remove": [named("chardevs")],
  "chardev-send-break": [named("chardevs")],
  commit: BLOCK,
  device_add: [named("device-options")],
  device_del: [named("devices")],
  drive_backup: [named("nodes"), FILE, REST],
  drive_del: NODE,
  drive_mirror: [named("nodes"), FILE, REST],
  "dump-guest-memory": [FILE, REST],
  "dump-skeys": [FILE],
  dumpdtb: [FILE],
  eject: BLOCK,
  "info block": BLOCK,
  "info qom-tree": OBJECT,
  "info trace-events": [named("trace-events"), REST],
  "info virtio-queue-element": OBJECT,
  "info virtio-queue-status": OBJECT,
  "info virtio-status": OBJECT,
  "info virtio-vhost-queue-status": OBJECT,
  logfile: [FILE],
  nbd_server_add: NODE,
  netdev_add: [named("netdev-options")],
  netdev_del: [named("netdevs")],
  object_add: [named("object-options")],
  object_del: [named("objects")],
  "qemu-io": NODE,
  "qom-get": PROPERTY,
  "qom-list": OBJECT,
  "qom-set": PROPERTY,
  ringbuf_read: [named("ringbufs"), REST],
  ringbuf_write: [named("ringbufs"), REST],
  screendump: [FILE, REST],
  sendkey: [named("keys"), REST],
  set_link: [named("net-clients"), ON_OFF],
  snapshot_blkdev: [named("blocks"), FILE, REST],
  snapshot_blkdev_internal: BLOCK,
  snapshot_delete_blkdev_internal: BLOCK,
  "trace-event": [named("trace-events"), ON_OFF, REST],
  wavcapture: [FILE, REST],
  watchdog_action: [named("watchdog-actions")],
}));

/**
 * The arguments of a command.
 * @param params as `help` prints them: "[-n] [-v] [device]"; a letter in brackets, without a value, is a flag
 */
export function foreignArguments(name: string, params: string): readonly HmpArgument[] {
  const flags = [...params.matchAll(/\[(-\w(?:\|-\w)*)\]/g)].flatMap(([, letters]) => letters.split("|"));
  return [
    ...flags.map((flag): HmpArgument => ({ name: flag, type: "flag", letter: flag[1] })),
    ...ARGUMENTS.get(name) ?? [REST],
  ];
}

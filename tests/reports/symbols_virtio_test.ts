/**
 * What `inspect --device` says of virtio devices: exact lines of captures, states that no capture has, hostile bytes.
 * @module
 */
import assert from "node:assert/strict";
import fc from "fast-check";
import { openImage } from "../../containers/image.ts";
import { inspectImage } from "../../reports/inspect.ts";
import { devicesText } from "../../reports/inspect_detail.ts";
import { describeDevice, type DescribedField } from "../../reports/symbols/describe.ts";
import type { VmLeaf, VmValue } from "../../stream/vmvalue.ts";
import { loadFixture } from "../fixtures.ts";

/** Lines of a device of a capture from the one that matches `from` on, up to `count` of them. */
async function lines(capture: string, device: string, from: RegExp, count = 1000): Promise<string[]> {
  await using image = await openImage(await loadFixture(capture));
  const [text] = devicesText(await inspectImage(image, { device, sections: false })).split("\n\n");
  const all = text.trimEnd().split("\n");
  const first = all.findIndex((line) => from.test(line));
  assert(first >= 0, all.join("\n"));
  return all.slice(first, first + count);
}

/** The value "virtio" of a device of a capture. */
async function bodyOf(capture: string, device: string): Promise<Uint8Array> {
  await using image = await openImage(await loadFixture(capture));
  const found = image.devices.find(({ name }) => name === device || name.endsWith(`/${device}`))!;
  const leaf = found.walk()!.nodes.find((node) => node.name === "virtio") as VmLeaf;
  return (leaf.value as Uint8Array).slice();
}

function leaf(type: string, value: VmValue): VmLeaf {
  return { kind: "leaf", name: type, type, offset: 0, length: 0, value };
}

function said(idstr: string, type: string, value: VmValue): string[] {
  const device = {
    name: idstr,
    instanceId: 0,
    version: 1,
    offset: 0,
    bytes: 0,
    described: describeDevice(idstr, [leaf(type, value)]),
  };
  return devicesText({ devices: [device] } as unknown as Parameters<typeof devicesText>[0]).trimEnd().split("\n").slice(
    1,
  );
}

/** A number as QEMUFile has it, big-endian. */
function number(bits: number, value: number | bigint): Uint8Array {
  return Uint8Array.from({ length: bits / 8 }, (_, n) => Number(BigInt(value) >> BigInt(bits - 8 - 8 * n) & 0xffn));
}
const u8 = (value: number) => number(8, value);
const u16 = (value: number) => number(16, value);
const u32 = (value: number) => number(32, value);
const u64 = (value: number | bigint) => number(64, value);

function wire(...pieces: readonly ArrayLike<number>[]): Uint8Array {
  const bytes = new Uint8Array(pieces.reduce((sum, { length }) => sum + length, 0));
  let at = 0;
  for (const piece of pieces) {
    bytes.set(piece, at);
    at += piece.length;
  }
  return bytes;
}

function subsection(name: string, ...fields: readonly ArrayLike<number>[]): Uint8Array {
  return wire(u8(5), u8(name.length), new TextEncoder().encode(name), u32(1), ...fields);
}

/** A device on memory-mapped registers: what comes before its own state. */
function mmio(
  {
    status = 0,
    features = 0,
    config = new Uint8Array() as Uint8Array,
    queues = [[64, 0, 0]] as readonly (readonly number[])[],
  },
): Uint8Array {
  return wire(
    ...[0, 0, 0].map((word) => u32(word)),
    u8(status),
    u8(1),
    u16(0),
    u32(features),
    u32(config.length),
    config,
    u32(queues.length),
    ...queues.map(([num, desc, last]) => wire(u32(num), u32(4096), u64(desc), u16(last))),
  );
}

const MMIO = "virtio-mmio@000000000a000000/virtio-";

Deno.test("a disk that firmware reads: status, features, configuration, its queue, the transport's copies", async () => {
  assert.deepEqual(await lines("q35-virtio-devices", "virtio-blk", /^ {2}virtio /, 12), [
    "  virtio                     45605 bytes  virtio-blk on PCI, ACKNOWLEDGE DRIVER DRIVER_OK FEATURES_OK",
    "    PCI",
    "      config                 256 bytes  1af4:1001 virtio-blk, transitional, SCSI controller",
    "        id                   1af4:1001  virtio-blk, transitional",
    "        command              0x0107  IO MEMORY MASTER SERR",
    "        status               0x0010  CAP_LIST",
    "        revision             0x00",
    "        class                0x010000  SCSI controller",
    "        header_type          0x00  endpoint",
    "        bar[0]               I/O at 0xc000",
    "        bar[1]               32 bit memory at 0xfebf7000",
    "        bar[4]               64 bit prefetchable memory at 0xfebd4000",
  ]);
  assert.deepEqual(await lines("q35-virtio-devices", "virtio-blk", /capability\[0x70\]/), [
    "        capability[0x70]",
    "          id                 0x09  Vendor-Specific",
    "          length             0x14",
    "          cfg_type           0x02  notify",
    "          bar                4",
    "          offset             0x3000",
    "          length             0x1000",
    "          notify_off_multiplier 0x4",
    "        capability[0x60]     id 0x09: Vendor-Specific, length 0x10, cfg_type 0x04: device, bar 4, offset 0x2000, " +
    "length 0x1000",
    "        capability[0x50]     id 0x09: Vendor-Specific, length 0x10, cfg_type 0x03: isr, bar 4, offset 0x1000, " +
    "length 0x1000",
    "        capability[0x40]     id 0x09: Vendor-Specific, length 0x10, cfg_type 0x01: common, bar 4, offset 0x0, " +
    "length 0x1000",
    "      irq_state              0 0 0 0",
    "      msix                   2 entries",
    "        0..1                 address 0x0, data 0x0, control 0x1: masked",
    "      config_vector          none",
    "    status                   0x0f  ACKNOWLEDGE DRIVER DRIVER_OK FEATURES_OK",
    "    isr                      0x00",
    "    queue_sel                0",
    "    guest_features           0x0000000100000044  SEG_MAX BLK_SIZE VERSION_1",
    "    config                   57 bytes",
    "      capacity               2048  1 MiB",
    "      size_max               0",
    "      seg_max                254",
    "      geometry.cylinders     2",
    "      geometry.heads         16",
    "      geometry.sectors       63",
    "      blk_size               512",
    "      physical_block_exp     0",
    "      alignment_offset       0",
    "      min_io_size            0",
    "      opt_io_size            0",
    "      wce                    1",
    "      num_queues             1",
    "      max_discard_sectors    4194303",
    "      max_discard_seg        1",
    "      discard_sector_alignment 1",
    "      max_write_zeroes_sectors 4194303",
    "      max_write_zeroes_seg   1",
    "      write_zeroes_may_unmap 1",
    "    vq",
    "      requests 0             num 256, desc 0xfdd000, avail 0xfde000, used 0xfdf000, last_avail_idx 1, vector none",
    "    device                   requests none",
    "    started                  true",
    "    extra_state",
    "      dfselect               1",
    "      gfselect               1",
    "      guest_features         0x0000000100000044  SEG_MAX BLK_SIZE VERSION_1",
    "      vqs",
    "        0                    num 0, enabled true, desc 0xfdd000, avail 0xfde000, used 0xfdf000",
  ]);
});

Deno.test("state of their own: a network device, a balloon, a console, a GPU, memory", async () => {
  assert.deepEqual(await lines("q35-virtio-devices", "virtio-net", /^ {4}vq/), [
    "    vq",
    "      rx 0                   num 256, desc 0x0, avail 0x0, used 0x0, last_avail_idx 0, vector none",
    "      tx 0                   num 256, desc 0x0, avail 0x0, used 0x0, last_avail_idx 0, vector none",
    "      control                num 64, desc 0x0, avail 0x0, used 0x0, last_avail_idx 0, vector none",
    "    device",
    "      mac                    52:54:00:c0:ff:ee",
    "      tx_waiting             0",
    "      mergeable_rx_bufs      0",
    "      status                 0x1  LINK_UP",
    "      promisc                true",
    "      allmulti               false",
    "      mac_table.in_use       0",
    "      vlans                  all",
    "      has_vnet_hdr           0",
    "      mac_table.multi_overflow false",
    "      mac_table.uni_overflow false",
    "      alluni                 false",
    "      nomulti                false",
    "      nouni                  false",
    "      nobcast                false",
    "      has_ufo                false",
    "    disabled                 true",
    "    extra_state              dfselect 0, gfselect 0, guest_features 0x0000000000000000, vqs all zero",
  ]);
  assert.deepEqual(await lines("q35-virtio-devices", "virtio-balloon", /^ {4}device/, 1), [
    "    device                   num_pages 0: 0 bytes, actual 0: 0 bytes",
  ]);
  assert.deepEqual(await lines("q35-virtio-devices", "virtio-console", /^ {4}vq/, 10), [
    "    vq",
    "      0..1                   num 128, desc 0x0, avail 0x0, used 0x0, last_avail_idx 0, vector none",
    "      2..3                   num 32, desc 0x0, avail 0x0, used 0x0, last_avail_idx 0, vector none",
    "      4..63                  num 128, desc 0x0, avail 0x0, used 0x0, last_avail_idx 0, vector none",
    "    device",
    "      cols                   0",
    "      rows                   0",
    "      max_nr_ports           31",
    "      ports_map              0x00000003  ports 0 1",
    "      ports",
  ]);
  assert.deepEqual(await lines("q35-virtio-devices", "virtio-gpu", /^ {2}virtio-gpu/, 6), [
    "  virtio-gpu                 76 bytes",
    "    resources                none",
    "    enable                   0",
    "    max_outputs              1",
    "    scanout",
    "      scanout 0",
  ]);
  assert.deepEqual(await lines("q35-virtio-mem-dimm", "virtio-mem", /^ {4}device/, 1), [
    "    device                   usable_region_size 0 bytes, requested_size 0 bytes",
  ]);
});

Deno.test("a device on channel I/O, and one on memory-mapped registers", async () => {
  assert.deepEqual(await lines("s390x-ccw-file", "virtio-rng", /^ {2}virtio /), [
    "  virtio                     16969 bytes  virtio-rng on CCW",
    "    CCW",
    "      cssid                  0xfe",
    "      ssid                   0x0",
    "      schid                  0x0000",
    "      devno                  0x0001",
    "      thinint_active         false",
    "      indicators             none",
    "      indicators2            none",
    "      summary_indicator      none",
    "      config_vector          none",
    "      ind_offset             0",
    "      summary_offset         0",
    "      thinint_isc            0",
    "      revision               -1",
    "    status                   0x00  reset",
    "    isr                      0x00",
    "    queue_sel                0",
    "    guest_features           0x0000000000000000",
    "    config                   0 bytes",
    "    vq",
    "      requests               num 8, desc 0x0, avail 0x0, used 0x0, last_avail_idx 0, vector none",
  ]);
  assert.deepEqual(await lines("microvm-file", "virtio-blk", /^ {2}virtio /), [
    "  virtio                     139 bytes  virtio-blk on MMIO",
    "    MMIO                     host_features_sel 0, guest_features_sel 0, guest_page_shift 0",
    "    status                   0x00  reset",
    "    isr                      0x00",
    "    queue_sel                0",
    "    guest_features           0x0000000000000000",
    "    config                   57 bytes  all zero",
    "    vq",
    "      requests 0             num 256, align 4096, desc 0x0, last_avail_idx 0",
    "    device                   requests none",
  ]);
});

Deno.test("a legacy network device with several pairs of queues, filters and scaling", () => {
  const config = Uint8Array.from([0x52, 0x54, 0, 1, 2, 3, 0, 3, 0, 2]);
  const vlans = new Uint8Array(512);
  vlans[1] = 0x21;
  const device = wire(
    [0x52, 0x54, 0, 1, 2, 3],
    ...[0, 1].map((word) => u32(word)),
    u16(1),
    u8(0),
    u8(7),
    u32(2),
    [1, 0, 0x5e, 0, 0, 1, 0x33, 0x33, 0, 0, 0, 1],
    vlans,
    u32(1),
    new Uint8Array(7),
    u16(2),
    u16(2),
    u32(1),
    u64(0x82),
    subsection(
      "virtio-net-device/rss",
      u8(1),
      u8(1),
      u8(0),
      u32(6),
      u16(2),
      u16(1),
      new Uint8Array(40),
      u16(0),
      u16(1),
    ),
  );
  const body = wire(
    mmio({ status: 7, features: 1 << 22 | 4, config, queues: [[256, 0x10000, 5], [256, 0, 0], [64, 0, 0]] }),
    device,
    subsection("virtio/device_endian", u8(2)),
    subsection("virtio/broken", u8(1)),
  );
  assert.deepEqual(said(MMIO + "net", "virtio", body), [
    `  virtio                     ${body.length} bytes  virtio-net on MMIO, ACKNOWLEDGE DRIVER DRIVER_OK`,
    "    MMIO                     host_features_sel 0, guest_features_sel 0, guest_page_shift 0",
    "    status                   0x07  ACKNOWLEDGE DRIVER DRIVER_OK",
    "    isr                      0x01  QUEUE",
    "    queue_sel                0",
    "    guest_features           0x0000000000400004  CTRL_GUEST_OFFLOADS MQ",
    "    config                   10 bytes",
    "      mac                    52:54:00:01:02:03",
    "      status                 0x3  LINK_UP ANNOUNCE",
    "      max_virtqueue_pairs    2",
    "    vq",
    "      rx 0                   num 256, align 4096, desc 0x10000, avail 0x11000, used 0x12000, last_avail_idx 5",
    "      tx 0                   num 256, align 4096, desc 0x0, last_avail_idx 0",
    "      control                num 64, align 4096, desc 0x0, last_avail_idx 0",
    "    device",
    "      mac                    52:54:00:01:02:03",
    "      tx_waiting             0",
    "      mergeable_rx_bufs      1",
    "      status                 0x1  LINK_UP",
    "      promisc                false",
    "      allmulti               7",
    "      mac_table.in_use       2",
    "      mac_table.macs         01:00:5e:00:00:01 33:33:00:00:00:01",
    "      vlans                  8 13",
    "      has_vnet_hdr           1",
    "      mac_table.multi_overflow false",
    "      mac_table.uni_overflow false",
    "      alluni                 false",
    "      nomulti                false",
    "      nouni                  false",
    "      nobcast                false",
    "      has_ufo                false",
    "      max_queue_pairs        2",
    "      curr_queue_pairs       2",
    "      tx_waiting[1..]        1",
    "      curr_guest_offloads    0x82  CSUM TSO4",
    "      rss_data",
    "        enabled              true",
    "        redirect             true",
    "        populate_hash        false",
    "        hash_types           0x6  TCPv4 UDPv4",
    "        default_queue        1",
    "        key                  " + "00".repeat(40),
    "        indirections_table   0 1",
    "    device_endian            2  big",
    "    broken                   true",
  ]);
});

Deno.test("numbers of a legacy guest are in the order in which those with a limit keep to it", () => {
  // capacity, size_max, seg_max, which is 254 at most in QEMU's queues of 256
  const config = wire(u64(2048), u32(0), u32(254));
  const shown = (config: Uint8Array, features = 0) => {
    const lines = said(MMIO + "blk", "virtio", wire(mmio({ features, config }), u8(0)));
    const first = lines.findIndex((line) => line.startsWith("    config "));
    return lines.slice(first, lines.indexOf("    vq")).map((line) => line.trim().replace(/ +/g, " "));
  };
  const said2048 = ["config 16 bytes", "capacity 2048 1 MiB", "size_max 0", "seg_max 254"];
  assert.deepEqual(shown(config), said2048);
  assert.deepEqual(shown(wire(u64(2048).reverse(), u32(0), u32(254).reverse())), said2048);
  assert.deepEqual(shown(wire(u64(2048), u32(0), u32(0x01020304))), ["config 16 bytes"]);
});

/** VirtQueueElementOld of a little-endian host: one buffer out, one in. */
function element(): Uint8Array {
  const bytes = new Uint8Array(49168), view = new DataView(bytes.buffer);
  [3, 1, 1].forEach((value, n) => view.setUint32(4 * n, value, true));
  view.setBigUint64(16, 0x2000n, true);
  view.setBigUint64(16 + 8192, 0x1000n, true);
  view.setBigUint64(16 + 2 * 8192 + 8, 512n, true);
  view.setBigUint64(16 + 2 * 8192 + 16384 + 8, 16n, true);
  return bytes;
}

Deno.test("requests under way, with one queue or several, with packed rings or not", () => {
  for (const many of [false, true]) {
    for (const packed of [false, true]) {
      const body = wire(
        mmio({ queues: many ? [[8, 0, 0], [8, 0, 0]] : [[8, 0, 0]] }),
        u8(1),
        many ? wire(u32(1)) : [],
        packed ? wire(u32(2)) : [],
        element(),
        u8(0),
      );
      const shown = said(MMIO + "blk", "virtio", body);
      assert.deepEqual(shown.slice(shown.indexOf("    device")), [
        "    device",
        "      requests",
        "        0",
        ...(many ? ["          queue              1"] : []),
        ...(packed ? ["          ndescs             2"] : []),
        "          index              3",
        "          out",
        "            0                16 bytes at 0x1000",
        "          in",
        "            0                512 bytes at 0x2000",
      ]);
    }
  }
});

Deno.test("a balloon, an IOMMU, memory with its bitmap, a port with a buffer under way", () => {
  const own = (kind: string, ...state: readonly ArrayLike<number>[]) => {
    const shown = said(MMIO + kind, "virtio", wire(mmio({}), ...state));
    return shown.slice(shown.findIndex((line) => line.startsWith("    device")));
  };
  assert.deepEqual(
    own(
      "balloon",
      u32(0x4000),
      u32(0x8000),
      subsection("virtio-balloon-device/free-page-report", u32(0x80000001), u32(2)),
      subsection("virtio-balloon-device/page-poison", u32(0xaa)),
    ),
    [
      "    device",
      "      num_pages              16384  64 MiB",
      "      actual                 32768  128 MiB",
      "      free_page_hint_cmd_id  0x80000001",
      "      free_page_hint_status  2  start",
      "      poison_val             0xaa",
    ],
  );
  assert.deepEqual(
    own(
      "iommu",
      u32(1),
      u8(1),
      u64(7),
      u32(7),
      u32(1),
      u8(1),
      u64(0x1000),
      u64(0x1fff),
      u64(0x9000),
      u32(3),
      u8(0),
      u8(1),
      u32(8),
      u8(0),
      u8(0),
      u8(0),
      u8(1),
    ),
    [
      "    device",
      "      domains",
      "        domain 7",
      "          mappings",
      "            0                0x1000..0x1fff at 0x9000  read write",
      "          endpoints          0x0008",
      "          bypass             false",
      "      config.bypass          true",
    ],
  );
  assert.deepEqual(
    own(
      "mem",
      u64(0x100000000n),
      u64(1 << 30),
      u64(1 << 21),
      u32(1),
      u64(1 << 29),
      u64(2 << 21),
      u64(2 << 21),
      u64(3),
      ...Array.from({ length: 7 }, () => u64(0)),
    ),
    [
      "    device",
      "      addr                   0x100000000",
      "      region_size            1 GiB",
      "      block_size             2 MiB",
      "      node                   1",
      "      usable_region_size     512 MiB",
      "      size                   4 MiB",
      "      requested_size         4 MiB",
      "      bitmap                 2 of 512 blocks plugged",
    ],
  );
  // what a big-endian guest reads is saved by a little-endian host turned around
  assert.deepEqual(
    own(
      "console",
      u16(0x5000),
      u16(0x1900),
      u32(0x02000000),
      u32(3),
      u32(1),
      u32(1),
      u8(1),
      u8(0),
      u32(1),
      u32(0),
      u64(4),
      element(),
    ),
    [
      "    device",
      "      cols                   80",
      "      rows                   25",
      "      max_nr_ports           2",
      "      ports_map              0x00000003  ports 0 1",
      "      ports",
      "        port 1",
      "          guest_connected    true",
      "          host_connected     false",
      "          iov_idx            0",
      "          iov_offset         4",
      "          elem",
      "            index            3",
      "            out",
      "              0              16 bytes at 0x1000",
      "            in",
      "              0              512 bytes at 0x2000",
    ],
  );
});

Deno.test("resources of a GPU with their backing", () => {
  const scanout = (...rest: number[]) => wire(...rest.map((word) => u32(word)));
  const body = wire(
    ...[5, 2, 1, 2, 1].map((word) => u32(word)),
    u64(0x100000),
    u32(8),
    new Uint8Array(8),
    u32(0),
    u32(1),
    u32(1),
    scanout(5, 2, 1, 0, 0xffff_ffff, 0, 0, 0, 0, 0),
  );
  assert.deepEqual(said("0000:00:08.0/virtio-gpu", "virtio-gpu", body).slice(1, 14), [
    "    resources",
    "      resource 5",
    "        width                2",
    "        height               1",
    "        format               2  B8G8R8X8",
    "        backing",
    "          0                  8 bytes at 0x100000",
    "    enable                   1",
    "    max_outputs              1",
    "    scanout",
    "      scanout 0",
    "        resource_id          5",
    "        width                2",
  ]);
});

Deno.test("requests of a SCSI disk: none, or the first as far as it is of SCSI alone", async () => {
  assert.deepEqual(await lines("q35-virtio-devices", "scsi-disk", /^ {4}requests/, 1), [
    "    requests                 none",
  ]);
  const read10 = [0x28, 0, 0, 0, 0, 8, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0];
  const body = wire(u8(1), read10, u32(7), u32(2), new Uint8Array(20));
  assert.deepEqual(said("0000:00:06.0/0:0:0/scsi-disk", "scsi-requests", body), [
    "  scsi-requests              45 bytes",
    "    0                        retry true, cmd 28 00 00 00 00 08 00 00 01 00 00 00 00 00 00 00, tag 7, lun 2",
    "    rest                     20 bytes  of the adapter and the device",
  ]);
});

Deno.test("what is of another layout is left as it is", async () => {
  const body = await bodyOf("q35-virtio-devices", "virtio-rng");
  const idstr = "0000:00:04.0/virtio-rng";
  // the last subsection, disabled, is the one that is cut
  const cut = said(idstr, "virtio", body.subarray(0, body.length - 1));
  assert.equal(cut.at(-1), "    rest                     21 bytes  of another layout");
  assert.match(cut.at(-2)!, /^ {4}extra_state .*vqs all zero$/);
  // a kind nobody knows: its own state is told apart by the subsections behind it
  const strange = said("0000:00:04.0/virtio-strange", "virtio", body);
  assert.equal(strange[0], `  virtio                     ${body.length} bytes  virtio-rng on PCI`);
  const more = wire(mmio({}), [1, 2, 3], subsection("virtio/broken", u8(1)));
  assert.deepEqual(said(MMIO + "strange", "virtio", more).slice(-2), [
    "    device                   3 bytes  of a layout that is not known",
    "    broken                   true",
  ]);
  assert.deepEqual(said(MMIO + "rng", "virtio", body).at(-1)!.slice(0, 8), "    rest");
  // neither path nor bytes tell the transport
  assert.match(said("virtio-rng", "virtio", Uint8Array.of(1, 2, 3))[0], /01 02 03$/);
});

/** All text of fields. */
function count(fields: readonly DescribedField[]): number {
  return fields.reduce((sum, { children = [] }) => sum + 1 + count(children), 0);
}

Deno.test("no bytes make a rule of virtio throw, and what it gives is bounded", async () => {
  const bodies = new Map<string, Uint8Array>();
  for (const name of ["blk", "net", "balloon", "rng", "console", "scsi", "input", "gpu"]) {
    bodies.set(`0000:00:01.0/virtio-${name}`, await bodyOf("q35-virtio-devices", `virtio-${name}`));
  }
  bodies.set("/fe.0.0001/virtio-rng", await bodyOf("s390x-ccw-file", "virtio-rng"));
  bodies.set(MMIO + "blk", await bodyOf("microvm-file", "virtio-blk"));
  bodies.set(MMIO + "iommu", wire(mmio({}), u32(0), u8(0), u8(0)));
  bodies.set(MMIO + "mem", wire(mmio({}), new Uint8Array(64)));
  bodies.set("virtio-net", new Uint8Array(600));
  const idstrs = [...bodies.keys()];
  const changes = fc.array(fc.tuple(fc.nat(2000), fc.integer({ min: 0, max: 255 })), { maxLength: 6 });
  fc.assert(
    fc.property(fc.constantFrom(...idstrs), fc.constantFrom(...idstrs), changes, fc.option(fc.nat(50_000)), (
      idstr,
      other,
      changes,
      cut,
    ) => {
      const body = bodies.get(other)!.slice(0, cut ?? undefined);
      for (const [at, value] of changes) if (at < body.length) body[at] = value;
      assert(count(describeDevice(idstr, [leaf("virtio", body)])) < 100_000);
    }),
    { numRuns: 1500 },
  );
  const value = fc.oneof(fc.uint8Array({ maxLength: 400 }), fc.integer(), fc.bigInt(), fc.boolean(), fc.constant(null));
  const type = fc.constantFrom("virtio", "virtio-gpu", "blob", "scsi-requests", "uint64");
  fc.assert(
    fc.property(
      fc.constantFrom(...idstrs, "0000:00:01.0/virtio-mem-device-early"),
      type,
      value,
      (idstr, type, value) => {
        assert(
          count(describeDevice(idstr, [{ ...leaf(type, value), name: type === "uint64" ? "size" : type }])) < 100_000,
        );
      },
    ),
    { numRuns: 1500 },
  );
});

/**
 * State of a network device: addresses it listens to, filters, pairs of queues, receive-side scaling.
 *
 *     mac[6] | u32 tx_waiting | u32 mergeable_rx_bufs | u16 status | u8 promisc | u8 allmulti | u32 in_use | in_use * mac
 *     vlans[512] | u32 has_vnet_hdr | u8 multi_overflow | uni_overflow | alluni | nomulti | nouni | nobcast | has_ufo
 *     u16 max_queue_pairs, u16 curr_queue_pairs, where there is more than one
 *     u32 tx_waiting of each current pair but the first | u64 curr_guest_offloads, with CTRL_GUEST_OFFLOADS
 *     subsection virtio-net-device/rss
 *
 * vlans is a bitmap of u32 in the byte order of the host, taken to be little-endian. Source: QEMU hw/net/virtio-net.c
 * (vmstate_virtio_net_device).
 * @module
 */
import { bitNames, bits, hexText, type Part } from "./rule.ts";
import { macText, numberPart } from "./virtio_space.ts";
import { Misfit, type Wire } from "./virtio_wire.ts";

/** Bytes of the bitmap of 4096 VLANs, of an address, of an RSS key. */
const VLANS = 512, MAC = 6, RSS_KEY = 40;
/** VLANs listed. */
const LISTED = 32;
/** VIRTIO_NET_HASH_TYPE_*. */
const HASH_TYPES = bits("0 IPv4, 1 TCPv4, 2 UDPv4, 3 IPv6, 4 TCPv6, 5 UDPv6, 6 IP_EX, 7 TCP_EX, 8 UDP_EX");
/** Bits of offloads are those of features. */
const OFFLOADS = bits("1 CSUM, 7 TSO4, 8 TSO6, 9 ECN, 10 UFO, 54 USO4, 55 USO6, 61 RSC_EXT");

/** With one pair of queues or more, with and without offloads that the guest may switch. */
export function netLayouts(): readonly ((wire: Wire) => Part[])[] {
  return [[false, true], [false, false], [true, true], [true, false]].map(([many, offloads]) => (wire) =>
    netParts(wire, many, offloads)
  );
}

function netParts(wire: Wire, many: boolean, offloads: boolean): Part[] {
  const flag = (name: string): Part => flagPart(name, wire.u8());
  const parts: Part[] = [
    { name: "mac", text: macText(wire.take(MAC)) },
    numberPart("tx_waiting", wire.u32()),
    numberPart("mergeable_rx_bufs", wire.u32()),
    numberPart("status", wire.u16(), "link"),
    flag("promisc"),
    flag("allmulti"),
    ...macTable(wire),
    { name: "vlans", text: vlansText(wire.take(VLANS)) },
    numberPart("has_vnet_hdr", wire.u32()),
  ];
  const flags = [
    "mac_table.multi_overflow",
    "mac_table.uni_overflow",
    "alluni",
    "nomulti",
    "nouni",
    "nobcast",
    "has_ufo",
  ];
  parts.push(...flags.map(flag));
  if (many) {
    const most = wire.u16(), current = wire.u16();
    if (most < 2 || current > most) throw new Misfit();
    parts.push(numberPart("max_queue_pairs", most), numberPart("curr_queue_pairs", current));
    const waiting = Array.from({ length: Math.max(current - 1, 0) }, () => wire.u32());
    parts.push({ name: "tx_waiting[1..]", text: waiting.join(" ") || "none" });
  }
  if (offloads) {
    const value = wire.u64();
    const said = bitNames(value, OFFLOADS);
    parts.push({ name: "curr_guest_offloads", value, text: hexText(value), ...(said ? { meaning: said } : {}) });
  }
  if (wire.enter("virtio-net-device/rss")) parts.push({ name: "rss_data", parts: rssParts(wire) });
  return parts;
}

/** What a guest sets to any value; 0 and 1 are false and true. */
function flagPart(name: string, value: number): Part {
  return { name, value: value > 1 ? value : value === 1 };
}

function macTable(wire: Wire): Part[] {
  const count = wire.u32();
  if (count * MAC > wire.left) throw new Misfit();
  const macs = Array.from({ length: count }, () => macText(wire.take(MAC)));
  return [numberPart("mac_table.in_use", count), ...(count ? [{ name: "mac_table.macs", text: macs.join(" ") }] : [])];
}

function vlansText(bitmap: Uint8Array): string {
  if (bitmap.every((byte) => byte === 0xff)) return "all";
  const set: number[] = [];
  bitmap.forEach((byte, at) => {
    for (let bit = 0; bit < 8; bit++) if (byte >> bit & 1) set.push(at * 8 + bit);
  });
  if (set.length === 0) return "none";
  const listed = set.slice(0, LISTED).join(" ");
  return set.length > LISTED ? `${listed} ... ${set.length} of 4096` : listed;
}

function rssParts(wire: Wire): Part[] {
  const parts: Part[] = ["enabled", "redirect", "populate_hash"].map((name) => ({ name, value: wire.bool() }));
  const types = wire.u32(), count = wire.u16(), otherwise = wire.u16();
  parts.push({ name: "hash_types", value: types, text: hexText(types), meaning: bitNames(types, HASH_TYPES) });
  parts.push(numberPart("default_queue", otherwise), { name: "key", text: wire.take(RSS_KEY).toHex() });
  const table = Array.from({ length: count }, () => wire.u16());
  return [...parts, { name: "indirections_table", text: table.join(" ") || "none" }];
}

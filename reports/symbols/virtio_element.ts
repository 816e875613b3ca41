/**
 * A request that was taken from a queue and not yet given back: VirtQueueElementOld, a C struct of the host, so in its byte order.
 *
 *     u32 index | u32 out_num | u32 in_num | 4 bytes | u64 in_addr[1024] | u64 out_addr[1024] | in_sg[1024] | out_sg[1024]
 *     sg     u64 base, of no meaning here, u64 length
 *
 * With packed rings u32 ndescs, big-endian, goes before it. Source: QEMU hw/virtio/virtio.c (qemu_put_virtqueue_element).
 * @module
 */
import { hexText, type Part } from "./rule.ts";
import { Misfit, type Wire } from "./virtio_wire.ts";

/** VIRTQUEUE_MAX_SIZE. */
const MOST = 1024;
const IN_ADDR = 16, OUT_ADDR = IN_ADDR + 8 * MOST, IN_SG = OUT_ADDR + 8 * MOST, OUT_SG = IN_SG + 16 * MOST;
const BYTES = OUT_SG + 16 * MOST;

/** The next request. @param packed whether the device offers packed rings */
export function elementParts(wire: Wire, packed: boolean): Part[] {
  const parts: Part[] = [];
  if (packed) {
    const ndescs = wire.u32();
    if (ndescs > MOST) throw new Misfit();
    parts.push({ name: "ndescs", value: ndescs, text: String(ndescs) });
  }
  const bytes = wire.take(BYTES);
  const view = new DataView(bytes.buffer, bytes.byteOffset, BYTES);
  const little = [true, false].find((little) => [0, 4, 8].every((at) => view.getUint32(at, little) <= MOST));
  if (little === undefined) throw new Misfit();
  const [index, out, into] = [0, 4, 8].map((at) => view.getUint32(at, little));
  const list = (name: string, count: number, addresses: number, lengths: number): Part => ({
    name,
    parts: Array.from({ length: count }, (_, n) => {
      const address = view.getBigUint64(addresses + 8 * n, little);
      const length = view.getBigUint64(lengths + 16 * n + 8, little);
      return { name: String(n), text: `${length} bytes at ${hexText(address)}` };
    }),
  });
  return [
    ...parts,
    { name: "index", value: index, text: String(index) },
    list("out", out, OUT_ADDR, OUT_SG),
    list("in", into, IN_ADDR, IN_SG),
  ];
}

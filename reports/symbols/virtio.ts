/**
 * Virtio devices: transport, status, features, configuration, queues, state of their own.
 *
 *     virtio      "virtio": see virtio_state.ts
 *     virtio-gpu  "virtio-gpu", "blob": resources and what is scanned out, see virtio_gpu.ts
 *
 * Without VERSION_1 numbers of a configuration are in the byte order of the guest: a stream tells it where it is not the machine's usual
 * one, which is big for channel I/O and for a PCI host of pseries, and taken to be little for the others. Source: QEMU
 * hw/virtio/virtio.c (vmstate_info_virtio, virtio_device_endian_needed), hw/display/virtio-gpu.c.
 * @module
 */
import type { SymbolRule } from "./rule.ts";
import { describeBlobs, describeGpu } from "./virtio_gpu.ts";
import { numberPart } from "./virtio_space.ts";
import { describeVirtio } from "./virtio_state.ts";
import { transportKind } from "./virtio_transport.ts";

/** See the module. */
export const VIRTIO: readonly SymbolRule[] = [
  {
    type: "virtio",
    describe(value, _, { idstr, name }) {
      if (!(value instanceof Uint8Array)) return undefined;
      const kind = transportKind(idstr);
      return describeVirtio(value, name, kind, kind === "CCW" || idstr.startsWith("pci@"));
    },
  },
  {
    device: /^virtio-gpu$/,
    type: "virtio-gpu",
    describe: (value) => value instanceof Uint8Array ? describeGpu(value) : undefined,
  },
  {
    device: /^virtio-gpu$/,
    type: "blob",
    describe: (value) => value instanceof Uint8Array ? describeBlobs(value) : undefined,
  },
  {
    device: /^virtio-mem-device-early$/,
    field: /(^|\.)(region_size|block_size|size|addr)$/,
    describe(value, [, , name]) {
      if (typeof value !== "bigint" || value < 0n) return undefined;
      return { text: numberPart(name, value, name === "addr" ? "hex" : "bytes").text };
    },
  },
];

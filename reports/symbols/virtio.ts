/**
 * Virtio devices: transport, status, features, configuration, queues, state of their own.
 *
 *     virtio      "virtio": see virtio_state.ts
 *     virtio-gpu  "virtio-gpu", "blob": resources and what is scanned out, see virtio_gpu.ts
 *     requests    "scsi-requests", of SCSI devices: see virtio_scsi.ts
 *
 * Source: QEMU hw/virtio/virtio.c (vmstate_info_virtio), virtio-mem.c (vmstate_virtio_mem_device_early),
 * hw/display/virtio-gpu.c.
 * @module
 */
import type { SymbolRule } from "./rule.ts";
import { describeBlobs, describeGpu } from "./virtio_gpu.ts";
import { describeRequests } from "./virtio_scsi.ts";
import { numberPart } from "./virtio_space.ts";
import { describeVirtio } from "./virtio_state.ts";
import { transportKind } from "./virtio_transport.ts";

/** See the module. */
export const VIRTIO: readonly SymbolRule[] = [
  {
    type: "virtio",
    describe: (value, _, { idstr, name }) =>
      value instanceof Uint8Array ? describeVirtio(value, name, transportKind(idstr)) : undefined,
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
    type: "scsi-requests",
    describe: (value) => value instanceof Uint8Array ? describeRequests(value) : undefined,
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

/**
 * State of a virtio GPU: resources with their backing in guest memory, and what is shown where.
 *
 *     resources   u32 id | u32 width | u32 height | u32 format | u32 count | count * (u64 address, u32 length)
 *                 the image, rows of 4-byte pixels; an id of 0 ends them
 *     blobs       u32 id | u32 size | u32 count | count * (u64 address, u32 length); an id of 0 ends them
 *     scanouts    i32 enable | u32 max_outputs | max_outputs * (u32 resource_id, width, height | i32 x, y
 *                 cursor: u32 resource_id, hot_x, hot_y, x, y | from version 2 on fb: u32 format, bytes_pp, width, height, stride, offset)
 *
 * Source: QEMU hw/display/virtio-gpu.c (virtio_gpu_save, virtio_gpu_blob_save, vmstate_virtio_gpu_scanouts).
 * @module
 */
import { hexText, type Meaning, type Part } from "./rule.ts";
import { numberPart } from "./virtio_space.ts";
import { Misfit, Wire } from "./virtio_wire.ts";

/** VIRTIO_GPU_MAX_SCANOUTS. */
const MOST_SCANOUTS = 16;
const PIXEL = 4, BACKING = 12;
/** VIRTIO_GPU_FORMAT_*. */
const FORMATS: Readonly<Record<number, string>> = {
  1: "B8G8R8A8",
  2: "B8G8R8X8",
  3: "A8R8G8B8",
  4: "X8R8G8B8",
  67: "R8G8B8A8",
  68: "X8B8G8R8",
  121: "A8B8G8R8",
  134: "R8G8B8X8",
};
const SCANOUT = ["resource_id", "width", "height", "x", "y"];
const CURSOR = ["cursor.resource_id", "cursor.hot_x", "cursor.hot_y", "cursor.pos.x", "cursor.pos.y"];
const FRAMEBUFFER = ["fb.format", "fb.bytes_pp", "fb.width", "fb.height", "fb.stride", "fb.offset"];

/** Resources and scanouts; undefined where bytes are not like that to their end. */
export function describeGpu(bytes: Uint8Array): Meaning | undefined {
  // without the framebuffer in older machines
  return whole(bytes, (wire) => gpuParts(wire, [...SCANOUT, ...CURSOR, ...FRAMEBUFFER])) ??
    whole(bytes, (wire) => gpuParts(wire, [...SCANOUT, ...CURSOR]));
}

/** Resources that are blobs; undefined where bytes are not like that to their end. */
export function describeBlobs(bytes: Uint8Array): Meaning | undefined {
  return whole(
    bytes,
    (wire) => [resources(wire, (wire) => [numberPart("blob_size", wire.u32(), "bytes"), ...backing(wire)])],
  );
}

function gpuParts(wire: Wire, names: readonly string[]): Part[] {
  const images = resources(wire, (wire) => {
    const width = wire.u32(), height = wire.u32(), format = wire.u32();
    const parts: Part[] = [
      numberPart("width", width),
      numberPart("height", height),
      { name: "format", value: format, text: String(format), meaning: FORMATS[format] },
      ...backing(wire),
    ];
    wire.take(width * height * PIXEL);
    return parts;
  });
  const enable = wire.u32() | 0, count = wire.u32();
  if (count > MOST_SCANOUTS) throw new Misfit();
  const scanouts = Array.from({ length: count }, (_, n): Part => ({
    name: String(n),
    symbol: `scanout ${n}`,
    parts: names.map((name) => numberPart(name, name === "x" || name === "y" ? wire.u32() | 0 : wire.u32())),
  }));
  return [images, numberPart("enable", enable), numberPart("max_outputs", count), { name: "scanout", parts: scanouts }];
}

function resources(wire: Wire, each: (wire: Wire) => Part[]): Part {
  const parts: Part[] = [];
  for (let id = wire.u32(); id !== 0; id = wire.u32()) {
    parts.push({ name: String(id), symbol: `resource ${id}`, parts: each(wire) });
  }
  return parts.length === 0 ? { name: "resources", text: "none" } : { name: "resources", parts };
}

function backing(wire: Wire): Part[] {
  const count = wire.u32();
  if (count * BACKING > wire.left) throw new Misfit();
  const places = Array.from({ length: count }, (_, n): Part => {
    const address = wire.u64();
    return { name: String(n), text: `${wire.u32()} bytes at ${hexText(address)}` };
  });
  return [{ name: "backing", ...(count === 0 ? { text: "none" } : { parts: places }) }];
}

function whole(bytes: Uint8Array, read: (wire: Wire) => Part[]): Meaning | undefined {
  const wire = new Wire(bytes);
  try {
    const parts = read(wire);
    return wire.left === 0 ? { text: `${bytes.length} bytes`, parts } : undefined;
  } catch (error) {
    if (error instanceof Misfit) return undefined;
    throw error;
  }
}

/**
 * Guest-physical memory of an image: where each piece of a block lies, and bytes by physical address.
 *
 * The map is that of the machine the stream names, with the shadow RAM its host bridge had switched on and what PCI BARs
 * show. See guest/physical.ts.
 * @module
 */
import type { DeviceSection, PhysicalRange } from "../guest/guest.ts";
import { GuestMemory, type RamBlockSpec } from "../guest/memory.ts";
import { isPciDevice } from "../guest/pci_config.ts";
import { physicalMapFor } from "../guest/physical.ts";
import type { Image } from "./image.ts";
import { MEMORY_BLOCK } from "./image_ram.ts";
import { isMemoryAlone } from "./memory_image.ts";

/** More RAM than this is a stream's mistake: 16 TiB. */
const RAM_LIMIT = 2 ** 44;
/** No PCI device's section is longer: 16 MiB. */
const DEVICE_LIMIT = 1 << 24;

/**
 * Ranges of guest-physical memory that the image's RAM fills, by address, not overlapping.
 * @returns undefined when it is not known where this machine has its RAM
 */
export function physicalRanges(image: Image): readonly PhysicalRange[] | undefined {
  if (isMemoryAlone(image)) return ownRanges(image);
  if (image.ram.totalBytes > RAM_LIMIT) return undefined;
  const specs = image.ram.blocks.map(({ id, bytes, address }): RamBlockSpec => ({
    idstr: id,
    usedLength: bytes,
    ...(address !== undefined ? { address } : {}),
  }));
  // the map depends on the PC's host bridge and on devices that have RAM of their own
  const devices = image.devices.filter(({ name, bytes }) => isPciDevice(name) && bytes < DEVICE_LIMIT).map((
    device,
  ): DeviceSection => ({
    idstr: device.name,
    instanceId: device.instanceId,
    versionId: device.version,
    sectionId: device.sectionId,
    body: device.body(),
  }));
  return physicalMapFor(image.stream.machine ?? "", new GuestMemory(specs), devices);
}

/** Memory alone says itself where it is. */
function ownRanges({ core, ram }: Image): PhysicalRange[] {
  const segments = core?.segments ?? [{ address: 0, length: ram.totalBytes }];
  return segments.map(({ address, length }) => {
    return { base: address, length, idstr: MEMORY_BLOCK, blockOffset: address };
  });
}

/**
 * Bytes at a guest-physical address; the image's RAM must be prepared.
 * @returns undefined where part of them is not RAM
 */
export function readPhysical(
  image: Image,
  ranges: readonly PhysicalRange[],
  address: number,
  length: number,
): Uint8Array | undefined {
  const bytes = new Uint8Array(length);
  for (let done = 0; done < length;) {
    const at = address + done;
    const range = ranges.find(({ base, length }) => at >= base && at < base + length);
    if (!range) return undefined;
    const n = Math.min(length - done, range.base + range.length - at);
    image.ram.readRange(range.idstr, range.blockOffset + at - range.base, bytes.subarray(done, done + n));
    done += n;
  }
  return bytes;
}

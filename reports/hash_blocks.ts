/**
 * SHA-256 of RAM blocks, several blocks at a time where there are several large ones.
 * @module
 */
import { Breath, type LongWork } from "../containers/breath.ts";
import type { Image, ImageBlock } from "../containers/image.ts";
import { mayStartWorkers } from "../threads/may_start.ts";
import { HashAtOnce, HashBehind, type Hasher } from "../threads/hash_behind.ts";
import { contentElsewhere } from "./readable.ts";

/** Bytes hashed at once. */
const STEP = 1 << 20;
/** Blocks longer than this are not hashed: a stream can claim any length. 1 TiB. */
const HASH_LIMIT = 2 ** 40;
/** Blocks from this length on are worth a Worker. */
const WORTHWHILE = 32 << 20;

/** A block on its way through a hasher. */
interface Lane extends Disposable {
  readonly hasher: Hasher;
  /** Index of the block; -1 when there is none. */
  block: number;
  at: number;
  /** Data or zeros up to here. */
  end: number;
  data: boolean;
}

/**
 * The SHA-256 of each block's full content, in hex; undefined where its pages are not in the file, or it claims too much.
 * @param warnings gets a sentence for each block that claims too much
 * @throws {StreamError} when pages cannot be read
 */
export async function hashBlocks(
  image: Image,
  warnings: string[],
  work: LongWork = {},
): Promise<(string | undefined)[]> {
  const { ram } = image;
  await ram.prepare();
  const hashes: (string | undefined)[] = ram.blocks.map(() => undefined);
  const waiting: number[] = [];
  ram.blocks.forEach((block, i) => {
    const { id, bytes } = block;
    if (bytes > HASH_LIMIT) warnings.push(`block ${id} is not hashed: it claims ${bytes} bytes`);
    else if (ram.readable && !contentElsewhere(image, block)) waiting.push(i);
  });
  // the longest first: what is left for the end is short
  waiting.sort((a, b) => ram.blocks[b].bytes - ram.blocks[a].bytes);
  const breath = new Breath(ram.totalBytes, work);
  const lanes = openLanes(waiting.map((i) => ram.blocks[i]));
  try {
    const all = lanes.map((lane) => next(lane, waiting)).filter((busy) => busy);
    for (let busy = all.length; busy > 0;) {
      let idle: Lane | undefined;
      let moved = false;
      for (const lane of lanes) {
        if (lane.block < 0) continue;
        const block = ram.blocks[lane.block];
        if (!lane.hasher.ready) {
          idle ??= lane;
          continue;
        }
        moved = true;
        if (lane.at < block.bytes) {
          const pause = breath.taken(feed(image, block, lane));
          if (pause) await pause;
          continue;
        }
        hashes[lane.block] = await lane.hasher.digest();
        if (!next(lane, waiting)) busy--;
      }
      if (!moved && idle) await idle.hasher.wait();
    }
    breath.end();
    return hashes;
  } finally {
    for (const lane of lanes) lane[Symbol.dispose]();
  }
}

/** As many as there are processors and blocks worth one. */
function openLanes(blocks: readonly ImageBlock[]): Lane[] {
  const large = mayStartWorkers() ? blocks.filter(({ bytes }) => bytes >= WORTHWHILE).length : 0;
  const lanes: Lane[] = [];
  const add = (hasher: Hasher) => {
    lanes.push({ hasher, block: -1, at: 0, end: 0, data: false, [Symbol.dispose]: () => hasher[Symbol.dispose]() });
  };
  try {
    for (let i = 0; i < Math.min(large, navigator.hardwareConcurrency); i++) add(new HashBehind(STEP));
  } catch {
    // no leave for a Worker: hash here
  }
  if (lanes.length === 0) add(new HashAtOnce(STEP));
  return lanes;
}

/** Go on with the next block. @returns false when there is none */
function next(lane: Lane, waiting: number[]): boolean {
  lane.block = waiting.shift() ?? -1;
  lane.at = lane.end = 0;
  return lane.block >= 0;
}

/** One piece more. @returns its bytes */
function feed({ ram }: Image, block: ImageBlock, lane: Lane): number {
  if (lane.at === lane.end) {
    const run = ram.run(block, lane.at);
    lane.data = run > 0;
    lane.end = lane.at + Math.abs(run);
  }
  let taken = lane.end - lane.at;
  if (lane.data) {
    const { buffer } = lane.hasher;
    taken = Math.min(STEP, taken);
    ram.readRange(block, lane.at, taken === STEP ? buffer : buffer.subarray(0, taken));
    lane.hasher.put(taken);
  } else taken = lane.hasher.zeros(taken);
  lane.at += taken;
  return taken;
}
